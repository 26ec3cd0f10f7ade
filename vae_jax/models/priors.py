"""Priors p(z), which may have parameters and may call the encoder."""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp

from vae_jax.distributions import (
    AutoregressiveBernoulli,
    AutoregressiveCategorical,
    Bernoulli,
    Categorical,
    Distribution,
    HasMean,
    Indices,
    Mixture,
    Normal,
    NormalMixture,
    Raster,
    UniformIndices,
)
from vae_jax.distributions.flows import Flow, Inverse, init_conditioner, masks_of
from vae_jax.errors import BadInputError
from vae_jax.models.flows import FlowFamily
from vae_jax.models.heads import Head
from vae_jax.networks import Architecture, CausalArchitecture, Params, Shape, Values, mlp

Encode = Callable[[jax.Array], Distribution]  # x [*event] -> q(z|x), with the model's parameters

_SPREAD = 0.1  # of the means of a mixture at the start


class Prior(NamedTuple):
    """A family of priors.

    Attributes:
      init: (key, x) -> params. x: [*event], an example; see `Model.init`.
      apply: (params, encode, c) -> p(z|c), where c is the condition that the networks of the model
        take, and None without one. A prior may call `encode`, the encoder of the same model with
        the same c, as a VampPrior does (Tomczak & Welling 2018).
      apply_without: (params, encode, c, x) -> p(z|c) without the example x, as it is stored, for
        training; None of a prior that holds no examples.
    """

    init: Callable[[jax.Array, jax.Array], Params]
    apply: Callable[[Params, Encode, Any], Distribution]
    apply_without: Callable[[Params, Encode, Any, jax.Array], Distribution] | None = None


def fixed(distribution: Callable[[], Any]) -> Prior:
    """A prior without parameters. distribution: function that makes it."""
    return Prior(init=lambda key, x: {}, apply=lambda params, encode, c: distribution())


def mixture(latent_dim: int, num_components: int = 10, *, condition_size: int = 0) -> Prior:
    """A learned mixture of diagonal normal distributions (Tomczak & Welling 2018, section 2).

    With a condition, an affine map of it is added to logits, means and log standard deviations.

    Args:
      latent_dim: L.
      num_components: C.
      condition_size: number of values of the condition; 0 for none.

    Raises:
      ValueError: `num_components` is not positive.
    """
    _require_positive(num_components=num_components)
    size = num_components * (1 + 2 * latent_dim)

    def init(key, x):
        del x
        # Together close to N(0, I), the usual prior: in many dimensions components that are apart
        # leave most of the codes between them.
        means = _SPREAD * jax.random.normal(key, (num_components, latent_dim))
        flat = jnp.concatenate([jnp.zeros(num_components), means.ravel(), jnp.zeros(means.size)])
        of_condition = {"of_condition": jnp.zeros((condition_size, size))}
        return {"components": flat, **(of_condition if condition_size else {})}

    def apply(params, encode, c):
        del encode
        flat = params["components"]
        if condition_size:
            flat = flat + jnp.ravel(c) @ params["of_condition"]
        logits, both = jnp.split(flat, [num_components])
        mean, log_std = both.reshape(2, num_components, latent_dim)
        return NormalMixture(logits, Normal(mean, log_std))

    return Prior(init, apply)


def conditional(
    head: Head, event_shape: Shape, condition_shape: Shape, network: Architecture | None = None
) -> Prior:
    """p(z|c), whose parameters a network of the condition c gives (Sohn et al. 2015, section 4.1).

    It starts at the distribution of all outputs zero, such as N(0, I) of a diagonal normal.

    Args:
      head: the family, such as `heads.diagonal_normal()`.
      event_shape: shape of z, such as (40,).
      condition_shape: shape of c.
      network: architecture of the network; None for an affine function.
    """
    of_c = (network or mlp(()))(condition_shape, head.output_shape(event_shape))

    def init(key, x):
        del x
        keys = jax.random.split(key)
        params = of_c.init(keys[0], 0.0)
        if "output" in params:
            output = {**params["output"], "kernel": jnp.zeros_like(params["output"]["kernel"])}
            params = {**params, "output": output}
        return {"network": params, "head": head.init(keys[1], jnp.zeros(event_shape))[0]}

    def apply(params, encode, c):
        del encode
        if c is None:
            raise BadInputError("This prior p(z|c) needs a condition c, and there is none.")
        return head.apply(params["head"], of_c.apply(params["network"], c), event_shape)

    return Prior(init, apply)


def vamp(pseudo_inputs: jax.Array, bounds: tuple[float, float] | None = None) -> Prior:
    """The VampPrior: the mean of q(z|u_k) over K learned pseudo-inputs (Tomczak & Welling 2018,
    eq. 9). They are encoded once for a batch.

    Args:
      pseudo_inputs: [K, *event], the pseudo-inputs at the start, such as training examples.
      bounds: smallest and largest value of a pseudo-input, such as those of pixels; None for none.
    """

    def init(key, x):
        del key, x
        return {"pseudo_inputs": jnp.asarray(pseudo_inputs, jnp.float32)}

    def apply(params, encode, c):
        del c  # the encoder has it
        inputs = params["pseudo_inputs"]
        components = jax.vmap(encode)(inputs if bounds is None else jnp.clip(inputs, *bounds))
        return Mixture(jnp.zeros(len(inputs)), components)

    return Prior(init, apply)


