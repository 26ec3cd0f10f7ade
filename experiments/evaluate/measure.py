"""What is measured of a trained VAE, part by part."""

import math
import zlib
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.evaluate.parts import Parts
from vae_jax import TrainedVAE, evidence
from vae_jax.data import shapes
from vae_jax.diagnostics import aggregate, inference_gap, outliers
from vae_jax.disentanglement import all_scores
from vae_jax.evidence import annealed, quadrature
from vae_jax.runs.progress import Progress

CURVE_EXAMPLES, CURVE_CHAINS = 20, 4  # of the rate-distortion curve
_CURVE = np.concatenate([[0.0], np.geomspace(1e-3, 4.0, 1000)])  # its values of b
_TUNING = annealed.sigmoid_schedule(200)
_EXAMPLES_IN_PART = 20  # whatever the memory: a part depends on the settings alone
_GAP_SAMPLES = 1000  # of each posterior, for its ELBO
_QUADRATURE_POINTS = {1: 4001, 2: 151}  # per axis


class Budget(NamedTuple):
    """How much is computed."""

    num_chains: int
    num_temperatures: int
    num_weights: int  # K of importance sampling
    examples_at_once: int


class Keys(NamedTuple):
    """Each for one purpose."""

    binarise: jax.Array
    weights: jax.Array
    tune: jax.Array
    test: jax.Array
    train: jax.Array
    simulate: jax.Array
    forward: jax.Array
    reverse: jax.Array
    best: jax.Array
    surgery: jax.Array
    curve: jax.Array
    outliers: jax.Array


class Bounds(NamedTuple):
    """Annealed importance sampling of N examples by M chains each."""

    log_w: np.ndarray  # [N, M] nats
    acceptance: np.ndarray  # [N]

    @property
    def lower(self) -> np.ndarray:
        """[N], log of the mean weight: at most log p(x) in the mean."""
        return _log_mean_exp(self.log_w)

    @property
    def upper(self) -> np.ndarray:
        """[N], of reverse chains: at least log p(x) in the mean."""
        return -_log_mean_exp(-self.log_w)

    @property
    def chain_error(self) -> float:
        """Standard error of the mean of `lower` by the noise of the chains, to first order."""
        weights = np.exp(self.log_w - self.log_w.max(axis=1, keepdims=True))
        relative = weights.std(axis=1, ddof=1) / weights.mean(axis=1)
        return float(np.sqrt(np.sum(relative**2 / weights.shape[1])) / len(weights))


class Annealer:
    """Annealed importance sampling from q(z|x), with step sizes tuned once, on other images."""

    def __init__(self, vae: TrainedVAE, budget: Budget, tuned_on: jax.Array, key, parts: Parts):
        self._vae, self._parts = vae, parts
        sizes = step_sizes(vae, tuned_on, key, _TUNING, "posterior", parts)
        self._sample = annealed.make_annealed_sampler(
            vae.model,
            annealed.sigmoid_schedule(budget.num_temperatures),
            sizes,
            num_chains=budget.num_chains,
            examples_at_once=budget.examples_at_once,
        )

    def __call__(self, name: str, label: str, x: jax.Array, key: jax.Array, z=None) -> Bounds:
        """Part by part. x: [N, *event]. z: [N, L], to run the chains backwards from."""
        found = []
        for rows, chunk_key in _chunks(len(x), _EXAMPLES_IN_PART, key, label):

            def compute(rows=rows, chunk_key=chunk_key):
                start = None if z is None else z[rows]
                chains = self._sample(self._vae.params, x[rows], chunk_key, start)
                return {"log_w": chains.log_w, "acceptance": chains.acceptance}

            found.append(self._parts.once(f"{name}_{rows.start}", compute))
        return Bounds(**_joined(found))


def step_sizes(
    vae: TrainedVAE, x: jax.Array, key, schedule: np.ndarray, start: str, parts: Parts
) -> annealed.StepSizes:
    """Tuned on the images x, which are not measured afterwards."""

    def compute():
        sizes = annealed.tune_step_sizes(vae.model, vae.params, x, key, schedule, start=start)
        return sizes._asdict()

    return annealed.StepSizes(**parts.once(f"step_sizes_{start}", compute))


def simulate(
    vae: TrainedVAE, num_examples: int, key: jax.Array, parts: Parts
) -> tuple[jax.Array, jax.Array]:
    """x [N, *event] and the z [N, L] that they were drawn from."""

    def compute():
        x, z = annealed.simulate(vae.model, vae.params, key, num_examples)
        return {"x": x, "z": z}

    found = parts.once("simulated", compute)
    return jnp.asarray(found["x"]), jnp.asarray(found["z"])


def importance(
    vae: TrainedVAE, x: jax.Array, key: jax.Array, num_weights: int, parts: Parts
) -> dict[str, np.ndarray]:
    """IWAE-K, effective sample size and k-hat of every example, each [N]."""

    @jax.jit
    def log_weights(params, x, keys):
        each = partial(evidence.log_weights, vae.model, params, num_samples=num_weights)
        return jax.vmap(each)(x, keys)

    found = []
    for rows, chunk_key in _chunks(len(x), 10, key, f"Importance sampling, K={num_weights:,}"):

        def compute(rows=rows, chunk_key=chunk_key):
            keys = jax.random.split(chunk_key, len(x[rows]))
            log_w = np.asarray(log_weights(vae.params, x[rows], keys), np.float64)
            return {
                "log_evidence": _log_mean_exp(log_w),
                "effective_sample_size": evidence.effective_sample_size(log_w.T),
                "pareto_shape": np.array([evidence.pareto_shape(each) for each in log_w]),
            }

        found.append(parts.once(f"importance_{rows.start}", compute))
    return _joined(found)


