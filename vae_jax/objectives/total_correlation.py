"""beta-TCVAE: the KL term split into mutual information, total correlation and the rest."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vae_jax.models import Draw
from vae_jax.objectives.objective import (
    Objective,
    elbo_metrics,
    elbo_terms,
    require_batch,
    require_of_posterior,
    stateless,
)
from vae_jax.objectives.schedules import Schedule, as_schedule, require_weight


class KlDecomposition(NamedTuple):
    """Estimates whose sum is the sampled KL term (Chen et al. 2018, eq. 2), [] nats each."""

    index_code_mi: jax.Array  # KL(q(z, n) || q(z) p(n)), the mutual information
    total_correlation: jax.Array  # KL(q(z) || prod_j q(z_j))
    dimension_wise_kl: jax.Array  # sum_j KL(q(z_j) || p(z_j))


def beta_tcvae(
    num_examples: int,
    beta: float | Schedule,
    *,
    alpha: float = 1.0,
    gamma: float = 1.0,
    stratified: bool = True,
) -> Objective:
    """beta-TCVAE: each part of the KL term has its own weight (Chen et al. 2018, eq. 4).

    Reconstruction - alpha * MI - beta * TC - gamma * dimension-wise KL, see `decompose_kl`.

    Args:
      num_examples: N, the size of the training data.
      beta: weight of the total correlation, a number or a schedule.
      alpha: weight of the index-code mutual information.
      gamma: weight of the dimension-wise KL.
      stratified: the same as for `decompose_kl`.

    Raises:
      ValueError: N < 2, a weight is negative or not finite; or (when called) the batch is one
        example.
    """
    if num_examples < 2:
        raise ValueError(f"num_examples must be at least 2, not {num_examples}.")
    for name, value in (("beta", beta), ("alpha", alpha), ("gamma", gamma)):
        require_weight(name, value)
    weight = as_schedule(beta)

    def loss(step, key, draw_fn):
        del key
        terms, draw = elbo_terms(draw_fn)
        parts = decompose_kl(draw, num_examples, stratified=stratified)
        metrics = {**elbo_metrics(terms, draw), **parts._asdict(), "beta": weight(step)}
        penalty = (
            alpha * parts.index_code_mi
            + metrics["beta"] * parts.total_correlation
            + gamma * parts.dimension_wise_kl
        )
        return penalty - metrics["reconstruction"], metrics

    return stateless(loss)


def decompose_kl(draw: Draw, num_examples: int, *, stratified: bool = True) -> KlDecomposition:
    """The three parts of KL(q(z|x) || p(z)), averaged over samples and a batch.

    The density of the aggregate posterior q(z) = 1/N sum_n q(z|x_n) at a sample of example i is
    estimated from the batch:

    - minibatch-weighted (Chen et al. 2018, eq. S4): 1/(N B) sum_j q(z|x_j), which is too small;
    - minibatch-stratified (eq. S6): 1/N q(z|x_i) + (N-1)/N times the mean of q(z|x_j) over the
      other examples, which is unbiased. The paper gives the other examples unequal weights with
      the same mean.

    Args:
      draw: draws of a batch of at least two examples, whose posterior has independent latents
        [L] and `log_prob_per_dim`.
      num_examples: N, the size of the data that the batch was drawn from.
      stratified: whether the estimate is minibatch-stratified.

    Raises:
      ValueError: the batch is a single example or larger than the data.
    """
    require_batch(draw, "The decomposition of the KL term")
    require_of_posterior(draw, ("log_prob_per_dim",), "The total correlation")
    batch_size = draw.log_prior.shape[1]
    if batch_size > num_examples:
        raise ValueError(f"A batch of {batch_size} is larger than num_examples={num_examples}.")
    if stratified:
        others = math.log1p(-1.0 / num_examples) - math.log(batch_size - 1)
        own = -math.log(num_examples)
    else:
        others = own = -math.log(num_examples) - math.log(batch_size)
    log_weights = jnp.where(jnp.eye(batch_size, dtype=bool), own, others)  # [i, j]

    def one_sample(z, log_prior, log_posterior):
        # [i, j, L], log q(z_il | x_j)
        over_posteriors = jax.vmap(lambda q, z: q.log_prob_per_dim(z), (0, None))
        per_dim = jax.vmap(over_posteriors, (None, 0))(draw.posterior, z)
        log_q = jax.nn.logsumexp(log_weights + jnp.sum(per_dim, axis=2), axis=1)
        log_marginals = jax.nn.logsumexp(log_weights[:, :, None] + per_dim, axis=1)
        log_product = jnp.sum(log_marginals, axis=1)
        parts = (log_posterior - log_q, log_q - log_product, log_product - log_prior)
        return KlDecomposition(*(jnp.mean(part) for part in parts))

    parts = jax.vmap(one_sample)(draw.z, draw.log_prior, draw.log_posterior)
    return jax.tree.map(jnp.mean, parts)
