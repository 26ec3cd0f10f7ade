"""Annealed importance sampling of a trained VAE, part by part."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from vae_jax.evaluation.parts import Parts
from vae_jax.evidence import annealed
from vae_jax.models import Batch
from vae_jax.trained import TrainedVAE

EXAMPLES_IN_PART = 20  # independent of the memory: a part depends on the settings only
_TUNING = annealed.sigmoid_schedule(200)


class Bounds(NamedTuple):
    """Log-weights of annealed importance sampling, for N examples with M chains each."""

    log_w: np.ndarray  # [N, M] nats
    acceptance: np.ndarray  # [N]

    @property
    def lower(self) -> np.ndarray:
        """[N], the log of the mean weight. Its mean is at most log p(x)."""
        return log_mean_exp(self.log_w)

    @property
    def upper(self) -> np.ndarray:
        """[N], the same for reverse chains. Its mean is at least log p(x)."""
        return -log_mean_exp(-self.log_w)

    @property
    def chain_error(self) -> float:
        """The standard error of the mean of `lower` by the noise of chains, to first order."""
        weights = np.exp(self.log_w - self.log_w.max(axis=1, keepdims=True))
        relative = weights.std(axis=1, ddof=1) / weights.mean(axis=1)
        return float(np.sqrt(np.sum(relative**2 / weights.shape[1])) / len(weights))


class Annealer:
    """Annealed importance sampling, with step sizes tuned once, on other examples.

    start: where chains start, "posterior" or "normal" (`chain.densities_of`).
    num_chains: M, chains for each example.
    examples_at_once: number of examples whose chains run together, which changes only rounding.
    """

    def __init__(
        self,
        vae: TrainedVAE,
        start: str,
        num_chains: int,
        num_temperatures: int,
        examples_at_once: int,
        tuned_on: Batch,
        key: jax.Array,
        parts: Parts,
    ):
        self._vae, self._parts = vae, parts
        self._sample = annealed.make_annealed_sampler(
            vae.model,
            annealed.sigmoid_schedule(num_temperatures),
            step_sizes(vae, tuned_on, key, _TUNING, start, parts),
            start=start,
            num_chains=num_chains,
            examples_at_once=examples_at_once,
        )

    def __call__(
        self, name: str, label: str, x: Batch, key: jax.Array, z: jax.Array | None = None
    ) -> Bounds:
        """Computes the bounds part by part. x: N examples. z: [N, L], start of reverse chains."""

        def compute(rows, key):
            start = None if z is None else z[rows]
            chains = self._sample(self._vae.params, x[rows], key, start)
            return {"log_w": chains.log_w, "acceptance": chains.acceptance}

        found = self._parts.in_chunks(label, name, len(x), EXAMPLES_IN_PART, key, compute)
        return Bounds(**found)


def step_sizes(
    vae: TrainedVAE, x: Batch, key: jax.Array, schedule: np.ndarray, start: str, parts: Parts
) -> annealed.StepSizes:
    """Tunes step sizes on images x, which are not measured afterwards."""

    def compute():
        sizes = annealed.tune_step_sizes(vae.model, vae.params, x, key, schedule, start=start)
        return sizes._asdict()

    return annealed.StepSizes(**parts.once(f"step_sizes_{start}", compute))


def simulate(vae: TrainedVAE, like: Batch, key: jax.Array, parts: Parts) -> tuple[Batch, jax.Array]:
    """Simulates z [N, L] and x [N, *event] from the model, with the conditions of N examples.

    The layers of a hierarchy are after one another in z.

    Returns (x with these conditions, z).
    """

    def compute():
        x, z = annealed.simulate(vae.model, vae.params, key, len(like), like.c)
        return {"x": x, "z": jax.vmap(lambda one: ravel_pytree(one)[0])(z)}

    found = parts.once("simulated", compute)
    return Batch(jnp.asarray(found["x"]), like.c), jnp.asarray(found["z"])


def log_mean_exp(log_w: np.ndarray) -> np.ndarray:
    """log_w: [N, M]. Returns [N]."""
    return np.logaddexp.reduce(log_w, axis=1) - np.log(log_w.shape[1])
