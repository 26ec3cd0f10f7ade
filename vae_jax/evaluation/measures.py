"""The other measures of a trained VAE, part by part. Each gives arrays."""

import zlib
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax import disentanglement, evidence
from vae_jax.diagnostics import aggregate, inference_gap, outliers
from vae_jax.distributions import (
    Chain,
    Distribution,
    Layers,
    Normal,
    flat_points_of,
    matched_normal,
)
from vae_jax.distributions.flows import Flow
from vae_jax.evaluation.annealing import EXAMPLES_IN_PART, log_mean_exp, step_sizes
from vae_jax.evaluation.parts import Arrays, Parts
from vae_jax.evidence import quadrature
from vae_jax.models import Batch, draw, given
from vae_jax.trained import TrainedVAE

CURVE_EXAMPLES, CURVE_CHAINS = 20, 4  # of the rate-distortion curve
_CURVE = np.concatenate([[0.0], np.geomspace(1e-3, 4.0, 1000)])  # its values of b
_PRIOR_SAMPLES = 4096  # for the moments of a prior
_LAYER_SAMPLES = 16  # of each posterior, for the KL of its layers
_GAP_SAMPLES = 1000  # of each posterior, for its ELBO
_QUADRATURE_POINTS = {1: 4001, 2: 151}  # per axis


def importance(vae: TrainedVAE, x: Batch, key: jax.Array, num_weights: int, parts: Parts) -> Arrays:
    """The IWAE bound, effective sample size and k-hat of every example, [N] each."""

    @jax.jit
    def log_weights(params, batch, keys):
        def each(one, key):
            model = given(vae.model, one.c)
            return evidence.log_weights(model, params, one.x, key, num_samples=num_weights)

        return jax.vmap(each)(batch, keys)

    def compute(rows, key):
        keys = jax.random.split(key, len(x[rows]))
        log_w = np.asarray(log_weights(vae.params, x[rows], keys), np.float64)
        return {
            "log_evidence": log_mean_exp(log_w),
            "effective_sample_size": evidence.effective_sample_size(log_w.T),
            "pareto_shape": np.array([evidence.pareto_shape(each) for each in log_w]),
        }

    label = f"Importance sampling, K={num_weights:,}"
    return parts.in_chunks(label, "importance", len(x), 10, key, compute)


def elbos(vae: TrainedVAE, name: str, x: Batch, key: jax.Array, parts: Parts) -> Arrays:
    """The ELBO of q(z|x), and of the best q* of its family, of every example, each [N]."""

    @jax.jit
    @jax.default_matmul_precision("highest")
    def of_chunk(params, batch, keys):
        def of_example(one, key):
            model, x = given(vae.model, one.c), one.x
            best_key, elbo_key = jax.random.split(key)
            encoded = model.posterior(params, x)
            best = inference_gap.best_posterior(model, params, x, best_key)
            # With the same noise, so that the difference has a small error.
            return {
                elbo: inference_gap.elbo_of(model, params, x, q, elbo_key, _GAP_SAMPLES)
                for elbo, q in (("encoder", encoded), ("best", best))
            }

        return jax.vmap(of_example)(batch, keys)

    def compute(rows, key):
        keys = jax.random.split(key, len(x[rows]))
        found = jax.device_get(of_chunk(vae.params, x[rows], keys))
        return {elbo: np.asarray(values, np.float64) for elbo, values in found.items()}

    label = f"Best posteriors, {name}"
    return parts.in_chunks(label, f"elbos_{name}", len(x), EXAMPLES_IN_PART, key, compute)


def exact(vae: TrainedVAE, x: Batch, num_axes: int, parts: Parts) -> Arrays:
    """log p(x) by quadrature, and its error, each [N]. num_axes: of the latents."""
    integrate = jax.jit(
        lambda params, one: quadrature.integrate(
            given(vae.model, one.c),
            params,
            one.x,
            points_per_axis=_QUADRATURE_POINTS[num_axes],
        )[:2]
    )

    def compute(rows, key):
        del key
        values = np.array([integrate(vae.params, each) for each in x[rows]], np.float64)
        return {"log_evidence": values[:, 0], "error": values[:, 1]}

    return parts.in_chunks("Quadrature", "exact", len(x), 5, jax.random.key(0), compute)


def latents(
    vae: TrainedVAE, x: Batch, key: jax.Array, parts: Parts, *, with_surgery: bool, one_prior: bool
) -> tuple[aggregate.Surgery | None, aggregate.Units, Normal]:
    """ELBO surgery, the statistics of each latent, and the moments of the prior.

    with_surgery: whether there are densities for ELBO surgery. one_prior: whether all examples have
    the same prior, without which neither KL nor moments of it are known.
    """
    model, params = vae.model, vae.params
    first = given(model, x[0].c)
    is_hierarchy = isinstance(jax.eval_shape(first.posterior, params, x[0].x), Chain)

    def compute():
        prior = first.prior(params)
        if with_surgery:
            posteriors, posterior_of = _posteriors(vae, x)
            of_all = prior if one_prior else None
            units = aggregate.units(posteriors, of_all, posterior_of=posterior_of, key=key)
        else:
            normals = _matched_layers(vae, x) if is_hierarchy else _matched_normals(vae, x)
            units = aggregate.units(normals, None)
        found: dict[str, Any] = {f"unit_{name}": of for name, of in units._asdict().items()}
        if with_surgery:
            surgery = aggregate.surgery(posteriors, prior, key, posterior_of=posterior_of)
            found |= surgery._asdict()
        if one_prior:
            moments = matched_normal(prior, num_samples=_PRIOR_SAMPLES)
            found |= {"prior_mean": moments.mean, "prior_log_std": moments.log_std}
        return {name: values for name, values in found.items() if values is not None}

    found = parts.whole(f"Latent space of {len(x):,} examples", "latents", compute)
    of_units: Any = (found.get(f"unit_{name}") for name in aggregate.Units._fields)
    units = aggregate.Units(*of_units)
    plain: dict[str, Any] = {
        name: values if values.ndim else values.item()
        for name, values in found.items()
        if name in aggregate.Surgery._fields
    }
    surgery = aggregate.Surgery(**plain) if with_surgery else None
    unknown = np.full(len(units.active), np.nan)
    of_prior: Any = [found.get(f"prior_{name}", unknown) for name in ("mean", "log_std")]
    moments = Normal(*of_prior)
    return surgery, units, moments


