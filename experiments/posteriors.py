"""Draws the exact p(z|x) of a two-dimensional run with the contours of each family of q(z|x).

python -m experiments.posteriors --run=runs/two
python -m experiments.posteriors --run=runs/two --posteriors=diagonal,full,iaf --epochs=20

The decoder of the run stays: for each family an encoder is trained for it (--start=RUN,
--train_only=encoder), in RUN/posteriors/FAMILY. So all families look for the same p(z|x), which
quadrature knows. The command prints the KL divergence of each from it, which is what the family
and its encoder lose, and writes posteriors.png, posteriors.md and posteriors.json to --output. A
chain
of posterior=uha may diverge at a decoder that is sharp already, and is drawn only if asked for.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import gaussian_kde

from vae_jax import figures
from vae_jax.commands import command, flags
from vae_jax.config import Config
from vae_jax.config.dependent import OF_FLOWS, OF_POSTERIORS
from vae_jax.config.latent_checks import OF_REFINEMENT
from vae_jax.diagnostics.inference_gap import elbo_of
from vae_jax.errors import BadInputError
from vae_jax.evidence import quadrature
from vae_jax.models.posteriors import POSTERIORS
from vae_jax.runs import Run, fit
from vae_jax.runs.files import output_folder, replace, write_json, writing
from vae_jax.runs.stop import StopSignal

_FAMILIES = "diagonal,full,mixture,iaf,spline,planar,sylvester"
_POINTS = 151  # of each axis of a grid
_SAMPLES = 4_000  # of q(z|x), for its ELBO and where it has no density
_MASS = 1e-4  # of p(z|x) that may lie outside the box that is drawn


class Exact(NamedTuple):
    """p(z|x) of N examples on grids."""

    log_evidence: np.ndarray  # [N], nats
    boxes: np.ndarray  # [N, 4]
    log_posterior: np.ndarray  # [N, P, P]


def define_flags() -> None:
    """Defines the flags of the command."""
    flags.define_one(
        "run", str, None, "Folder of a finished run with two latents.", "run", first=True
    )
    flags.define_one(
        "output",
        str,
        None,
        "Folder of what is written. Default: RUN/posteriors.",
        "run",
        first=True,
    )
    flags.define_one(
        "posteriors", str, _FAMILIES, "Families of q(z|x), with commas.", "figure", first=True
    )
    flags.define_one("epochs", int, 20, "Epochs of each encoder.", "figure", low=1, first=True)
    flags.define_one(
        "num_images", int, 3, "Test images in the figure.", "figure", low=1, first=True
    )
    flags.define_moved()


def main(stop: StopSignal) -> None:
    """Runs the command."""
    path = flags.value_of("run")
    if path is None:
        raise BadInputError("--run is missing: name the folder of a finished run.")
    names = [name for name in flags.value_of("posteriors").split(",") if name]
    allowed = [name for name, row in POSTERIORS.items() if not row.on_sphere]
    if not names or set(names) - set(allowed):
        raise BadInputError(
            f"posteriors={flags.value_of('posteriors')} must be some of {', '.join(allowed)}, "
            "with commas."
        )
    command.use_compile_cache()
    run = flags.finished_run(path, require=_require_two_latents)
    folder = output_folder(flags.value_of("output") or Path(path) / "posteriors")
    split = run.loaded_examples.test[: flags.value_of("num_images")]
    x = jnp.asarray(run.as_evaluated(split.x))
    exact = exact_posteriors(run, x)
    grids, gaps = {}, {}
    for name in names:
        fitted = with_family(run, name, folder / name, flags.value_of("epochs"), stop)
        gaps[name] = exact.log_evidence - elbos(fitted, x)
        grids[name] = densities(fitted, x, exact.boxes)
    figure = figures.posterior_contours(
        np.clip(x, 0, 1), exact.boxes, exact.log_posterior, grids, gaps
    )
    figures.save(figure, folder / "posteriors.png")
    rows = [f"| {name} | {gap.mean():.3f} |" for name, gap in gaps.items()]
    text = "\n".join(["| q(z given x) | KL from p(z given x), nats |", "|---|---|", *rows, ""])
    with writing(folder):
        replace(folder / "posteriors.md", text)
    write_json(folder / "posteriors.json", {name: gap.tolist() for name, gap in gaps.items()})
    print(f"\n{text}\nWritten to {folder}: posteriors.png, posteriors.md and posteriors.json.")


def _require_two_latents(run: Run) -> None:
    config, shape = run.config, tuple(run.metadata["event_shape"])
    on_sphere = POSTERIORS[config.posterior].on_sphere
    if config.latents != "normal" or config.latent_dim != 2 or on_sphere:
        raise BadInputError(
            f"The run in run={run.folder.path} has latent_dim={config.latent_dim}, "
            f"latents={config.latents} and posterior={config.posterior}, and the figure is of two "
            "continuous latents in the plane."
        )
    if len(shape) != 3 or run.metadata.get("condition_shape") is not None or config.size_factors:
        raise BadInputError(
            f"The run in run={run.folder.path} must be of images without a condition."
        )


def exact_posteriors(run: Run, x: jax.Array) -> Exact:
    """log p(x) and p(z|x) by quadrature, for x [N, *event]."""

    @jax.jit
    def integrate(one):
        return quadrature.integrate(run.model, run.params, one, points_per_axis=_POINTS)

    def log_joint(z, one):
        likelihood = run.model.likelihood(run.params, z).log_prob(one)
        return likelihood + run.model.prior(run.params).log_prob(z)

    over_grid = jax.jit(lambda z, one: jax.lax.map(lambda z: log_joint(z, one), z, batch_size=2048))
    found = []
    for one in x:
        known = integrate(one)
        mass, z = np.exp(np.asarray(known.log_posterior, np.float64)), np.asarray(known.z)
        mass /= mass.sum()
        box = np.concatenate([_range(z[:, axis], mass) for axis in (0, 1)])
        grid = over_grid(jnp.asarray(_grid(box)), one)
        found.append((float(known.log_evidence), box, np.asarray(grid).reshape(_POINTS, _POINTS)))
    return Exact(*(np.array(values) for values in zip(*found, strict=True)))


def _range(values: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Ends between which almost all of the mass lies, [2], with some room around."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(mass[order])
    low, high = (values[order][np.searchsorted(below, share)] for share in (_MASS, 1.0 - _MASS))
    return np.array([low, high]) + 0.15 * (high - low) * np.array([-1.0, 1.0])


def _grid(box: np.ndarray) -> np.ndarray:
    """The points of a grid, [P * P, 2]."""
    axes = np.linspace(*box[:2], _POINTS), np.linspace(*box[2:], _POINTS)
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2).astype(np.float32)


def with_family(run: Run, name: str, folder: Path, epochs: int, stop: StopSignal) -> Run:
    """The run with an encoder of another family, trained for its decoder."""
    options = (*OF_POSTERIORS, *OF_FLOWS, "refine_steps", *OF_REFINEMENT)
    changes: dict[str, Any] = {option: Config.OPTIONS[option].default for option in options}
    changes |= {"low_rank": {"posterior_rank": 1}, "sylvester": {"sylvester_columns": 2}}.get(
        name, {}
    )
    config = dataclasses.replace(
        run.config,
        posterior=name,
        start=str(run.folder.path.resolve()),
        train_only="encoder",
        objective="elbo",
        epochs=epochs,
        keep="last",
        patience=None,
        **changes,
    )
    return fit(config, workdir=folder, stop=stop)


def elbos(run: Run, x: jax.Array) -> np.ndarray:
    """The ELBO of each of x [N, *event], [N] nats."""

    def of_one(one, key):
        q = run.model.posterior(run.params, one)
        return elbo_of(run.model, run.params, one, q, key, _SAMPLES)

    keys = jax.random.split(jax.random.key(0), len(x))
    return np.asarray(jax.jit(jax.vmap(of_one))(x, keys), np.float64)


def densities(run: Run, x: jax.Array, boxes: np.ndarray) -> np.ndarray:
    """log q(z|x) on the grids of boxes [N, 4], [N, P, P]; from samples where it is not known."""
    has_density = POSTERIORS[run.config.posterior].has_log_prob

    def log_prob(one, z):
        return jax.vmap(run.model.posterior(run.params, one).log_prob)(z)

    def samples(one):
        q = run.model.posterior(run.params, one)
        return jax.vmap(q.sample)(jax.random.split(jax.random.key(1), _SAMPLES))

    function: Callable[..., Any] = jax.jit(log_prob if has_density else samples)
    found = []
    for one, box in zip(x, boxes, strict=True):
        z = _grid(box)
        if has_density:
            values = np.asarray(function(one, z))
        else:
            kernel = gaussian_kde(np.asarray(function(one), np.float64).T)
            values = np.log(np.maximum(cast(np.ndarray, kernel(z.T)), 1e-300))
        found.append(values.reshape(_POINTS, _POINTS))
    return np.array(found)


if __name__ == "__main__":
    define_flags()
    command.run(main, about=__doc__)
