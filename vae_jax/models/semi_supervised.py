"""Models of examples and their labels, some of which are missing."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from vae_jax.distributions import (
    Categorical,
    Chain,
    Label,
    has_closed_form_kl,
    kl_divergence,
    unknown,
    value_of,
)
from vae_jax.models.base import Model, Summed
from vae_jax.models.checks import require_shape_of_one
from vae_jax.models.partial import as_observed
from vae_jax.networks import Architecture, Shape, mlp


def semi_supervised(
    model: Model,
    num_classes: int,
    event_shape: Shape,
    *,
    classifier: Architecture | None = None,
    class_probabilities: Any = None,
) -> Model:
    """p(x, y) = p(y) p(x|y) of examples x and labels y, where a missing label is a latent variable.

    The generative semi-supervised model M2 (Kingma et al. 2014, section 2 and 3): y ~ p(y), z ~
    p(z), x ~ p(x|z, y), with q(y|x) a classifier and q(z|x, y). The latents are (z, y), of which
    y is drawn first. The condition c of an example is its label, one-hot [C], or nan [C] where it
    is missing. log_w is then a bound on log p(x, y), or on log p(x).

    `Model.summed` sums over the classes instead of drawing one (eq. 7). Without a single label it
    is a model of clusters (GMVAE), if p(z|y) depends on y.

    Args:
      model: model of p(x|y), conditional on labels one-hot [C], such as `vae(...,
        condition_shape=(C,))`.
      num_classes: C.
      event_shape: shape of one example.
      classifier: architecture of the logits of q(y|x); None for `networks.mlp()`.
      class_probabilities: p(y), [C]; None for equal ones.

    Returns:
      A `Model` with params {**those of `model`, "classifier"}. Without a condition the label of an
      example is missing.

    Raises:
      ValueError: there are fewer than 2 classes, or the probabilities are of another number or not
        positive.
    """
    probabilities = jnp.ones(num_classes) if class_probabilities is None else class_probabilities
    log_p = jnp.log(jnp.asarray(probabilities, jnp.float32))
    if num_classes < 2 or log_p.shape != (num_classes,) or not bool(jnp.all(jnp.isfinite(log_p))):
        raise ValueError(
            f"There must be at least 2 classes of positive probabilities, not {num_classes} with "
            f"{class_probabilities}."
        )
    logits_of = (classifier or mlp())(event_shape, (num_classes,))

    def init(key, x):
        model_key, classifier_key = jax.random.split(key)
        return {**model.init(model_key, x), "classifier": logits_of.init(classifier_key, 0.0)}

    def label_of(params, x, c) -> Label:
        label = unknown(num_classes) if c is None else c
        require_shape_of_one("c", "label", label, (num_classes,))
        seen = value_of(x)
        require_shape_of_one("x", "example", seen, event_shape)
        if seen is not x:
            seen = jnp.where(as_observed(x).mask > 0, seen, 0.0)
        return Label(logits_of.apply(params["classifier"], seen), label)

    def posterior_given(carry, y):
        params, x = carry
        return carry, model.posterior(params, x, y)

    def prior_given(params, y):
        return params, model.prior(params, y)

    of_posterior, of_prior = (Partial(posterior_given),), (Partial(prior_given),)

    def posterior_of(params, x, c=None):
        return Chain(label_of(params, x, c), (params, x), of_posterior, (1, 0), False)

    def prior_of(params, c=None):
        del c
        return Chain(Categorical(log_p), params, of_prior, (1, 0), False)

    def likelihood_of(params, latents, c=None):
        del c
        z, y = latents
        return model.likelihood(params, z, y)

    def summed(params, generative_params, x, key, c=None):
        label = label_of(params, x, c)
        weights, keys = label.mean, jax.random.split(key, num_classes)

        def of_class(y, key):
            q, p = model.posterior(params, x, y), model.prior(generative_params, y)
            z, log_q = q.sample_and_log_prob(key)
            log_p = p.log_prob(z)
            kl = kl_divergence(q, p) if has_closed_form_kl(q, p) else log_q - log_p
            return z, model.likelihood(generative_params, z, y).log_prob(x), log_p, log_q, kl

        classes = jnp.eye(num_classes)
        z, log_likelihood, log_prior, log_posterior, kl = jax.vmap(of_class)(classes, keys)
        of_label = label.kl_divergence(Categorical(log_p))
        entropy = jnp.where(label.is_known, 0.0, weights @ jax.nn.log_softmax(label.logits))
        first = jnp.argmax(weights)
        return Summed(
            z=(jax.tree.map(lambda leaf: leaf[first], z), classes[first]),
            log_likelihood=weights @ log_likelihood,
            log_prior=weights @ (log_prior + jax.nn.log_softmax(log_p)),
            log_posterior=weights @ log_posterior + entropy,
            layer_kl=jnp.stack([weights @ kl, of_label]),
        )

    return Model(
        init=init,
        posterior=posterior_of,
        prior=prior_of,
        likelihood=likelihood_of,
        summed=summed,
    )
