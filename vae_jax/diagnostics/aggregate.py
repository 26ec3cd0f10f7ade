"""The aggregate posterior of a data set: its information, and its distance from the prior.

In training the decoder sees the aggregate posterior q(z) = 1/N sum of q(z|x_n), while samples are
drawn from p(z). The mean KL term of the ELBO is

    mean KL = index-code mutual information + KL(q(z) || p(z))        (Hoffman & Johnson 2016)

and the second term, the marginal KL, is the total correlation plus the sum of KL(q(z_j) || p(z_j))
over dimensions (Chen et al. 2018), if those of the prior are independent of each other.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.distributions import (
    Distribution,
    FullNormal,
    LowRankNormal,
    Mixture,
    Normal,
    has_closed_form_kl,
    kl_divergence,
    matched_normal,
)
from vae_jax.evidence import chunks

ACTIVE_VARIANCE = 0.01  # least variance of the posterior mean (Burda et al. 2016, section 5)
CARRIED_SHARE = 0.98  # fraction of the KL that the carrying dimensions have together


class Surgery(NamedTuple):
    """The mean KL term of N examples, and its parts; nats, float64 on the host.

    mutual_information + marginal_kl = sampled_kl, total_correlation + dimension_kl.sum() =
    marginal_kl; mutual_information is at most log N.
    """

    num_examples: int  # N
    kl: float  # mean of KL(q(z|x) || p(z)) in closed form, or sampled where it has none
    sampled_kl: float  # the same, from the samples that the rest is computed from
    mutual_information: float  # between z and the index n of the example
    marginal_kl: float  # KL(q(z) || p(z))
    mutual_information_error: float  # standard errors, over the N samples
    marginal_kl_error: float
    # KL(q(z) || product of q(z_j)), and KL(q(z_j) || p(z_j)), [L]; None if the dimensions of p(z)
    # depend on each other, or if the densities of the q(z_j|x) are not known.
    total_correlation: float | None = None
    dimension_kl: np.ndarray | None = None


class Units(NamedTuple):
    """Statistics of every latent dimension over N examples; float64 on the host."""

    kl: np.ndarray | None  # [L], mean of KL(q(z_j|x) || p(z_j)), nats; None if not known
    mean_variance: np.ndarray  # [L], variance over examples of the posterior mean
    aggregate_mean: np.ndarray  # [L], mean of q(z_j)
    aggregate_std: np.ndarray  # [L], standard deviation of q(z_j)

    @property
    def active(self) -> np.ndarray:
        """[L], whether a dimension varies with x (Burda et al. 2016, section 5).

        An active dimension may carry almost nothing: if the posterior mean has variance v and the
        posterior has variance 1 - v, the KL is -log(1 - v) / 2, which is 0.005 nats for v = 0.01.
        """
        return self.mean_variance > ACTIVE_VARIANCE

    @property
    def carrying(self) -> np.ndarray | None:
        """[L], whether a dimension is in the smallest set that has 98 % of the KL together.

        The set is empty if the KL is zero. The choice among dimensions of equal KL is arbitrary;
        the size of the set is not. None if the KL of the dimensions is not known.
        """
        if self.kl is None:
            return None
        kl = np.maximum(self.kl, 0.0)  # rounding may make it negative
        order = np.argsort(-kl, kind="stable")
        before = np.concatenate([[0.0], np.cumsum(kl[order])[:-1]])
        # Sums are equal up to rounding.
        needed = before < CARRIED_SHARE * kl.sum() * (1.0 - 1e-9)
        carrying = np.zeros(len(kl), bool)
        carrying[order[needed]] = True
        return carrying


def units(
    posteriors: Any,
    prior: Distribution | None,
    *,
    posterior_of: Callable[[Any], Distribution] = lambda one: one,
    key: jax.Array | None = None,
) -> Units:
    """Computes the statistics of each latent dimension.

    The KL of a dimension is in closed form if its posterior and its prior are normal. It is the
    mean over one sample of each posterior if their densities are known otherwise, as those of
    mixtures are. It is not known of flows.

    Args:
      posteriors: the same as for `surgery`.
      prior: prior p(z) over [L]; None for no KL.
      posterior_of: the same as for `surgery`.
      key: typed PRNG key of the samples; None for `jax.random.key(0)`.
    """
    matched = jax.vmap(lambda one: matched_normal(posterior_of(one)))(posteriors)
    mean = np.asarray(matched.mean, np.float64)
    variance = np.exp(2.0 * np.asarray(matched.log_std, np.float64))
    mean_variance = mean.var(axis=0)
    return Units(
        kl=None if prior is None else _unit_kl(posteriors, prior, posterior_of, matched, key),
        mean_variance=mean_variance,
        aggregate_mean=mean.mean(axis=0),
        aggregate_std=np.sqrt(mean_variance + variance.mean(axis=0)),
    )


def _unit_kl(
    posteriors: Any,
    prior: Distribution,
    posterior_of: Callable[[Any], Distribution],
    matched: Normal,
    key: jax.Array | None,
) -> np.ndarray | None:
    """The mean KL of each dimension, [L], or None. matched: normal distributions, stacked."""
    first = jax.eval_shape(posterior_of, jax.tree.map(lambda leaf: leaf[0], posteriors))
    if isinstance(first, _WITH_NORMAL_MARGINALS) and isinstance(prior, Normal):
        kl = jax.vmap(lambda q: q.kl_per_dim(prior))(matched)
        return np.asarray(kl, np.float64).mean(axis=0)

    def difference(one, key):
        q = posterior_of(one)
        z = q.sample(key)
        of_q, of_prior = _log_marginals(q, z), _log_marginals(prior, z)
        return None if of_q is None or of_prior is None else of_q - of_prior

    keys = jax.random.split(jax.random.key(0) if key is None else key, len(matched.mean))
    kl = jax.vmap(difference)(posteriors, keys)
    return None if kl is None else np.asarray(kl, np.float64).mean(axis=0)


def surgery(
    posteriors: Any,
    prior: Distribution,
    key: jax.Array,
    *,
    posterior_of: Callable[[Any], Distribution] = lambda one: one,
    samples_at_once: int | None = None,
) -> Surgery:
    """ELBO surgery (Hoffman & Johnson 2016), from one sample of each posterior.

    q(z) is exactly the mixture of all N posteriors; only the mean over z is sampled. The time grows
    as N^2 L.

    Args:
      posteriors: posteriors q(z|x) of N examples, stacked: leaves [N, ...]. With `posterior_of`,
        what the encoder gives for each.
      prior: prior p(z).
      key: typed PRNG key.
      posterior_of: function that makes q(z|x) of one of `posteriors`, so that what examples share,
        such as the networks of a flow, is not copied for each of them.
      samples_at_once: number of samples whose densities under all N posteriors are held together;
        None for 50 or, if memory allows fewer, for as many as fit (`evidence.chunks`).

    Raises:
      TypeError: the density of q(z|x) at a given z is not known, as that of a planar flow.
    """
    num_examples = len(jax.tree.leaves(posteriors)[0])
    if samples_at_once is None:
        num_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(posteriors)) // 2
        samples_at_once = min(50, chunks.at_once(num_bytes))

    @jax.jit
    def terms(posteriors, key):
        def of_sample(inputs):
            one, key = inputs
            q = posterior_of(one)
            z = q.sample(key)
            log_q = jax.vmap(lambda other: _joint_and_marginals(posterior_of(other), z))(posteriors)
            log_joint, log_marginals = jax.tree.map(
                lambda each: jax.nn.logsumexp(each, axis=0) - jnp.log(num_examples), log_q
            )
            dimensions = None
            if isinstance(prior, Normal) and log_marginals is not None:
                dimensions = log_marginals - prior.log_prob_per_dim(z)
            return (q.log_prob(z) - log_joint, log_joint - prior.log_prob(z), dimensions)

        keys = jax.random.split(key, num_examples)
        return jax.lax.map(of_sample, (posteriors, keys), batch_size=samples_at_once)

    information, marginal, dimensions = jax.tree.map(
        lambda values: np.asarray(values, np.float64), terms(posteriors, key)
    )
    sampled_kl = float(information.mean() + marginal.mean())
    dimension_kl = None if dimensions is None else dimensions.mean(axis=0)
    return Surgery(
        num_examples=num_examples,
        kl=_closed_kl(posteriors, prior, posterior_of, sampled_kl),
        sampled_kl=sampled_kl,
        mutual_information=float(information.mean()),
        marginal_kl=float(marginal.mean()),
        mutual_information_error=float(information.std() / np.sqrt(num_examples)),
        marginal_kl_error=float(marginal.std() / np.sqrt(num_examples)),
        total_correlation=(
            None if dimension_kl is None else float(marginal.mean() - dimension_kl.sum())
        ),
        dimension_kl=dimension_kl,
    )


_WITH_NORMAL_MARGINALS = (Normal, FullNormal, LowRankNormal)


def _closed_kl(posteriors: Any, prior: Distribution, posterior_of: Any, sampled: float) -> float:
    """The mean KL from the prior in closed form, or the sampled one where there is none."""
    if isinstance(posteriors, Normal) and isinstance(prior, Normal):
        return float(cast(np.ndarray, units(posteriors, prior).kl).sum())
    first = jax.eval_shape(posterior_of, jax.tree.map(lambda leaf: leaf[0], posteriors))
    if not has_closed_form_kl(first, prior):
        return sampled
    kl = jax.vmap(lambda one: kl_divergence(posterior_of(one), prior))(posteriors)
    return float(np.asarray(kl, np.float64).mean())


def _joint_and_marginals(q: Distribution, z: jax.Array) -> tuple[jax.Array, jax.Array | None]:
    """log q(z), [], and the log-densities of its dimensions, [L], or None."""
    marginals = _log_marginals(q, z)
    if isinstance(q, Normal):
        return jnp.sum(cast(jax.Array, marginals)), marginals
    return q.log_prob(z), marginals


def _log_marginals(q: Distribution, z: jax.Array) -> jax.Array | None:
    """The log-density of each dimension z_j by itself, [L], or None if it is not known."""
    if isinstance(q, _WITH_NORMAL_MARGINALS):
        return matched_normal(q).log_prob_per_dim(z)
    if not isinstance(q, Mixture):
        return None
    of_each = jax.vmap(lambda component: _log_marginals(component, z))(q.components)
    if of_each is None:
        return None
    return jax.nn.logsumexp(jax.nn.log_softmax(q.logits)[:, None] + of_each, axis=0)