def exemplar(
    examples: jax.Array, intensities: Callable[[jax.Array], jax.Array] = lambda stored: stored
) -> Prior:
    """The exemplar prior (Norouzi et al. 2020): the mean of N(mean of q(z|x_n), s^2 I) over
    training examples x_n, with a learned s.

    In training an example that is among the x_n is left out of its own prior (their eq. 10), and so
    are others that are equal to it. The x_n are among the parameters, with a gradient of zero; an
    optimiser must not decay them.

    Args:
      examples: [N, *event], training examples as the encoder takes them.
      intensities: function that makes examples as the encoder takes them of examples as they are
        stored, such as those of 8-bit pixels by a division.
    """

    def init(key, x):
        del key, x
        return {"exemplars": jnp.asarray(examples, jnp.float32), "log_std": jnp.zeros(())}

    def of_logits(params, encode, logits):
        exemplars = jax.lax.stop_gradient(params["exemplars"])
        means = jax.vmap(lambda x: cast(HasMean, encode(x)).mean)(exemplars)
        return Mixture(logits, Normal(means, jnp.full_like(means, params["log_std"])))

    def apply(params, encode, c):
        del c  # the encoder has it
        return of_logits(params, encode, jnp.zeros(len(params["exemplars"])))

    def apply_without(params, encode, c, x):
        del c
        exemplars = params["exemplars"]
        axes = tuple(range(1, exemplars.ndim))
        # The same division may be rounded in another way in another program.
        difference = jnp.abs(exemplars - intensities(x)[None])
        is_x = jnp.all(difference <= 1e-6 * (1.0 + jnp.abs(exemplars)), axis=axes)
        return of_logits(params, encode, jnp.where(is_x, -jnp.inf, 0.0))

    return Prior(init, apply, apply_without)


def flow(latent_dim: int, family: FlowFamily) -> Prior:
    """A flow, whose density at a given z is the fast direction: noise = f_T(... f_1(z)) (Chen et
    al. 2017, section 3.2).

    Samples are made by the inverse, for planar and Sylvester flows numerically.

    Args:
      latent_dim: L.
      family: family of flows whose parameters do not come from an encoder. Those with a context
        take the condition of the model as it.
    """

    def init(key, x):
        del x
        zeros = jnp.zeros(latent_dim)
        return {"shift": zeros, "log_scale": zeros, "flow": family.init(key, latent_dim)}

    def apply(params, encode, c):
        del encode
        context = jnp.zeros(0) if c is None else jnp.ravel(c)
        bijections = family.apply(params["flow"], context, latent_dim)
        turned = tuple(Inverse(bijection) for bijection in bijections[::-1])
        return Flow(params["shift"], params["log_scale"], turned)

    return Prior(init, apply)


def autoregressive(
    event_shape: tuple[int, ...], hidden: tuple[int, ...] = (128,), *, condition_size: int = 0
) -> Prior:
    """A prior of discrete latents, each given those before it, by a masked network (Germain et al.
    2015).

    Args:
      event_shape: (L,) for bits, (L, C) for one-hot vectors of C categories.
      hidden: widths of the network.
      condition_size: number of values of the condition, which the network takes, too; 0 for none.
    """
    length, each = event_shape[0], 1 if len(event_shape) == 1 else event_shape[1]

    def init(key, x):
        del x
        masks = masks_of(length, hidden, each, each)
        widths = (length * each, *hidden, length * each)
        return init_conditioner(key, widths, condition_size, masks)

    def apply(params, encode, c):
        del encode
        context = None if c is None else jnp.ravel(c)
        if len(event_shape) == 1:
            return AutoregressiveBernoulli(params, context)
        return AutoregressiveCategorical(params, context, each)

    return Prior(init, apply)


def causal(usual: Distribution, network: CausalArchitecture, *, condition_size: int = 0) -> Prior:
    """A prior of discrete latents or codes, each given those before it, by a causal network (van
    den Oord et al. 2017, section 3.3), of which samples take one step for each latent.

    It starts at the usual prior.

    Args:
      usual: the usual prior, whose events it is over: bits [L], one-hot vectors [L, C], or indices
        [*grid, Q] of codes on a line or in the plane, where the Q of a place are one after another.
      network: the causal network, such as `networks.pixelcnn()`.
      condition_size: number of values of the condition, which the network takes, too; 0 for none.

    Raises:
      ValueError: the usual prior is of continuous latents.
    """
    family: Callable[[jax.Array], Any]
    are_codes = isinstance(usual, UniformIndices)
    if isinstance(usual, UniformIndices):
        *places, last = usual.event_shape
        grid = (1 if len(places) == 1 else places[0], places[-1] * last)
        size = num_outputs = usual.num_codes
        family = Indices
    elif isinstance(usual, Bernoulli | Categorical):
        grid = (1, usual.event_shape[0])
        size = num_outputs = 1 if len(usual.event_shape) == 1 else usual.event_shape[1]
        family = type(usual)
    else:
        raise ValueError(
            f"A causal prior is for discrete latents, and a {type(usual).__name__} is not."
        )
    context = (condition_size,) if condition_size else None
    of = network(Values(grid, size, are_codes, num_outputs, context))
    partial = jax.tree_util.Partial

    def apply(params, encode, c):
        del encode
        context = None if c is None or not condition_size else jnp.ravel(c)
        shared = (params["network"], context)
        return Raster(
            outputs_of=partial(lambda params, c, values: of.apply(params, values, c), *shared),
            start=partial(of.start, *shared),
            step=partial(lambda params, c, *at: of.step(params, *at), *shared),
            family=partial(family),
            event_shape=tuple(usual.event_shape),
            grid=grid,
            num_outputs=num_outputs,
            dtype="int32" if are_codes else "float32",
        )

    return Prior(lambda key, x: {"network": of.init(key)}, apply)


def _require_positive(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} must be positive, not {number}.")
