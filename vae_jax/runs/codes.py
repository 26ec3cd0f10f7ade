"""How a run uses its codes."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.distributions import Coded, perplexity
from vae_jax.models import Batch, Model, Params, given
from vae_jax.runs import classes


def indices(model: Model, params: Params, batch: Batch) -> np.ndarray:
    """The codes of a batch of examples, [N, *grid, Q] int32."""
    return np.concatenate([np.asarray(_indices(model, params, of)) for of in classes.chunks(batch)])


@functools.partial(jax.jit, static_argnums=0)
def _indices(model: Model, params: Params, batch: Batch) -> jax.Array:
    def of_one(one):
        posterior: Any = given(model, one.c).posterior(params, one.x)
        return posterior.index

    return jax.vmap(of_one)(batch)


def counts(index: np.ndarray, num_codes: int) -> np.ndarray:
    """How often each entry of each codebook was chosen, [N, *grid, Q] -> [Q, K]."""
    rows = index.reshape(-1, index.shape[-1])
    return np.stack([np.bincount(column, minlength=num_codes) for column in rows.T])


def measures(index: np.ndarray, num_codes: int) -> dict[str, float | int]:
    """The perplexity of codes, the mean over codebooks, and how many entries are dead.

    A dead entry is one that no example has chosen.
    """
    found = counts(index, num_codes)
    return {
        "code_perplexity": float(np.mean(np.asarray(perplexity(jnp.asarray(found, jnp.float32))))),
        "codes_in_use": float((found > 0).mean()),
        "dead_codes": int((found == 0).sum()),
    }


def scores(model: Model, params: Params, examples: Any) -> dict[str, float | int]:
    """`measures` of the test examples of a run, for its summary; nothing for other latents."""
    first = _evaluated(examples, slice(1))[0]
    q: Any = jax.eval_shape(given(model, first.c).posterior, params, first.x)
    if not isinstance(q, Coded) or q.num_codes > _MOST_COUNTED:
        return {}
    found = [
        indices(model, params, _evaluated(examples, slice(start, start + _AT_ONCE)))
        for start in range(0, len(examples.test), _AT_ONCE)
    ]
    return measures(np.concatenate(found), q.num_codes)


_MOST_COUNTED = 1 << 24  # codes that are counted
_AT_ONCE = 1000


def _evaluated(examples: Any, rows: slice) -> Batch:
    """Test examples as the evaluation takes them."""
    stored = examples.test[rows]
    c = jax.tree.map(jnp.asarray, stored.c)
    return Batch(classes.evaluated(examples, stored), c)