def layer_kl(vae: TrainedVAE, x: Batch, key: jax.Array, parts: Parts) -> np.ndarray:
    """The KL term of each layer of a hierarchy, averaged over samples of each example, [N, L]."""

    @jax.jit
    @jax.default_matmul_precision("highest")
    def of_batch(params, batch, keys):
        def of_one(inputs):
            one, key = inputs
            found = draw(
                given(vae.model, one.c), params, one.x, jax.random.split(key, _LAYER_SAMPLES)
            )
            return jnp.mean(found.layer_kl, axis=0)

        return jax.lax.map(of_one, (batch, keys), batch_size=20)

    def compute():
        return {"layer_kl": np.asarray(of_batch(vae.params, x, jax.random.split(key, len(x))))}

    found = parts.whole(f"Layers of {len(x):,} examples", "layers", compute)
    return np.asarray(found["layer_kl"], np.float64)


def _matched_layers(vae: TrainedVAE, x: Batch) -> Normal:
    """The diagonal normal distributions with the moments of all layers of q(z|x), each given the
    means of those drawn before it; stacked."""
    layers = cast(Layers, vae.encode(x)).of_each
    normals = [jax.vmap(matched_normal)(layer) for layer in layers]
    mean, log_std = (
        jnp.concatenate([leaf.reshape(len(x), -1) for leaf in leaves], axis=1)
        for leaves in zip(*((one.mean, one.log_std) for one in normals), strict=True)
    )
    return Normal(mean, log_std)


def _matched_normals(vae: TrainedVAE, x: Batch) -> Normal:
    """The diagonal normal distributions with the moments of q(z|x), stacked."""

    @jax.jit
    @jax.default_matmul_precision("highest")
    def of_batch(batch):
        of_one = lambda one: given(vae.model, one.c).posterior(vae.params, one.x)  # noqa: E731
        return jax.lax.map(lambda one: matched_normal(of_one(one)), batch, batch_size=20)

    return of_batch(x)


def _posteriors(vae: TrainedVAE, x: Batch) -> tuple[Any, Callable[[Any], Distribution]]:
    """The posteriors of N examples, stacked, or the outputs of the encoder, and what makes q of
    one."""
    model, params = vae.model, vae.params
    one = jax.eval_shape(given(model, x[0].c).posterior, params, x[0].x)
    if model.encoder is None or not isinstance(one, Flow):
        return vae.encode(x), lambda q: q
    of_first: Any = given(model, x[0].c)

    @jax.jit
    @jax.default_matmul_precision("highest")
    def outputs_of(batch):
        def outputs(one):
            of_c: Any = given(model, one.c)
            return of_c.encoder(params, one.x)

        return jax.vmap(outputs)(batch)

    return outputs_of(x), lambda outputs: of_first.posterior_of(params, outputs)


def curve(
    vae: TrainedVAE, x: Batch, tuned_on: Batch, key: jax.Array, parts: Parts
) -> evidence.RateDistortion:
    """The rate-distortion curve of the decoder, for the first examples of x."""
    tune_key, curve_key = jax.random.split(key)
    sizes = step_sizes(vae, tuned_on, tune_key, _CURVE, "prior", parts)

    def compute():
        return evidence.rate_distortion(
            vae.model,
            vae.params,
            x[:CURVE_EXAMPLES],
            curve_key,
            _CURVE,
            sizes,
            num_chains=CURVE_CHAINS,
        )._asdict()

    found = parts.whole("Rate-distortion curve", "rate_distortion", compute)
    return evidence.RateDistortion(**found)


def outlier_scores(
    vae: TrainedVAE, inside: Batch, outside: Batch, key: jax.Array, parts: Parts
) -> Arrays:
    """ELBO and estimated log p(x) of images of the run's data set and of another, [N] each."""

    def compute():
        found: Arrays = {}
        for index, (name, x) in enumerate((("inside", inside), ("outside", outside))):
            noise_key = jax.random.fold_in(key, index)
            scores = outliers.scores(vae.model, vae.params, x, noise_key)
            found |= {f"{name}_{score}": values for score, values in scores._asdict().items()}
        return found

    return parts.once(f"outliers_{zlib.crc32(np.asarray(outside.x).data):08x}", compute)


def disentangled(
    vae: TrainedVAE, x: np.ndarray, factors: np.ndarray, parts: Parts
) -> dict[str, float]:
    """The scores of the posterior means of images x [N, *event] with known factors [N, F].

    Raises:
      ValueError: the scores are not defined for these codes, such as those of a single latent.
    """

    def compute():
        scores = disentanglement.all_scores(np.asarray(flat_points_of(vae.encode(x))), factors)
        return {name: np.asarray(value) for name, value in scores.items()}

    found = parts.whole("Disentanglement", "disentanglement", compute)
    return {name: float(value) for name, value in found.items()}
