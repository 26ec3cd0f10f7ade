"""Heads of bits and of one-hot vectors."""

import jax.numpy as jnp

from vae_jax.distributions import Bernoulli, Categorical, UnnormalisedBernoulli
from vae_jax.models.heads.base import Head, blocks


def bernoulli() -> Head:
    """Independent Bernoulli variables; the outputs are their logits.

    The output bias is the logit of the mean, clipped to [0.001, 0.999] as in Burda et al. 2016.
    """
    return _bernoulli(Bernoulli)


def bernoulli_unnormalised() -> Head:
    """The formula of `bernoulli` for grey values in [0, 1]: the cross-entropy, no likelihood.

    An objective that uses it is no bound on log p(x). It has a separate name so that nobody uses it
    by accident.
    """
    return _bernoulli(UnnormalisedBernoulli)


def categorical() -> Head:
    """Independent categorical variables, one-hot along the last axis; the outputs are their logits.

    The output bias is the logarithm of the mean, which is kept from zero by 0.001 / C for C
    categories.

    Raises:
      ValueError: (when applied) the last axis of the event has fewer than 2 categories.
    """

    def init(key, event):
        del key
        return {}, jnp.log(jnp.maximum(event, 0.001 / event.shape[-1]))

    def apply(params, outputs, event_shape):
        del params
        if event_shape[-1] < 2:
            raise ValueError(
                "The last axis of a categorical event is that of its categories, at least 2 of "
                f"them, which event_shape={event_shape} has not."
            )
        return Categorical(logits=outputs)

    return Head(output_shape=blocks(1), init=init, apply=apply)


def _bernoulli(family: type[Bernoulli]) -> Head:
    def init(key, event):
        del key
        mean = jnp.clip(event, 0.001, 0.999)
        return {}, jnp.log(mean) - jnp.log1p(-mean)

    def apply(params, outputs, event_shape):
        del params, event_shape
        return family(logits=outputs)

    return Head(output_shape=blocks(1), init=init, apply=apply)
