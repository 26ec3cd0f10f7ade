"""The very deep VAE: a hierarchy whose layers share one path of residual blocks (Child 2021)."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from vae_jax.distributions import Chain, kl_divergence
from vae_jax.distributions.chain import keys_of_layers
from vae_jax.models.base import Joint, Model
from vae_jax.models.checks import require_layers, require_shape_of_one
from vae_jax.models.heads import Head, bernoulli, diagonal_normal
from vae_jax.networks import Shape, size_problem, top_down

__all__ = ["size_problem", "very_deep"]


def very_deep(
    event_shape: Shape,
    layer_sizes: Sequence[int],
    layer_channels: Sequence[int],
    *,
    likelihood: Head | None = None,
    encoder_inputs: Callable[[jax.Array], jax.Array] | None = None,
    remat: bool = False,
    **networks: Any,
) -> Model:
    """A very deep VAE of images: VDVAE (Child 2021), the ladder VAE with a shared path.

    z_L, ..., z_1 are drawn along one path from the top down. At layer l the path h gives p(z_l|h),
    and with features of x q(z_l|h, x); both are diagonal normal over [h, w, z]. x ~ p(x|h) at the
    end of the path. The latents are the tuple (z_1, ..., z_L), z_1 next to x.

    Args:
      event_shape: shape [H, W, C] of one example.
      layer_sizes: height of each layer, z_1 first; each divides the one before.
      layer_channels: number of latents of each pixel of each layer.
      likelihood: head of p(x|h); None for `heads.bernoulli()`.
      encoder_inputs: function of x whose values the encoder takes; None for x itself.
      remat: whether gradients compute everything inside a layer anew, from the path above it, which
        takes time and saves memory. It matters for neighbouring layers of one size, over which the
        program has a loop.
      **networks: options of `networks.top_down`, such as width, num_blocks and dtype.

    Returns:
      A `Model` whose `joint` goes along the path once.

    Raises:
      ValueError: sizes that do not divide each other, or numbers that are not positive.
    """
    event_shape, head = tuple(event_shape), likelihood or bernoulli()
    if len(event_shape) != 3:
        raise ValueError(f"A very deep VAE is for images [H, W, C], not {event_shape}.")
    output_shape = head.output_shape(event_shape)
    path = top_down(event_shape, output_shape, layer_sizes, layer_channels, **networks)
    num_layers, normal = len(path.shapes), diagonal_normal()
    downwards = tuple(reversed(range(num_layers)))
    # Layers behind which the path changes its size.
    ends_of_stages = {stage[0] for stage in path.stages}

    def init(key, x):
        require_shape_of_one("x", "example", x, event_shape)
        keys = jax.random.split(key)
        likelihood_params, output_bias = head.init(keys[0], x)
        return {**path.init(keys[1], output_bias), "likelihood": likelihood_params}

    def of_layer(layer: int, outputs):
        return normal.apply({}, outputs, path.shapes[layer])

    def descend(params, features, inputs, choose):
        """Goes along the path: a loop over the layers of each stage.

        inputs: leaves [L, ...], or tuples of them, what `choose` takes of each layer.
        choose: (p, q or None, input of the layer) -> (z, what it reports).
        Returns ([*output_shape], what each stage reports, leaves [n, ...], the one next to x first)
        """
        h, reports = path.start(params), list[Any]()
        for stage in reversed(path.stages):

            def one(h, inputs, layer=stage[0]):
                params, chosen = inputs
                h, of_p, of_q = path.open(params, layer, h, features)
                q = None if of_q is None else of_layer(layer, of_q)
                z, report = choose(of_layer(layer, of_p), q, chosen)
                return path.close(params, h, z), report

            step = jax.checkpoint(one, prevent_cse=False) if remat else one
            h, report = jax.lax.scan(
                step, h, (path.of_layers(params, stage), inputs(stage)), reverse=True
            )
            h = path.leave(params, stage[0], h)
            reports.insert(0, report)
        return h, reports

    def then(layer: int, carry, z):
        params, h, features = carry
        above = layer + 1
        h = path.close(of_one(params, above), h, z)
        if above in ends_of_stages:
            h = path.leave(params, above, h)
        return opened(params, layer, h, features)

    def of_one(params, layer: int):
        return jax.tree.map(lambda leaf: leaf[0], path.of_layers(params, range(layer, layer + 1)))

    def opened(params, layer: int, h, features):
        """(carry, q or p): the distribution is q(z_l|h, x) where there are features of x."""
        h, of_p, of_q = path.open(of_one(params, layer), layer, h, features)
        return (params, h, features), of_layer(layer, of_p if of_q is None else of_q)

    steps = tuple(Partial(functools.partial(then, layer)) for layer in downwards[1:])

    def chain(params, features):
        carry, top = opened(params, num_layers - 1, path.start(params), features)
        return Chain(top, carry, steps, downwards)

    def encoder(params, x):
        require_shape_of_one("x", "example", x, event_shape)
        return path.encode(params, x if encoder_inputs is None else encoder_inputs(x))

    def posterior(params, x):
        return chain(params, encoder(params, x))

    def prior(params):
        return chain(params, None)

    def likelihood_of(params, z):
        require_layers(z, path.shapes)

        def of_stage(stage):
            return jnp.stack([z[layer] for layer in stage])

        outputs, _ = descend(params, None, of_stage, lambda p, q, z: (z, None))
        return head.apply(params["likelihood"], outputs, event_shape)

    def joint(params, features, key):
        keys = keys_of_layers(key, num_layers)

        def of_stage(stage):
            return keys[stage[0] : stage[-1] + 1]

        def choose(p, q, key):
            z, log_q = q.sample_and_log_prob(key)
            return z, (z, log_q, p.log_prob(z), kl_divergence(q, p))

        outputs, reports = descend(params, features, of_stage, choose)
        z = tuple(one for of_stage, *_ in reports for one in of_stage)
        log_q, log_p, kl = (
            jnp.concatenate(terms) for terms in list(zip(*reports, strict=True))[1:]
        )
        likelihood = head.apply(params["likelihood"], outputs, event_shape)
        return Joint(z, likelihood, jnp.sum(log_p), jnp.sum(log_q), kl)

    return Model(
        init,
        posterior,
        prior,
        likelihood_of,
        encoder=encoder,
        posterior_of=chain,
        joint=joint,
    )
