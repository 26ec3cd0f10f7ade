"""The objective of deterministic codes: their bound, and what fits codebook and encoder."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vae_jax.distributions import Coded
from vae_jax.objectives import estimators
from vae_jax.objectives.estimators import Estimator
from vae_jax.objectives.objective import Objective, elbo_metrics, elbo_terms
from vae_jax.objectives.schedules import is_array, require_weight

#: How the entries of a codebook are fitted.
CODEBOOKS = ("average", "gradient")


class CodebookState(NamedTuple):
    """Moving averages of what chose the entries of the codebooks [G, R, K, d].

    Attributes:
      counts: [G, R, K], how often a batch chose each entry.
      sums: [G, R, K, d], the sum of what was rounded to it.
      spare: [G, R, K, d], what replaces entries that are out of use.
      is_spare: [G, R, K] bool, which ones are.
    """

    counts: jax.Array
    sums: jax.Array
    spare: jax.Array
    is_spare: jax.Array


def codes(
    commitment: float = 0.25,
    codebook: str = "average",
    codebook_decay: float = 0.99,
    restart_share: float = 0.03,
    entropy_weight: float = 0.0,
    *,
    estimator: Estimator = estimators.straight_through,
) -> Objective:
    """The ELBO of deterministic codes, with the penalties that fit a codebook to what is rounded.

    The bound is log p(x|z) + log p(z) at the code z of x. From it are taken, as squared distances
    in the units of the vectors, commitment |e - sg(q)|^2 for the outputs e and their entries q and,
    with codebook="gradient", |sg(e) - q|^2 (van den Oord et al. 2017, eq. 3). With "average" the
    entries are moving averages of the outputs that chose them (appendix A.1). Of codes without a
    codebook the commitment counts for bits alone, as |e - sign(e)|^2. entropy_weight times
    sum_d [E_x H(p_d(x)) - H(E_x p_d(x))] is taken from the bound of bits, where p_d(x) is the
    logistic function of 4 e_d (Yu et al. 2024, eq. 5, for independent bits).

    Entries that are chosen less than restart_share times as often as all in the mean become random
    outputs of the batch (Dhariwal et al. 2020, section 3), in the first step nearly all of them.

    Args:
      commitment: weight of the commitment, not negative.
      codebook: one of CODEBOOKS.
      codebook_decay: decay of the moving averages per step, in [0, 1).
      restart_share: share of the mean frequency, in [0, 1); 0 restarts no entry.
      entropy_weight: weight of the entropies of bits, not negative.
      estimator: `estimators.straight_through` or `estimators.rotation`.

    Raises:
      ValueError: a number is out of its range, or `codebook` is unknown.
      TypeError: (when called) the posterior is not one of codes.
    """
    require_weight("commitment", commitment)
    require_weight("entropy_weight", entropy_weight)
    if codebook not in CODEBOOKS:
        raise ValueError(f"codebook={codebook!r} must be one of {', '.join(CODEBOOKS)}.")
    for name, value in (("codebook_decay", codebook_decay), ("restart_share", restart_share)):
        if not is_array(value) and not 0 <= value < 1:
            raise ValueError(f"{name} must lie in [0, 1), not {value}.")

    def init(key, draw):
        del key
        q = draw.posterior
        if not isinstance(q, Coded):
            raise TypeError("objective=codes is for deterministic codes, such as latents=vq.")
        if q.inputs is None:
            return ()
        *_, groups, stages, size = q.inputs.shape
        counts = jnp.zeros((groups, stages, q.num_codes), q.inputs.dtype)
        entries = jnp.zeros((*counts.shape, size), q.inputs.dtype)
        return CodebookState(counts, entries, entries, jnp.zeros(counts.shape, bool))

    def loss(state, step, key, draw_fn):
        terms, draw = elbo_terms(draw_fn, estimator)
        q: Any = draw.posterior
        metrics = elbo_metrics(terms, draw)
        num_examples = len(q.outputs)
        value = -metrics["elbo"]
        if q.inputs is not None:
            rounded, entries = q.inputs, q.entries
        else:
            rounded, entries = q.outputs, q.vector
        stop = jax.lax.stop_gradient
        if q.inputs is not None or q.are_bits:
            distance = jnp.sum(jnp.square(rounded - stop(entries))) / num_examples
            metrics["commitment"] = distance
            value = value + commitment * distance
        if q.inputs is not None and codebook == "gradient":
            value = value + jnp.sum(jnp.square(stop(rounded) - entries)) / num_examples
        if q.are_bits:
            metrics["entropy_gap"] = _entropy_gap(q.outputs)
            value = value + entropy_weight * metrics["entropy_gap"]
        if q.inputs is not None:
            state, dead = _followed(state, q, key, step, codebook_decay, restart_share)
            metrics["restarted"] = jnp.mean(dead)
        return value, (state, metrics)

    def fitted(state, params):
        if not isinstance(state, CodebookState):
            return params
        book = params["posterior"]["codebook"]
        if codebook == "average":
            # Entries that nothing has chosen yet stay where they are.
            counts = state.counts[..., None]
            is_chosen = counts > 1e-5
            book = jnp.where(is_chosen, state.sums / jnp.where(is_chosen, counts, 1.0), book)
        book = jnp.where(state.is_spare[..., None], state.spare, book)
        return {**params, "posterior": {**params["posterior"], "codebook": book}}

    return Objective(init=init, loss=loss, fitted=fitted)


def _followed(
    state: CodebookState, q: Any, key: jax.Array, step: jax.Array, decay: Any, share: Any
) -> tuple[CodebookState, jax.Array]:
    """The moving averages after a batch, and which entries are restarted, [G, R, K] bool."""
    groups, stages, size = q.inputs.shape[-3:]
    rows = jax.lax.stop_gradient(q.inputs).reshape(-1, groups, stages, size)
    index = q.index.reshape(-1, groups, stages)
    num_codes = q.num_codes

    def of_book(rows, index):
        counts = jnp.zeros(num_codes, rows.dtype).at[index].add(1.0)
        return counts, jnp.zeros((num_codes, size), rows.dtype).at[index].add(rows)

    counts, sums = jax.vmap(jax.vmap(of_book, (1, 1)), (1, 1))(rows, index)
    counts = decay * state.counts + (1.0 - decay) * counts
    sums = decay * state.sums + (1.0 - decay) * sums
    mean = len(rows) / num_codes
    # The averages start at zero, and are divided by what they have seen.
    seen = 1.0 - decay ** (step + 1.0)
    is_dead = counts / seen < share * mean
    chosen = jax.random.randint(key, (num_codes,), 0, len(rows))
    spare = jnp.moveaxis(rows[chosen], 0, 2)
    # A restarted entry counts as if chosen as often as all in the mean.
    fresh = jnp.broadcast_to(mean * seen, counts.shape).astype(counts.dtype)
    counts = jnp.where(is_dead, fresh, counts)
    sums = jnp.where(is_dead[..., None], fresh[..., None] * spare, sums)
    return CodebookState(counts, sums, spare, is_dead), is_dead


def _entropy_gap(outputs: jax.Array) -> jax.Array:
    """sum_d E H(p_d) - H(E p_d) of independent bits with logits 4 e_d, outputs [B, *grid, D]."""
    logits = 4.0 * outputs.reshape(-1, outputs.shape[-1])
    ones = jax.nn.sigmoid(logits)
    # The logits are used, since the derivative of p log p is infinite where p is rounded to 0.
    of_each = jax.nn.softplus(logits) - logits * ones
    share = jnp.clip(jnp.mean(ones, axis=0), 1e-6, 1.0 - 1e-6)
    of_mean = jax.scipy.special.entr(share) + jax.scipy.special.entr(1.0 - share)
    return jnp.sum(jnp.mean(of_each, axis=0) - of_mean)
