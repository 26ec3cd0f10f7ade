"""The gap between log p(x) and the ELBO, split into its two causes.

    log p(x) - ELBO(q)  =  [log p(x) - ELBO(q*)]  +  [ELBO(q*) - ELBO(q)]
    inference gap          approximation gap         amortisation gap

q* is the best posterior for one example in the family of q(z|x). The approximation gap is the loss
by the family; the amortisation gap is the loss by using one encoder for all examples (Cremer et al.
2018).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import Partial

from vae_jax import models
from vae_jax.distributions import Annealed, Chain, Distribution, Normal
from vae_jax.distributions.flows import Flow
from vae_jax.evidence import chunks
from vae_jax.models import Model, Params


def elbo_of(
    model: Model, params: Params, x: Any, q: Distribution, key: jax.Array, num_samples: int
) -> jax.Array:
    """The ELBO of ONE example with any posterior q, [] nats.

    It is `models.elbo_of`, and the number of samples that are decoded together depends on the
    memory (`evidence.chunks`).

    model: the VAE; `models.given(model, c)` for a conditional one. x: [*event]. key: typed PRNG key
    for `num_samples` samples of q.
    """
    most = chunks.decodings_at_once(model, params)

    def mapped(term, keys):
        return chunks.map_in_chunks(term, keys, most)

    return models.elbo_of(model, params, x, q, jax.random.split(key, num_samples), mapped)


def best_posterior(
    model: Model,
    params: Params,
    x: Any,
    key: jax.Array,
    *,
    num_steps: int = 1000,
    num_samples: int = 8,
    learning_rate: float = 0.03,
) -> Distribution:
    """q*, the posterior of the family of q(z|x) with the highest ELBO of ONE example.

    What the encoder gives for the example is optimised, and nothing that examples share: the
    networks of a flow stay as they are. An annealed posterior keeps its chain, and its start is
    optimised. The layers of a hierarchy keep their networks, and constants that are added to what
    these say are optimised. The other arguments are those of `best_normal`, which is used for a
    model that has no `encoder`.

    Raises:
      TypeError: the model has no `encoder`, and its posterior is not normal; or a layer of a
        hierarchy is a flow.
    """
    if model.encoder is None or model.posterior_of is None:
        start: Any = model.posterior(params, x)
        if isinstance(start, Annealed | Chain):
            best: Any = _best_start if isinstance(start, Annealed) else _best_layers
            return best(model, params, x, start, key, num_steps, num_samples, learning_rate)
        options = {"num_steps": num_steps, "num_samples": num_samples}
        return best_normal(model, params, x, start, key, learning_rate=learning_rate, **options)
    posterior_of = model.posterior_of

    def loss(outputs, key):
        return -elbo_of(model, params, x, posterior_of(params, outputs), key, num_samples)

    found = _lowest(loss, model.encoder(params, x), key, num_steps, learning_rate)
    return posterior_of(params, found)


def _best_start(
    model: Model,
    params: Params,
    x: Any,
    chain: Annealed,
    key: jax.Array,
    num_steps: int,
    num_samples: int,
    learning_rate: float,
) -> Annealed:
    """The annealed posterior with the best start for ONE example; its chain stays as it is."""

    def loss(start, key):
        q = dataclasses.replace(chain, start=start)
        return -elbo_of(model, params, x, q, key, num_samples)

    best = _lowest(loss, chain.start, key, num_steps, learning_rate)
    return dataclasses.replace(chain, start=best)


def _best_layers(
    model: Model,
    params: Params,
    x: Any,
    chain: Chain,
    key: jax.Array,
    num_steps: int,
    num_samples: int,
    learning_rate: float,
) -> Chain:
    """The hierarchy whose layers have the best shifts of their parameters for ONE example."""
    layers = chain.at_centre().of_each
    if any(isinstance(layer, Flow) for layer in layers):
        raise TypeError("The best posterior of a hierarchy is not known for layers that are flows.")

    def loss(shifts, key):
        return -elbo_of(model, params, x, _shifted(chain, shifts), key, num_samples)

    zeros = jax.tree.map(jnp.zeros_like, layers)
    return _shifted(chain, _lowest(loss, zeros, key, num_steps, learning_rate))


def _shifted(chain: Chain, shifts: tuple[Any, ...]) -> Any:
    """The chain with constants added to the arrays of its layers. shifts: by place in the event."""
    steps = zip(chain.then, chain.order[1:], strict=True)
    then = tuple(Partial(_then_shifted, step, shifts[place]) for step, place in steps)
    first = jax.tree.map(jnp.add, chain.first, shifts[chain.order[0]])
    return dataclasses.replace(chain, first=first, then=then)


def _then_shifted(then: Any, shift: Any, carry: Any, z: Any) -> Any:
    carry, distribution = then(carry, z)
    return carry, jax.tree.map(jnp.add, distribution, shift)


def best_normal(
    model: Model,
    params: Params,
    x: Any,
    start: Normal,
    key: jax.Array,
    *,
    num_steps: int = 1000,
    num_samples: int = 8,
    learning_rate: float = 0.03,
) -> Normal:
    """q*, the diagonal normal with the highest ELBO of ONE example, by gradient ascent.

    The optimiser is Adam on mean and log_std, with pathwise gradients from new samples in every
    step. The learning rate falls to zero along a cosine, so that the noise averages out. Under
    `jax.vmap`, examples are optimised side by side.

    Args:
      model: the VAE, with a normal posterior; `models.given(model, c)` for a conditional one.
      params: parameters of the model, which do not change.
      x: [*event], the example.
      start: first q, usually q(z|x).
      key: typed PRNG key.
      num_steps: number of steps of Adam.
      num_samples: number of samples of q in each step.
      learning_rate: learning rate at the beginning.

    Raises:
      TypeError: `start` is not normal.
    """
    if not isinstance(start, Normal):
        raise TypeError(
            f"The best posterior is looked for among normal ones, and {type(start).__name__} is "
            "none: for discrete latents the exact posterior can be enumerated."
        )

    def loss(q, key):
        return -elbo_of(model, params, x, q, key, num_samples)

    return _lowest(loss, start, key, num_steps, learning_rate)


def _lowest(
    loss: Callable[[Any, jax.Array], jax.Array],
    start: Any,
    key: jax.Array,
    num_steps: int,
    learning_rate: float,
) -> Any:
    """The argument at which a loss (argument, key) is lowest on average over keys, by Adam."""
    optimiser = optax.adam(optax.cosine_decay_schedule(learning_rate, num_steps))

    def step(state, step_key):
        at, optimiser_state = state
        gradient = jax.grad(loss)(at, step_key)
        updates, optimiser_state = optimiser.update(gradient, optimiser_state)
        return (optax.apply_updates(at, updates), optimiser_state), None

    keys = jax.random.split(key, num_steps)
    (found, _), _ = jax.lax.scan(step, (start, optimiser.init(start)), keys)
    return found
