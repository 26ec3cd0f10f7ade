"""Semi-amortised inference: gradient steps from what the encoder says, for each example."""

from typing import Any

import jax
import jax.numpy as jnp

from vae_jax.models.base import Model, given
from vae_jax.models.decomposition import elbo_of


def refined(
    model: Model,
    num_steps: int,
    *,
    rate: float = 0.1,
    num_samples: int = 8,
    clip_norm: float = 5.0,
    through: bool = True,
) -> Model:
    """The same model, whose q(z|x) is improved by gradient steps for each x (Kim et al. 2018).

    The outputs of the encoder take `num_steps` steps up the ELBO of x. Its noise is always the
    same, so that q(z|x) is a function of x and of the parameters alone, as that of any encoder is:
    every bound and every estimator holds for it. Each step costs `num_samples` decodings with their
    gradients.

    Args:
      model: a model with an `encoder` and a reparameterised posterior, such as that of `vae`.
      num_steps: number of steps; 0 for the model itself.
      rate: length of a step, times the gradient.
      num_samples: samples of q(z|x) in the ELBO of a step.
      clip_norm: largest norm of the gradient of a step, to which a longer one is scaled.
      through: whether training differentiates through the steps. Otherwise their sum counts as a
        constant, and the encoder is trained as if it had said it.

    Raises:
      ValueError: a number is out of range, or the model has no `encoder` or has dropout.
    """
    if num_steps < 0 or num_samples < 1 or not rate > 0 or not clip_norm > 0:
        raise ValueError(
            "Refinement needs num_steps >= 0, num_samples >= 1, and a positive rate and clip_norm, "
            f"not {num_steps}, {num_samples}, {rate} and {clip_norm}."
        )
    if model.encoder is None or model.posterior_of is None:
        raise ValueError("Refinement needs a model with an encoder, which this one does not have.")
    if model.posterior_with_dropout is not None:
        raise ValueError("Refinement is for an encoder without dropout.")
    if num_steps == 0:
        return model

    def encoder(params, x, c=None):
        of_c: Any = given(model, c)
        first = of_c.encoder(params, x)

        def negative_elbo(outputs):
            # Always the same noise.
            keys = jax.random.split(jax.random.key(0), num_samples)
            return -elbo_of(of_c, params, x, of_c.posterior_of(params, outputs), keys)

        def step(outputs, _):
            gradient = _clipped(jax.grad(negative_elbo)(outputs), clip_norm)
            return jax.tree.map(lambda at, slope: at - rate * slope, outputs, gradient), None

        last, _ = jax.lax.scan(step, first, None, length=num_steps)
        if through:
            return last
        change = jax.tree.map(lambda end, start: jax.lax.stop_gradient(end - start), last, first)
        return jax.tree.map(jnp.add, first, change)

    posterior_of = model.posterior_of

    def posterior(params, x, c=None):
        outputs = encoder(params, x, c)
        return posterior_of(params, outputs) if c is None else posterior_of(params, outputs, c)

    return model._replace(posterior=posterior, encoder=encoder)


def _clipped(gradient: Any, clip_norm: float) -> Any:
    """A gradient, scaled down to `clip_norm` if it is longer."""
    squares = [jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(gradient)]
    norm = jnp.sqrt(jnp.sum(jnp.stack(squares)) + jnp.finfo(jnp.float32).tiny)
    return jax.tree.map(lambda leaf: leaf * jnp.minimum(1.0, clip_norm / norm), gradient)
