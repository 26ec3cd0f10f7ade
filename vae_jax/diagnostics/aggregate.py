"""The aggregate posterior of a data set: its information, and its distance from the prior.

In training the decoder sees the aggregate posterior q(z) = 1/N sum of q(z|x_n), while samples are
drawn from p(z). The mean KL term of the ELBO is

    mean KL = index-code mutual information + KL(q(z) || p(z))        (Hoffman & Johnson 2016)

and the second term, the marginal KL, is the total correlation plus the sum of KL(q(z_j) || p(z_j))
over dimensions (Chen et al. 2018).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.distributions import Normal
from vae_jax.evidence import chunks

ACTIVE_VARIANCE = 0.01  # least variance of the posterior mean (Burda et al. 2016, section 5)
CARRIED_SHARE = 0.98  # fraction of the KL that the carrying dimensions have together


class Surgery(NamedTuple):
    """The mean KL term of N examples, and its parts; nats, float64 on the host.

    mutual_information + marginal_kl = sampled_kl, total_correlation + dimension_kl.sum() =
    marginal_kl; mutual_information is at most log N.
    """

    num_examples: int  # N
    kl: float  # mean of KL(q(z|x) || p(z)) in closed form
    sampled_kl: float  # the same, from the samples that the rest is computed from
    mutual_information: float  # between z and the index n of the example
    marginal_kl: float  # KL(q(z) || p(z))
    total_correlation: float  # KL(q(z) || product of q(z_j))
    dimension_kl: np.ndarray  # [L], KL(q(z_j) || p(z_j))
    mutual_information_error: float  # standard errors, over the N samples
    marginal_kl_error: float


class Units(NamedTuple):
    """Statistics of every latent dimension over N examples; float64 on the host."""

    kl: np.ndarray  # [L], mean of KL(q(z_j|x) || p(z_j)), nats
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
    def carrying(self) -> np.ndarray:
        """[L], whether a dimension is in the smallest set that has 98 % of the KL together.

        The set is empty if the KL is zero. The choice among dimensions of equal KL is arbitrary;
        the size of the set is not.
        """
        kl = np.maximum(self.kl, 0.0)  # rounding may make it negative
        order = np.argsort(-kl, kind="stable")
        before = np.concatenate([[0.0], np.cumsum(kl[order])[:-1]])
        # Sums are equal up to rounding.
        needed = before < CARRIED_SHARE * kl.sum() * (1.0 - 1e-9)
        carrying = np.zeros(len(kl), bool)
        carrying[order[needed]] = True
        return carrying


def units(posteriors: Normal, prior: Normal) -> Units:
    """Computes the statistics of each latent dimension.

    Args:
      posteriors: posteriors q(z|x) of N examples, stacked, with means [N, L].
      prior: prior p(z) of the same family, with mean [L].
    """
    kl = jax.vmap(lambda q: q.kl_per_dim(prior))(posteriors)
    mean = np.asarray(posteriors.mean, np.float64)
    variance = np.exp(2.0 * np.asarray(posteriors.log_std, np.float64))
    mean_variance = mean.var(axis=0)
    return Units(
        kl=np.asarray(kl, np.float64).mean(axis=0),
        mean_variance=mean_variance,
        aggregate_mean=mean.mean(axis=0),
        aggregate_std=np.sqrt(mean_variance + variance.mean(axis=0)),
    )


def surgery(
    posteriors: Normal, prior: Normal, key: jax.Array, *, samples_at_once: int | None = None
) -> Surgery:
    """ELBO surgery (Hoffman & Johnson 2016), from one sample of each posterior.

    q(z) is exactly the mixture of all N posteriors; only the mean over z is sampled. The time grows
    as N^2 L.

    Args:
      posteriors: posteriors q(z|x) of N examples, stacked, with means [N, L].
      prior: prior p(z), with mean [L].
      key: typed PRNG key.
      samples_at_once: number of samples whose densities under all N posteriors are held together;
        None for 50 or, if memory allows fewer, for as many as fit (`evidence.chunks`).
    """
    num_examples = len(posteriors.mean)
    if samples_at_once is None:
        samples_at_once = min(50, chunks.at_once(posteriors.mean.nbytes))

    @jax.jit
    def terms(posteriors, key):
        def of_sample(inputs):
            q, key = inputs
            z = q.sample(key)
            log_q = jax.vmap(lambda other: other.log_prob_per_dim(z))(posteriors)  # [N, L]
            log_mixture = jax.nn.logsumexp(jnp.sum(log_q, axis=1)) - jnp.log(num_examples)
            log_marginals = jax.nn.logsumexp(log_q, axis=0) - jnp.log(num_examples)
            return (
                q.log_prob(z) - log_mixture,
                log_mixture - prior.log_prob(z),
                log_marginals - prior.log_prob_per_dim(z),
            )

        keys = jax.random.split(key, num_examples)
        return jax.lax.map(of_sample, (posteriors, keys), batch_size=samples_at_once)

    information, marginal, dimensions = (
        np.asarray(values, np.float64) for values in terms(posteriors, key)
    )
    dimension_kl = dimensions.mean(axis=0)
    return Surgery(
        num_examples=num_examples,
        kl=float(units(posteriors, prior).kl.sum()),
        sampled_kl=float(information.mean() + marginal.mean()),
        mutual_information=float(information.mean()),
        marginal_kl=float(marginal.mean()),
        total_correlation=float(marginal.mean() - dimension_kl.sum()),
        dimension_kl=dimension_kl,
        mutual_information_error=float(information.std() / np.sqrt(num_examples)),
        marginal_kl_error=float(marginal.std() / np.sqrt(num_examples)),
    )
