"""The number of examples that an evaluation runs together, from the free memory."""

import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from vae_jax.errors import BadInputError
from vae_jax.evidence import chain
from vae_jax.models import Batch
from vae_jax.trained import TrainedVAE

_CHAINS_AT_ONCE = 320
_BYTES_LEFT = 1 << 30  # for everything else


def examples_at_once(
    vae: TrainedVAE, example: Batch, num_examples: int, chains: int, start: str
) -> int:
    """The number of examples, at most `num_examples`, whose chains run together.

    example: one example, without the axis N. chains: number of chains of each example. start: where
    chains start (`chain.densities_of`).

    Raises:
      BadInputError: the chains of one example do not fit into memory.
    """
    densities = chain.densities_of(vae.model, vae.params, example, start)
    z = jax.eval_shape(densities.sample_start, jax.random.key(0))
    trial = 64
    gradients = jax.jit(jax.vmap(jax.grad(densities.log_joint)))
    analysis: Any = gradients.lower(jnp.zeros((trial, z.size))).compile().memory_analysis()
    per_chain = 2 * (analysis.temp_size_in_bytes + analysis.output_size_in_bytes) / trial
    fitting = int(max(0, _free_bytes() - _BYTES_LEFT) / per_chain)
    if fitting < chains:
        raise BadInputError(
            f"chains={chains} do not fit into memory: at most {fitting} of this model do."
        )
    return max(1, min(num_examples, min(_CHAINS_AT_ONCE, fitting) // chains))


def _free_bytes() -> int:
    """Free memory of the device; on the CPU, memory that the system has without swapping."""
    stats = jax.devices()[0].memory_stats()
    if stats is not None:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        sizes = dict(line.split(":") for line in lines)
        return int(sizes["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):  # not Linux
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
