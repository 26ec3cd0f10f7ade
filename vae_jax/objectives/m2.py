"""Semi-supervised learning: the bound of labelled and unlabelled examples, and a classifier."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from vae_jax.distributions import Chain, Label
from vae_jax.models import ElboTerms
from vae_jax.objectives import estimators
from vae_jax.objectives.estimators import Estimator
from vae_jax.objectives.objective import Objective, elbo_metrics, elbo_terms, stateless
from vae_jax.objectives.schedules import require_weight


def m2(
    label_weight: float = 0.1,
    *,
    labelled_share: float = 1.0,
    repeats: float = 1.0,
    class_weights: Sequence[float] | None = None,
    estimator: Estimator = estimators.pathwise,
) -> Objective:
    """The ELBO of labelled and unlabelled examples plus the log-probability of known labels.

    L(x, y) of labelled examples, U(x) of the others, and label_weight times the mean of log q(y|x)
    over the labelled ones (Kingma et al. 2014, eq. 9, whose alpha = 0.1 N is 0.1 here, where the
    loss is a mean over examples). For models of `models.semi_supervised`.

    Args:
      label_weight: weight of the classifier's log-probability of known labels, not negative.
      labelled_share: share of the training examples whose label is known, repeats included.
      repeats: how often a labelled example is among the training examples; its bound counts as
        often less.
      class_weights: [C], weights of the classes in the classifier's term; None for equal ones.
      estimator: `estimators.pathwise` for the exact sum over the classes of an unlabelled example;
        another one draws its class and estimates the gradient.

    Raises:
      ValueError: a number is out of its range.
      TypeError: (when called) the latents are not those of `models.semi_supervised`.
    """
    require_weight("label_weight", label_weight)
    if not 0 < labelled_share <= 1 or not repeats > 0:
        raise ValueError(
            f"labelled_share={labelled_share} must lie in (0, 1] and repeats={repeats} be positive."
        )

    def loss(step, key, draw_fn):
        del step, key
        if estimator is estimators.pathwise:
            draw = draw_fn(summed=True)
            kl = jnp.mean(draw.sampled_kl, axis=0)
            terms = ElboTerms(jnp.mean(draw.log_likelihood, axis=0), kl)
        else:
            terms, draw = elbo_terms(draw_fn, estimator)
        first = draw.posterior.first if isinstance(draw.posterior, Chain) else None
        if not isinstance(first, Label):
            raise TypeError("M2 needs the latents of models.semi_supervised, with labels.")
        is_known = jax.vmap(lambda label: label.is_known)(first)
        log_q = jax.vmap(lambda label: label.log_prob_of_label)(first)
        if class_weights is not None:
            labels = jnp.nan_to_num(first.label)
            log_q = log_q * (labels @ jnp.asarray(class_weights, labels.dtype))
        # The mean over all training examples, each once, and over the labelled ones.
        once = labelled_share / repeats + 1.0 - labelled_share
        weights = jnp.where(is_known, 1.0 / repeats, 1.0) / once
        bound = jnp.mean(weights * (terms.reconstruction - terms.kl))
        of_labels = jnp.mean(log_q) / labelled_share
        metrics = {
            **elbo_metrics(terms, draw),
            "bound": bound,
            "log_q_of_labels": of_labels,
        }
        return -bound - label_weight * of_labels, metrics

    return stateless(loss)
