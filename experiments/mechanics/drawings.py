"""Figures of the parts of a VAE, in the plane of its two latent variables."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse, Rectangle
from numpy.typing import ArrayLike

from vae_jax.figures.figure import DPI
from vae_jax.figures.images import mosaic
from vae_jax.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PAGE_WIDTH,
    RED,
    STYLE,
    legend_below,
)

_SHOWN_NATS = 300.0  # nats below its maximum down to which a log-likelihood is drawn
_CONTOURS = (0.01, 0.1, 0.3, 0.6, 0.9)  # fractions of the maximum of a density


class Plane(NamedTuple):
    """Values on a grid of latents: values[i, j] at (z1[i], z2[j])."""

    z1: ArrayLike  # [n]
    z2: ArrayLike  # [m]
    values: ArrayLike  # [n, m]


class LatentSpace(NamedTuple):
    """The posteriors of images, and the images that the decoder makes from latents."""

    mean: ArrayLike  # [N, 2], of q(z|x)
    std: ArrayLike  # [N, 2]
    reconstructions: ArrayLike  # [n, H, W, C]
    samples: ArrayLike  # [m, H, W, C]


@mpl.rc_context(STYLE)
def bayes_theorem(
    image: ArrayLike, prior: Plane, log_likelihood: Plane, posterior: Plane
) -> Figure:
    """Draws an image, p(z), log p(x|z) and p(z|x), the last enlarged.

    Args:
      image: x, [H, W, C] in [0, 1].
      prior: density p(z).
      log_likelihood: log p(x|z) in nats.
      posterior: density p(z|x) on a part of the plane, which is marked in the other panels.
    """
    figure = Figure((PAGE_WIDTH, 1.95), dpi=DPI, layout="constrained")
    of_image, of_prior, of_likelihood, of_posterior = figure.subplots(1, 4)
    of_image.imshow(mosaic([image], 1), cmap="gray", vmin=0, vmax=1, interpolation="none")
    of_image.set(xticks=[], yticks=[], title="image $x$")
    of_image.spines[:].set_visible(False)
    _heat(of_prior, prior)
    of_prior.set_title("prior $p(z)$")
    values = np.asarray(log_likelihood.values)
    mesh = _heat(of_likelihood, log_likelihood, floor=values.max() - _SHOWN_NATS)
    of_likelihood.set_title(r"log-likelihood $\log\, p(x|z)$ (nats)")
    bar = figure.colorbar(mesh, ax=of_likelihood, location="bottom", aspect=30, extend="min")
    bar.outline.set_linewidth(0.5)
    _heat(of_posterior, posterior)
    of_prior.set_ylabel("$z_2$")
    of_posterior.set_title("posterior $p(z|x)$, enlarged")
    z1, z2 = np.asarray(posterior.z1), np.asarray(posterior.z2)
    for axes, color in ((of_prior, RED), (of_likelihood, RED)):
        box = Rectangle((z1[0], z2[0]), np.ptp(z1), np.ptp(z2), fill=False, color=color, lw=0.7)
        axes.add_patch(box)
    return figure


@mpl.rc_context(STYLE)
def variational_fit(
    posterior: Plane,
    fitted: Mapping[int, tuple[ArrayLike, ArrayLike]],
    encoded: tuple[ArrayLike, ArrayLike],
    elbo: Sequence[float],
    gap: Mapping[int, float],
    log_evidence: float,
) -> Figure:
    """Draws how q approaches p(z|x), and how its KL falls as the ELBO rises.

    Args:
      posterior: density p(z|x).
      fitted: step -> mean [2] and standard deviation [2] of q.
      encoded: mean and standard deviation of the encoder's q.
      elbo: [steps + 1] nats, from step 0.
      gap: step -> KL(q || p(z|x)), nats.
      log_evidence: log p(x), nats.
    """
    figure = Figure((PAGE_WIDTH, 2.6), dpi=DPI, layout="constrained")
    plane, curves = figure.subplots(1, 2, width_ratios=(1, 1.25))
    z1, z2, values = (np.asarray(value) for value in posterior)
    levels = np.multiply(_CONTOURS, values.max())
    plane.contour(z1, z2, values.T, levels, colors="0.4", linewidths=0.5)
    handles = {"$p(z|x)$": Line2D([], [], color="0.4", linewidth=0.5)}
    shades = mpl.colormaps["Blues"](np.linspace(0.35, 1.0, len(fitted)))
    for (step, (mean, std)), shade in zip(fitted.items(), shades, strict=True):
        plane.add_patch(_ellipse(mean, std, shade, "-"))
        handles[f"$q$ at step {step}"] = Line2D([], [], color=shade)
    plane.add_patch(_ellipse(*encoded, RED, "--"))
    handles["the encoder's $q$"] = Line2D([], [], color=RED, linestyle="--")
    plane.set(xlabel="$z_1$", ylabel="$z_2$", xlim=z1[[0, -1]], ylim=z2[[0, -1]])
    plane.set_title("two standard deviations of $q$")
    curves.axhline(log_evidence, color=BLACK, linewidth=0.8, label=r"$\log\,p(x)$")
    curves.plot(elbo, color=BLUE, label="ELBO")
    steps = list(gap)
    sums = [elbo[step] + gap[step] for step in steps]
    curves.plot(steps, sums, "o", color=GREEN, fillstyle="none", label="ELBO + KL")
    curves.vlines(steps, [elbo[step] for step in steps], sums, color=RED, linewidth=0.8)
    curves.set_xscale("symlog", linthresh=1)
    bottom = np.quantile(np.asarray(elbo), 0.02)
    curves.set_ylim(bottom - 0.05 * (log_evidence - bottom), None)
    curves.set(xlabel="step of gradient ascent", ylabel="nats", xlim=(-0.2, 1.25 * len(elbo)))
    handles |= {line.get_label(): line for line in curves.lines}
    handles[r"KL$(q\,\|\,p(z|x))$"] = Line2D([], [], color=RED, linewidth=0.8)
    legend_below(figure, handles)
    return figure


@mpl.rc_context(STYLE)
def evidence_decomposition(
    epochs: Sequence[int],
    log_evidence: Sequence[float],
    elbo: Sequence[float],
    gap: Sequence[float],
    residual: Sequence[float],
) -> Figure:
    """Draws log p(x) = KL + ELBO over training, and its residual.

    Args:
      epochs: [n], of the snapshots; the first is 0.
      log_evidence: [n] nats, mean over images.
      elbo: [n] nats, mean over images.
      gap: KL(q || p(z|x)), [n] nats, mean over images.
      residual: largest |log p(x) - KL - ELBO| of an image, [n] nats.
    """
    figure = Figure((PAGE_WIDTH, 2.6), dpi=DPI, layout="constrained")
    curves, left = figure.subplots(1, 2, width_ratios=(1.7, 1))
    elbo, total = np.asarray(elbo), np.asarray(elbo) + np.asarray(gap)
    gap_area = curves.fill_between(epochs, elbo, total, color=RED, alpha=0.2, linewidth=0)
    curves.plot(epochs, log_evidence, color=BLACK, label=r"$\log\,p(x)$ by quadrature")
    curves.plot(epochs, total, "o", color=GREEN, fillstyle="none", label="ELBO + KL")
    curves.plot(epochs, elbo, color=BLUE, marker=".", label="ELBO")
    curves.set(ylabel="nats, mean over test images")
    handles = {line.get_label(): line for line in curves.lines}
    legend_below(figure, handles | {r"KL$(q(z|x)\,\|\,p(z|x))$": gap_area})
    left.plot(epochs, np.maximum(residual, 1e-16), "o", color=BLACK, fillstyle="none")
    left.set(yscale="log", ylim=(1e-16, 1.0), ylabel=r"$|\log\,p(x) - $KL$ - $ELBO$|$ (nats)")
    for axes in (curves, left):
        axes.set_xscale("symlog", linthresh=1)
        last = epochs[-1]
        shown = [epoch for epoch in (0, 1, 3, 10, 30, 100, 300) if epoch < last / 2] + [last]
        axes.set_xticks(shown, [str(epoch) for epoch in shown])
        axes.set_xticks([], minor=True)
        axes.set_xlim(-0.2, 1.25 * last)
        axes.set_xlabel("epoch")
    return figure


@mpl.rc_context(STYLE)
def switched_off_terms(originals: ArrayLike, trained: Mapping[str, LatentSpace]) -> Figure:
    """Draws VAEs that were trained with both terms of the ELBO, or with one of them.

    Args:
      originals: images that are reconstructed, [n, H, W, C] in [0, 1].
      trained: terms of the ELBO -> latent space, the columns of the figure.
    """
    figure = Figure((PAGE_WIDTH, 4.4), dpi=DPI, layout="constrained")
    rows = figure.subplots(4, len(trained), height_ratios=(2.2, 0.5, 0.5, 1.5))
    for (name, latents), column in zip(trained.items(), rows.reshape(4, -1).T, strict=True):
        plane, data, reconstructions, samples = column
        mean, std = np.asarray(latents.mean), np.asarray(latents.std)
        for centre, width in zip(mean, std, strict=True):
            plane.add_patch(_ellipse(centre, width, BLUE, "-", alpha=0.3))
        plane.plot(*mean.T, ".", color=BLUE, markersize=1)
        plane.add_patch(_ellipse((0, 0), (1, 1), RED, "--"))
        reach = 1.1 * max(2.0, float(np.max(np.abs(mean) + 2 * std)))
        plane.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", title=name)
        tiles = {data: originals, reconstructions: latents.reconstructions}
        for axes, images in tiles.items():
            _show(axes, mosaic(images, len(np.asarray(images))))
        num_columns = -(-len(np.asarray(latents.samples)) // 3)
        _show(samples, mosaic(latents.samples, num_columns))
    labels = (
        "$q(z|x)$, and $p(z)$ dashed",
        "data",
        "recon-\nstruction",
        "decoded samples\nof $p(z)$",
    )
    for axes, label in zip(rows.reshape(4, -1)[:, 0], labels, strict=True):
        axes.set_ylabel(label)
    return figure


@mpl.rc_context(STYLE)
def gradient_histograms(
    estimates: Mapping[str, tuple[Mapping[str, ArrayLike], float]], parameter: str
) -> Figure:
    """Draws the distributions of gradient estimates around the exact gradient.

    Args:
      estimates: row of the figure -> estimates [N] of one component of the gradient by each
        estimator, and the exact component.
      parameter: name of the parameter, for the axis.
    """
    num_columns = max(len(of_row) for of_row, _ in estimates.values())
    figure = Figure((PAGE_WIDTH, 1.8 * len(estimates)), dpi=DPI, layout="constrained")
    panels = figure.subplots(len(estimates), num_columns, squeeze=False)
    handles = {}
    for (place, (of_row, exact)), row in zip(estimates.items(), panels, strict=True):
        row[0].set_ylabel(place)
        for (name, values), axes, color in zip(of_row.items(), row, (BLUE, RED), strict=True):
            values = np.asarray(values)
            low, high = np.quantile(values, (0.005, 0.995))
            axes.hist(values, bins=60, range=(low, high), density=True, color=color, alpha=0.6)
            handles["exact gradient"] = axes.axvline(exact, color=BLACK)
            mean = values.mean()
            handles["mean of the estimates"] = axes.axvline(
                mean, color=ORANGE, linestyle=":", linewidth=1.5
            )
            axes.set_title(
                f"{name}: mean {mean:.4g} (exact {exact:.4g}), standard deviation "
                f"{values.std():.3g}",
                size=6,
            )
            axes.set(yticks=[])
    for axes in panels[-1]:
        axes.set_xlabel(f"gradient of the ELBO in {parameter}")
    legend_below(figure, handles)
    return figure


def _heat(axes: Axes, plane: Plane, floor: float | None = None):
    z1, z2, values = (np.asarray(value) for value in plane)
    mesh = axes.pcolormesh(z1, z2, values.T, vmin=floor, cmap="viridis", rasterized=True)
    axes.set(xlabel="$z_1$", box_aspect=1)
    return mesh


def _ellipse(mean: ArrayLike, std: ArrayLike, color, linestyle: str, alpha: float = 1.0) -> Ellipse:
    """An ellipse of two standard deviations in each direction."""
    width, height = 4 * np.asarray(std)
    return Ellipse(
        tuple(np.asarray(mean)),
        width,
        height,
        fill=False,
        edgecolor=color,
        linestyle=linestyle,
        linewidth=0.8,
        alpha=alpha,
    )


def _show(axes: Axes, canvas: np.ndarray) -> None:
    axes.imshow(canvas, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