def elbos(
    vae: TrainedVAE, name: str, x: jax.Array, key: jax.Array, parts: Parts
) -> dict[str, np.ndarray]:
    """The ELBO of q(z|x) and of the best diagonal normal q*, of every example, each [N]."""

    @jax.jit
    @jax.default_matmul_precision("highest")
    def of_chunk(params, x, keys):
        def of_example(x, key):
            best_key, elbo_key = jax.random.split(key)
            encoded = vae.model.posterior(params, x)
            best = inference_gap.best_normal(vae.model, params, x, encoded, best_key)
            # With the same noise, in which the two differ less than each from its mean.
            return {
                elbo: inference_gap.elbo_of(vae.model, params, x, q, elbo_key, _GAP_SAMPLES)
                for elbo, q in (("encoder", encoded), ("best", best))
            }

        return jax.vmap(of_example)(x, keys)

    found = []
    for rows, chunk_key in _chunks(len(x), _EXAMPLES_IN_PART, key, f"Best posteriors, {name}"):

        def compute(rows=rows, chunk_key=chunk_key):
            keys = jax.random.split(chunk_key, len(x[rows]))
            elbos = jax.device_get(of_chunk(vae.params, x[rows], keys))
            return {elbo: np.asarray(values, np.float64) for elbo, values in elbos.items()}

        found.append(parts.once(f"elbos_{name}_{rows.start}", compute))
    return _joined(found)


def exact(vae: TrainedVAE, x: jax.Array, num_latents: int, parts: Parts) -> dict[str, np.ndarray]:
    """log p(x) by quadrature, and its error, each [N]."""
    integrate = jax.jit(
        lambda params, x: quadrature.integrate(
            vae.model, params, x, points_per_axis=_QUADRATURE_POINTS[num_latents]
        )[:2]
    )
    found = []
    for rows, _ in _chunks(len(x), 5, jax.random.key(0), "Quadrature"):

        def compute(rows=rows):
            values = np.array([integrate(vae.params, each) for each in x[rows]], np.float64)
            return {"log_evidence": values[:, 0], "error": values[:, 1]}

        found.append(parts.once(f"exact_{rows.start}", compute))
    return _joined(found)


def latents(
    vae: TrainedVAE, x: jax.Array, key: jax.Array, parts: Parts
) -> tuple[aggregate.Surgery, aggregate.Units]:
    """ELBO surgery and the state of each latent, of all x [N, *event]."""

    def compute():
        posteriors, prior = vae.encode(x), vae.model.prior(vae.params)
        units = aggregate.units(posteriors, prior)
        return aggregate.surgery(posteriors, prior, key)._asdict() | {
            f"unit_{name}": values for name, values in units._asdict().items()
        }

    with Progress(f"Latent space of {len(x):,} images", 1, 0, unit="part") as progress:
        found = parts.once("latents", compute)
        progress.update(1)
    units = aggregate.Units(*(found[f"unit_{name}"] for name in aggregate.Units._fields))
    surgery = {name: found[name] for name in aggregate.Surgery._fields}
    plain = {name: values.item() if not values.ndim else values for name, values in surgery.items()}
    return aggregate.Surgery(**plain), units


def curve(
    vae: TrainedVAE, x: jax.Array, tuned_on: jax.Array, key: jax.Array, parts: Parts
) -> evidence.RateDistortion:
    """The rate-distortion curve of the decoder, on the first of x."""
    tune_key, curve_key = jax.random.split(key)
    with Progress("Rate-distortion curve", 1, 0, unit="part") as progress:
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

        found = evidence.RateDistortion(**parts.once("rate_distortion", compute))
        progress.update(1)
    return found


def outlier_scores(
    vae: TrainedVAE, inside: jax.Array, outside: jax.Array, key: jax.Array, parts: Parts
) -> dict[str, np.ndarray]:
    """ELBO and estimated log p(x) of images of the run's kind and of another, each [N]."""

    def compute():
        found = {}
        for index, (name, x) in enumerate((("inside", inside), ("outside", outside))):
            noise_key = jax.random.fold_in(key, index)
            scores = outliers.scores(vae.model, vae.params, x, noise_key)
            found |= {f"{name}_{score}": values for score, values in scores._asdict().items()}
        return found

    return parts.once(f"outliers_{zlib.crc32(np.asarray(outside)):08x}", compute)


def disentanglement(vae: TrainedVAE, parts: Parts) -> dict[str, float]:
    """The scores of the posterior means of all drawn shapes."""

    def compute():
        pixels, factors = shapes.all_images()
        codes = vae.encode(jnp.asarray(pixels, jnp.float32) / 255.0).mean
        scores = all_scores(np.asarray(codes), factors)
        return {name: np.asarray(value) for name, value in scores.items()}

    with Progress("Disentanglement", 1, 0, unit="part") as progress:
        found = parts.once("disentanglement", compute)
        progress.update(1)
    return {name: float(value) for name, value in found.items()}


def _chunks(
    num_examples: int, size: int, key: jax.Array, label: str
) -> Iterator[tuple[slice, jax.Array]]:
    """Rows of chunks, each with a key of its own, while a line shows how many are done."""
    with Progress(label, num_examples, 0, unit="image") as progress:
        for begin in range(0, num_examples, size):
            end = min(begin + size, num_examples)
            yield slice(begin, end), jax.random.fold_in(key, begin)
            progress.update(end)


def _joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _log_mean_exp(log_w: np.ndarray) -> np.ndarray:
    """log_w: [N, M]. Returns [N]."""
    return np.logaddexp.reduce(log_w, axis=1) - math.log(log_w.shape[1])
