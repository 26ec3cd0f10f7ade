"""The one number: log_w = log p(x|z) + log p(z) - log q(z|x) for z ~ q(z|x)."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, cast

import jax
import jax.numpy as jnp

from vae_jax.distributions import Chain, Distribution, kl_by_layer
from vae_jax.models.base import Model, Params, given
from vae_jax.models.batch import Batch, as_batch
from vae_jax.models.checks import require_example, require_examples


class Draw(NamedTuple):
    """Posterior samples of a batch, or of one example, with the terms of their log-weights.

    Bounds on log p(x), estimates of it and gradient estimators are functions of a draw. The shapes
    are those of a batch of B examples. The draw of one example has no axis B.
    """

    z: Any  # [K, B, *latent], samples of the posterior
    log_likelihood: jax.Array  # [K, B], log p(x|z), nats
    log_prior: jax.Array  # [K, B], log p(z), nats
    log_posterior: jax.Array  # [K, B], log q(z|x), nats
    posterior: Distribution  # q(z|x), stacked over B
    prior: Distribution  # p(z), not stacked; or that of each example, stacked over B
    # What p(z) of each example depends on, leaves [B, ...]: its condition, the example that it
    # leaves out, or both; None where all examples have one p(z).
    c: Any = None
    # [K, B, L], the KL term of each layer of a hierarchy (`distributions.kl_by_layer`), nats; None
    # where the latents are one layer.
    layer_kl: Any = None

    @property
    def log_w(self) -> jax.Array:
        """[K, B], nats; E[exp(log_w)] = p(x) under q(z|x)."""
        return self.log_likelihood + self.log_prior - self.log_posterior

    @property
    def sampled_kl(self) -> jax.Array:
        """The KL term of each sample, [K, B] nats, whose mean is KL(q(z|x) || p(z)).

        It is the sum of the KL terms of the layers of a hierarchy, or log q(z|x) - log p(z).
        """
        if self.layer_kl is not None:
            return jnp.sum(self.layer_kl, axis=-1)
        return self.log_posterior - self.log_prior

    def of_each_example(self, function: Callable[[Distribution, Distribution], Any]) -> Any:
        """The values of a function of q(z|x) and p(z), stacked over the B examples."""
        prior_axis = None if self.c is None else 0
        return jax.vmap(function, (0, prior_axis))(self.posterior, self.prior)


class DrawFn(Protocol):
    """`draw_batch` with the model, its parameters, a batch and its keys given."""

    def __call__(
        self,
        *,
        theta: bool = True,
        path: bool | jax.Array = True,
        score: bool = True,
        temperature: float | jax.Array | None = None,
        surrogate: str | None = None,
        summed: bool = False,
    ) -> Draw:
        """Returns the draw. Its gradient takes the routes that are open; see `draw_batch`."""


def draw(
    model: Model,
    params: Params,
    x: Any,
    noise_keys: jax.Array,
    *,
    path: bool | jax.Array = True,
    **options: Any,
) -> Draw:
    """Draws K posterior samples of ONE example.

    Args:
      model: the VAE; `given(model, c)` for a conditional one.
      params: parameters of the model.
      x: [*event], the example, or a pytree of arrays.
      noise_keys: [K] typed PRNG keys, one for each sample.
      path: whether gradients pass through z, or an array [K]; see `draw_batch`.
      **options: further options of `draw_batch`.

    Returns:
      A `Draw` without the axis B.

    Raises:
      TypeError: the same as for `draw_batch`.
      BadInputError: the same as for `draw_batch`.
    """
    require_example(model, params, x)
    path = path if isinstance(path, bool) else path[:, None]
    batch = Batch(jax.tree.map(lambda leaf: leaf[None], x))
    found = draw_batch(model, params, batch, noise_keys[:, None], path=path, **options)
    of_samples = {
        name: jax.tree.map(lambda leaf: leaf[:, 0], getattr(found, name))
        for name in ("z", "log_likelihood", "log_prior", "log_posterior", "layer_kl")
    }
    return found._replace(
        **of_samples, posterior=jax.tree.map(lambda leaf: leaf[0], found.posterior)
    )


def draw_batch(
    model: Model,
    params: Params,
    x: jax.Array | Batch,
    noise_keys: jax.Array,
    *,
    theta: bool = True,
    path: bool | jax.Array = True,
    score: bool = True,
    temperature: jax.Array | float | None = None,
    surrogate: str | None = None,
    dropout_keys: jax.Array | None = None,
    left_out: Any = None,
    summed: bool = False,
) -> Draw:
    """Draws K posterior samples of each of B examples.

    The gradient of log_w reaches the parameters by three routes, and each of them may be closed.
    This changes gradients and no values. Gradient estimators are made of such routes.

    The shape of x is always checked. Its values are checked against the support of the likelihood
    where they are known, which is outside `jax.jit` and `jax.vmap`.

    Args:
      model: the VAE.
      params: parameters of the model.
      x: [B, *event], the batch, or a `Batch`.
      noise_keys: [K, B] typed PRNG keys, one for each sample.
      theta: whether gradients pass through the parameters of p(x|z) and p(z).
      path: whether gradients pass through z, or an array [K, B] by which they are multiplied.
      score: whether gradients pass through the parameters of log q(z|x) at fixed z.
      temperature: temperature of relaxed samples of a discrete posterior; None for exact samples.
      surrogate: kind of the gradient that samples of a discrete posterior have in place of none,
        one of `distributions.SURROGATES`; None for their own.
      dropout_keys: [B] typed PRNG keys with which the encoder of a model that has dropout drops
        units, the same ones for all samples of an example; None to drop none.
      left_out: [B, *event], the examples as they are stored, each of which is left out of its own
        p(z) of a model whose prior holds examples; None to leave out none.
      summed: whether discrete latents are summed over instead of drawn (`Model.summed`). The terms
        are then those of the ELBO; their log_w is no weight of importance sampling.

    Returns:
      A `Draw`, log-terms [K, B].

    Raises:
      TypeError: x has an integer dtype, as stored pixels have, which must be binarised or scaled
        first; or `temperature` is given and the posterior cannot be relaxed, or a `surrogate` that
        it does not have; or one of posterior and prior is discrete and the other is not; or
        `dropout_keys` are given to a model without dropout, `left_out` to one whose prior holds no
        examples, or `summed` is asked of a model that cannot sum, or with a closed or weighted
        route of z or log q.
      BadInputError: x does not have the shape [B, *event] of the model, or its values are known
        and some are outside the support of the likelihood.
    """
    require_examples(model, params, x)
    batch = as_batch(x)
    if temperature is not None:
        first = batch[0]
        _require_relaxable(jax.eval_shape(given(model, first.c).posterior, params, first.x))
    if surrogate is not None:
        first = batch[0]
        _require_surrogates(jax.eval_shape(given(model, first.c).posterior, params, first.x))
    generative_params = params if theta else jax.lax.stop_gradient(params)
    is_changed = temperature is not None or surrogate is not None

    if summed:
        if model.summed is None or path is not True or not score or is_changed:
            raise TypeError(
                "summed=True is for models that can sum over their discrete latents, with all "
                "routes of gradients open."
            )
        return _draw_summed(model, params, generative_params, batch, noise_keys)

    are_open = theta and path is True and score and not is_changed
    if model.joint is not None and are_open and dropout_keys is None and left_out is None:
        return _draw_jointly(model, params, batch, noise_keys)

    # Distributions are made inside the functions that are vmapped. Parameters that they hold, such
    # as the weights of a flow, are not copied for each example or sample.
    def sample(one, dropout_key, stored, key, path):
        posterior = _posterior(given(model, one.c), params, one.x, dropout_key)
        density = posterior if score else jax.lax.stop_gradient(posterior)
        layers = layer_kl = None
        if path is True and score and not is_changed:
            if isinstance(posterior, Chain):
                z, log_posterior, layers = posterior.sample_with_layers(key)
            else:
                z, log_posterior = posterior.sample_and_log_prob(key)
        else:
            if surrogate is not None:
                z = cast(Any, posterior).surrogate_sample(key, surrogate)
            elif temperature is not None:
                z = cast(Any, posterior).relaxed_sample(key, temperature)
            else:
                z = posterior.sample(key)
            z = _through(z, path)
            log_posterior = density.log_prob(z)
        if isinstance(posterior, Chain):
            layer_kl = kl_by_layer(posterior, prior_of(one.c, stored), z, layers)
        return z, log_posterior, layer_kl, posterior

    def log_likelihood_of(z, one):
        return given(model, one.c).likelihood(generative_params, z).log_prob(one.x)

    def prior_of(c, stored):
        return _prior(given(model, c), generative_params, stored)

    path_axis = None if isinstance(path, bool) else 0
    over_batch = jax.vmap(sample, (0, 0, 0, 0, path_axis))
    over_both = jax.vmap(over_batch, (None, None, None, 0, path_axis), out_axes=(0, 0, 0, None))
    z, log_posterior, layer_kl, posterior = over_both(
        batch, dropout_keys, left_out, noise_keys, path
    )
    c = batch.c if left_out is None else (batch.c, left_out)
    prior = prior_of(None, None) if c is None else jax.vmap(prior_of)(batch.c, left_out)
    _require_one_kind(posterior, prior)
    log_likelihood = _over_samples_and_batch(log_likelihood_of, z, batch)
    if c is None:
        log_prior = jax.vmap(jax.vmap(prior.log_prob))(z)
    else:
        of_batch = jax.vmap(lambda z, c, stored: prior_of(c, stored).log_prob(z))
        log_prior = jax.vmap(of_batch, (0, None, None))(z, batch.c, left_out)
    return Draw(z, log_likelihood, log_prior, log_posterior, posterior, prior, c, layer_kl)


def _draw_jointly(model: Model, params: Params, batch: Batch, noise_keys: jax.Array) -> Draw:
    """`draw_batch` with all routes open, for a model whose distributions share a network."""

    def encoded(one):
        return cast(Any, given(model, one.c)).encoder(params, one.x)

    def of_sample(key, inputs):
        outputs, one = inputs
        found = cast(Any, given(model, one.c)).joint(params, outputs, key)
        log_likelihood = found.likelihood.log_prob(one.x)
        return found.z, log_likelihood, found.log_prior, found.log_posterior, found.layer_kl

    outputs = jax.vmap(encoded)(batch)
    terms = _over_samples_and_batch(of_sample, noise_keys, (outputs, batch))
    # Under jit they cost nothing where nobody uses them.
    posterior = jax.vmap(lambda outputs: cast(Any, model).posterior_of(params, outputs))(outputs)
    z, log_likelihood, log_prior, log_posterior, layer_kl = terms
    prior = model.prior(params)
    return Draw(z, log_likelihood, log_prior, log_posterior, posterior, prior, None, layer_kl)


def _draw_summed(
    model: Model, params: Params, generative_params: Params, batch: Batch, noise_keys: jax.Array
) -> Draw:
    """`draw_batch` with discrete latents summed over."""

    def of_sample(key, one):
        return tuple(cast(Any, given(model, one.c)).summed(params, generative_params, one.x, key))

    def posterior_of(one):
        return given(model, one.c).posterior(params, one.x)

    terms = _over_samples_and_batch(of_sample, noise_keys, batch)
    z, log_likelihood, log_prior, log_posterior, layer_kl = terms
    # Under jit it costs nothing where nobody uses it.
    posterior, prior = jax.vmap(posterior_of)(batch), model.prior(params)
    return Draw(z, log_likelihood, log_prior, log_posterior, posterior, prior, None, layer_kl)


def _posterior(model: Model, params: Params, x: Any, dropout_key: jax.Array | None) -> Distribution:
    """q(z|x) of one example, some units of whose encoder are dropped if there is a key for it."""
    if dropout_key is None:
        return model.posterior(params, x)
    if model.posterior_with_dropout is None:
        raise TypeError("dropout_keys are given, but this model has no dropout.")
    return model.posterior_with_dropout(dropout_key, params, x)


def _prior(model: Model, params: Params, stored: Any) -> Distribution:
    """p(z), from which a stored example is left out if there is one."""
    if stored is None:
        return model.prior(params)
    if model.prior_without is None:
        raise TypeError("left_out is given, but the prior of this model holds no examples.")
    return model.prior_without(params, stored)


def _require_one_kind(posterior: Distribution, prior: Distribution) -> None:
    """Raises a TypeError for a continuous and a discrete family, whose samples are not comparable.

    Families that state no closed form of a KL divergence are taken as they are.
    """
    families = (posterior, prior)
    if all(hasattr(family, "kl_per_dim") for family in families) and (
        posterior.is_reparameterised != prior.is_reparameterised
    ):
        raise TypeError(
            f"The posterior is a {type(posterior).__name__} and the prior a "
            f"{type(prior).__name__}: one is discrete and the other is not."
        )


def _require_relaxable(posterior: Distribution) -> None:
    if not hasattr(posterior, "relaxed_sample"):
        raise TypeError(
            f"A {type(posterior).__name__} posterior is not discrete: it needs no relaxed samples."
        )


def _require_surrogates(posterior: Distribution) -> None:
    if not hasattr(posterior, "surrogate_sample"):
        raise TypeError(
            f"A {type(posterior).__name__} posterior is not discrete: its samples have a gradient "
            "of their own."
        )


def _over_samples_and_batch(function: Callable[[Any, Any], Any], z: Any, batch: Any) -> Any:
    """Applies `function` to every z [K, B, ...] and its example, as ONE vmap of K * B.

    The gradient of a product that is vmapped twice sums over two axes. For such a sum XLA copies
    and transposes its operands. Returns the values, leaves [K, B, ...].
    """
    sizes = jax.tree.leaves(z)[0].shape[:2]
    merged = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), z)

    def tile(leaf):
        return jnp.broadcast_to(leaf, (sizes[0], *leaf.shape)).reshape(-1, *leaf.shape[1:])

    values = jax.vmap(function)(merged, jax.tree.map(tile, batch))
    return jax.tree.map(lambda leaf: leaf.reshape(*sizes, *leaf.shape[1:]), values)


def _through(z: Any, path: bool | jax.Array) -> Any:
    if isinstance(path, bool):
        return z if path else jax.lax.stop_gradient(z)
    return _scale_gradient(z, path)


@jax.custom_jvp
def _scale_gradient(z: Any, scale: jax.Array) -> Any:
    """Returns z. Its gradient is multiplied by scale, []."""
    del scale
    return z


@_scale_gradient.defjvp
def _scale_gradient_jvp(primals, tangents):
    (z, scale), (z_tangent, _) = primals, tangents
    return z, jax.tree.map(lambda tangent: scale * tangent, z_tangent)
