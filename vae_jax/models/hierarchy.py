"""VAEs with several layers of latent variables, whose layers have networks of their own."""

import functools
from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from vae_jax.distributions import Chain, Distribution, Normal, VonMisesFisher, value_of
from vae_jax.errors import BadInputError
from vae_jax.models.base import Model
from vae_jax.models.checks import require_layers, require_shape_of_one
from vae_jax.models.conditions import CONDITION_IN, condition_of
from vae_jax.models.heads import Head, bernoulli
from vae_jax.models.latents import Latents, normal
from vae_jax.models.partial import partly_observed, reader_of
from vae_jax.models.priors import Prior, fixed
from vae_jax.networks import Architecture, Network, Params, mlp

INFERENCES = ("bottom_up", "top_down", "independent")
_SMALL = 0.1  # factor of the kernels of outputs at the start


def hierarchy(
    event_shape: tuple[int, ...],
    latent_dims: Sequence[int],
    *,
    inference: str = "bottom_up",
    encoder: Architecture | None = None,
    decoder: Architecture | None = None,
    between: Architecture | None = None,
    likelihood: Head | None = None,
    latents: Latents | None = None,
    prior: Prior | None = None,
    skip: bool = False,
    num_features: int = 300,
    condition_shape: tuple[int, ...] | None = None,
    condition_in: Collection[str] = CONDITION_IN,
    condition_optional: bool = False,
    size_factors: bool = False,
    encoder_inputs: Callable[[Any], jax.Array] | None = None,
    missing: bool = False,
) -> Model:
    """A VAE with layers z_1, ..., z_L: p(z) = p(z_L) p(z_{L-1}|z_L) ... p(z_1|z_2), x ~ p(x|z_1).

    The latents are the tuple (z_1, ..., z_L), from the layer next to x to the top. q(z|x) is one of

    - "bottom_up": q(z_1|x) q(z_2|z_1) ... q(z_L|z_{L-1}) (Burda et al. 2016, section 2);
    - "top_down": the ladder VAE (Sønderby et al. 2016, eq. 10 to 17). Networks from x upwards give
      each layer a normal distribution, and q(z_l|z_{l+1}, x) is its product with p(z_l|z_{l+1}),
      normalised: their mean weighted by precisions;
    - "independent": q(z_L|x) q(z_{L-1}|x, z_L) ... q(z_1|x, z_2), each by a network of x and the
      layer above (Tomczak & Welling 2018, section 4).

    Args:
      event_shape: shape of one example x.
      latent_dims: number of latent variables of each layer, z_1 first, at least two layers.
      inference: "bottom_up", "top_down" or "independent".
      encoder: architecture of the networks that take x; None for `networks.mlp()`.
      decoder: architecture of p(x|z_1); None likewise.
      between: architecture of the networks from layer to layer; None likewise.
      likelihood: head of p(x|z_1); None for `heads.bernoulli()`.
      latents: family of each layer; None for `latents.normal()`.
      prior: p(z_L), which may call q(z_L|x) except with "bottom_up"; None for the usual one.
      skip: whether the decoder sees all layers, p(x|z_1, ..., z_L), as in Tomczak & Welling.
      num_features: number of features that the networks of "top_down" give the next one.
      condition_shape: shape of the condition c, which all networks take; None for none.
      condition_in: parts that take the condition, as of `vae`; the networks of p(z_l|z_{l+1}) are
        of the prior.
      condition_optional: the same as for `vae`.
      size_factors: whether the means of the likelihood, which must be one of counts, are multiplied
        by a size factor; c is then a `models.Sized`.
      encoder_inputs: function of x whose values the encoder takes; None for x itself.
      missing: whether examples are `Observed` ones, as of `vae`.

    Returns:
      A `Model` whose latents are a tuple. Its posterior and its prior are each a
      `distributions.Chain`.

    Raises:
      ValueError: there are fewer than two layers, a size is not positive, or the inference is
        unknown, or the latents lie on spheres; or (when called) the layers of "top_down" are not
        normal.
    """
    dims = tuple(latent_dims)
    if len(dims) < 2 or min(dims) < 1 or num_features < 1:
        raise ValueError(
            "A hierarchy needs at least two layers of positive sizes and positive num_features, "
            f"not latent_dims={dims} and num_features={num_features}."
        )
    if inference not in INFERENCES:
        raise ValueError(f"inference={inference!r} is unknown; it is one of {INFERENCES}.")
    event_shape, num_layers = tuple(event_shape), len(dims)
    head, family = likelihood or bernoulli(), latents or normal()
    head = partly_observed(head) if missing else head
    reader = reader_of(event_shape, encoder_inputs, missing)
    layer_head = family.layer or family.posterior
    usual = [family.prior(dim) for dim in dims]
    if isinstance(usual[0], VonMisesFisher):
        raise ValueError("A hierarchy has no latents on spheres.")
    shapes = [of_layer.event_shape for of_layer in usual]
    chosen_prior = prior or fixed(lambda: usual[-1])
    condition = condition_of(condition_shape, size_factors, condition_in, condition_optional)
    second = condition.shapes("encoder")
    of_x, of_z, of_code = encoder or mlp(), between or mlp(), decoder or mlp()

    outputs_of_q = [family.posterior.output_shape(shape) for shape in shapes]
    down = [
        of_z(shapes[layer + 1], layer_head.output_shape(shapes[layer]), *condition.shapes("prior"))
        for layer in range(num_layers - 1)
    ]
    others = tuple(shapes[1:]) if skip else ()
    decode = of_code(
        shapes[0], head.output_shape(event_shape), *others, *condition.shapes("decoder")
    )
    # name -> networks of q(z|x)
    inferring: dict[str, list[Network]]
    if inference == "bottom_up":
        first = of_x(reader.shape, outputs_of_q[0], *second)
        pairs = zip(shapes, outputs_of_q[1:], strict=False)
        inferring = {"up": [first, *(of_z(shape, outputs, *second) for shape, outputs in pairs)]}
    elif inference == "top_down":
        features = (num_features,)
        inferring = {
            "up": [
                of_x(reader.shape, features, *second),
                *(of_z(features, features, *second) for _ in dims[1:]),
            ],
            "readout": [mlp(())(features, outputs) for outputs in outputs_of_q],
        }
    else:
        inferring = {
            "up": [
                of_x(reader.shape, outputs, *([] if above is None else [above]), *second)
                for outputs, above in zip(outputs_of_q, [*shapes[1:], None], strict=True)
            ]
        }

    def init(key, x):
        x = value_of(x)
        require_shape_of_one("x", "example", x, event_shape)
        keys = jax.random.split(key, 5)
        likelihood_params, output_bias = head.init(keys[0], x)

        def of_heads(key, of_head):
            each = jax.random.split(key, num_layers)
            zeros = (jnp.zeros(shape) for shape in shapes)
            return [of_head.init(*pair)[0] for pair in zip(each, zeros, strict=True)]

        def of_networks(key, networks):
            each = jax.random.split(key, len(networks))
            initialised = (net.init(key, 0.0) for net, key in zip(networks, each, strict=True))
            return [with_small_outputs(params) for params in initialised]

        network_keys = jax.random.split(keys[1], len(inferring) + 2)
        return {
            "encoder": {
                name: of_networks(network_keys[index], networks)
                for index, (name, networks) in enumerate(inferring.items())
            },
            "posterior": of_heads(keys[2], family.posterior),
            "prior": chosen_prior.init(keys[3], x),
            "layers": {
                "networks": of_networks(network_keys[-2], down),
                "heads": of_heads(keys[4], layer_head)[:-1],
            },
            "decoder": decode.init(network_keys[-1], output_bias),
            "likelihood": likelihood_params,
        }

    def q_of(params, layer: int, outputs) -> Distribution:
        return family.posterior.apply(params["posterior"][layer], outputs, shapes[layer])

    def layer_of(params, layer: int, above, inputs) -> Distribution:
        """p(z_l | z_{l+1})."""
        outputs = down[layer].apply(params["layers"]["networks"][layer], above, *inputs)
        return layer_head.apply(params["layers"]["heads"][layer], outputs, shapes[layer])

    def read(x, c):
        return reader.read(x), condition.inputs("encoder", c)

    def up_of(params, layer: int, *inputs):
        return inferring["up"][layer].apply(params["encoder"]["up"][layer], *inputs)

    # A carry is (params, what q(z|x) knows beside the variables).
    def next_up(layer: int, carry, z):
        params, inputs = carry
        return carry, q_of(params, layer, up_of(params, layer, z, *inputs))

    def next_independent(layer: int, carry, above):
        params, (x, inputs) = carry
        return carry, q_of(params, layer, up_of(params, layer, x, above, *inputs))

    def next_down(layer: int, carry, above):
        params, inputs = carry
        return carry, layer_of(params, layer, above, inputs)

    def next_ladder(layer: int, carry, above):
        params, (found, inputs) = carry
        return carry, _product(found[layer], layer_of(params, layer, above, inputs))

    upwards = tuple(range(num_layers))
    downwards = upwards[::-1]

    def steps(then, order):
        return tuple(Partial(functools.partial(then, layer)) for layer in order[1:])

    steps_of_prior = steps(next_down, downwards)
    steps_of_posterior = {
        "bottom_up": steps(next_up, upwards),
        "top_down": steps(next_ladder, downwards),
        "independent": steps(next_independent, downwards),
    }[inference]

    def top_of(params, x, inputs) -> tuple[Distribution, Any]:
        """q(z_L|x), and what the layers below it know of x."""
        if inference == "independent":
            return q_of(params, num_layers - 1, up_of(params, num_layers - 1, x, *inputs)), x
        found, features = [], x
        for layer in range(num_layers):
            features = up_of(params, layer, features, *inputs)
            readout = inferring["readout"][layer]
            outputs = readout.apply(params["encoder"]["readout"][layer], features)
            found.append(q_of(params, layer, outputs))
        return found[-1], tuple(found)

    def posterior_of(params, x, c=None):
        x, inputs = read(x, c)
        if inference == "bottom_up":
            first = q_of(params, 0, up_of(params, 0, x, *inputs))
            carry, order = (params, inputs), upwards
        else:
            first, known = top_of(params, x, inputs)
            if inference == "top_down":  # which goes through the layers of the prior, too
                inputs = condition.inputs("prior", c)
            carry, order = (params, (known, inputs)), downwards
        return Chain(first, carry, steps_of_posterior, order, first.is_reparameterised)

    def prior_with(apply, params, c, *examples):
        inputs = condition.inputs("prior", c)

        def encode(x):
            if inference == "bottom_up":
                raise BadInputError(
                    "This prior calls q(z_L|x), which inference=bottom_up has only given the "
                    "layers below: use inference=top_down or independent."
                )
            return top_of(params, *read(x, c))[0]

        top = apply(params["prior"], encode, inputs[0] if inputs else None, *examples)
        of_layers: Any = usual[0]
        is_continuous = of_layers.is_reparameterised
        return Chain(top, (params, inputs), steps_of_prior, downwards, is_continuous)

    def prior_of(params, c=None):
        return prior_with(chosen_prior.apply, params, c)

    def prior_without(params, x, c=None):
        return prior_with(chosen_prior.apply_without, params, c, x)

    def likelihood_of(params, z, c=None):
        require_layers(z, shapes)
        inputs, size = condition.inputs("decoder", c), condition.size(c)
        seen = z if skip else z[:1]
        outputs = decode.apply(params["decoder"], *seen, *inputs)
        distribution: Any = head.apply(params["likelihood"], outputs, event_shape)
        return distribution if size is None else distribution.scaled(size)

    return Model(
        init=init,
        posterior=posterior_of,
        prior=prior_of,
        likelihood=likelihood_of,
        prior_without=chosen_prior.apply_without and prior_without,
    )


def with_small_outputs(params: Params) -> Params:
    """Parameters of a network with a last layer "output", whose kernel is made small.

    Every layer then starts near the standard distribution of its family, whatever is above it. At
    their usual size the log standard deviations of one layer are the scale of the inputs of the
    next, and the first bound is below -1e10 nats.
    """
    output = params.get("output") if isinstance(params, dict) else None
    if output is None:
        return params
    return {**params, "output": {**output, "kernel": _SMALL * output["kernel"]}}


def _product(q: Distribution, p: Distribution) -> Normal:
    """The product of two diagonal normal densities, normalised (Sønderby et al. 2016, eq. 15 and
    16)."""
    if not isinstance(q, Normal) or not isinstance(p, Normal):
        raise ValueError("inference=top_down multiplies normal densities: use latents.normal().")
    weight = jax.nn.sigmoid(2.0 * (p.log_std - q.log_std))  # the share of q in the precision
    mean = weight * q.mean + (1.0 - weight) * p.mean
    return Normal(mean, -0.5 * jnp.logaddexp(-2.0 * q.log_std, -2.0 * p.log_std))
