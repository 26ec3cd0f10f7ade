"""Bounds on the log-evidence, as functions of the log-weights. Nats; higher is better."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Bound = Callable[[jax.Array], jax.Array]  # log_w [K, B] -> [B]


def elbo(log_w: jax.Array) -> jax.Array:
    """Evidence lower bound, the mean log-weight (Kingma & Welling 2014, eq. 6).

    log_w: [K, B] nats. Returns [B]; its mean is at most log p(x), whatever K is.
    """
    return jnp.mean(log_w, axis=0)


def iwae(log_w: jax.Array) -> jax.Array:
    """Importance-weighted bound, log of the mean weight (Burda et al. 2016, eq. 8).

    log_w: [K, B] nats. Returns [B]; its mean is at most log p(x) and does not decrease in K.
    """
    return jax.nn.logsumexp(log_w, axis=0) - jnp.log(log_w.shape[0])
