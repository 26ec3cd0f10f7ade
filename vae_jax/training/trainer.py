"""A training step as a pure function of a state."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax

from vae_jax import cpu
from vae_jax.keys import unrolled
from vae_jax.models import Model, draw_batch, dropped, frozen
from vae_jax.models.batch import Batch, as_batch
from vae_jax.objectives import Metrics, Objective
from vae_jax.training.divided import value_and_gradient

Settings = dict[str, jax.Array]  # name -> [], numbers that a sweep varies


class Recipe(NamedTuple):
    """How the parameters are fitted. Its numbers may be arrays."""

    objective: Objective
    optimiser: optax.GradientTransformation
    clip_norm: float | jax.Array | None = None
    average_decay: float | jax.Array = 0.999
    skip_norm: float | jax.Array | None = None


class TrainState(NamedTuple):
    """The state of training. The next step depends on nothing else but its batch."""

    step: jax.Array  # [] int32, steps taken
    key: jax.Array  # [] typed PRNG key of the run; never changes, steps and epochs fold into it
    params: Any
    average_params: Any  # exponential moving average of params, the ones to evaluate
    optimiser_state: Any
    objective_state: Any
    settings: Settings  # never change


class InitFn(Protocol):
    """The function that makes the first state."""

    def __call__(
        self, key: jax.Array, x: jax.Array | Batch, settings: Mapping[str, Any] = ...
    ) -> TrainState:
        """Returns the state before the first step.

        Args:
          key: typed PRNG key of the run.
          x: [*event], an example, such as the mean of the training examples; see `Model.init`. A
            `Batch` without the axis N if it has a condition, of which only the shapes matter.
          settings: name -> number, the settings that the recipe of `make_swept_trainer` reads.
        """


class StepFn(Protocol):
    """The function that takes one training step."""

    def __call__(
        self,
        state: TrainState,
        pixels: jax.Array | Batch,
        sharding: jax.sharding.NamedSharding | None = None,
    ) -> tuple[TrainState, Metrics]:
        """Takes one step.

        Args:
          state: the state before the step.
          pixels: [B, *event] as stored, or a `Batch` of them.
          sharding: sharding over the devices that share the batch; None if there is one device.

        Returns:
          (state, metrics). metrics: name -> [], those of the objective (nats), "loss",
          "gradient_norm" (before clipping), and with a `skip_norm` "skipped", 1 or 0.
        """


class Trainer(NamedTuple):
    """Training as two pure functions."""

    init: InitFn
    step: StepFn


def make_trainer(
    model: Model,
    objective: Objective,
    optimiser: optax.GradientTransformation,
    *,
    num_samples: int = 1,
    clip_norm: float | None = None,
    average_decay: float = 0.999,
    skip_norm: float | None = None,
    binarise: Callable[[jax.Array, jax.Array], jax.Array] = lambda key, pixels: pixels,
) -> Trainer:
    """Training of a VAE by stochastic gradients.

    Args:
      model: the VAE.
      objective: objective, whose loss is minimised.
      optimiser: any optax optimiser of the parameters.
      num_samples: K, posterior samples per example.
      clip_norm: largest norm of a gradient, over all parameters; a longer gradient is scaled down
        to it. None for no clipping.
      average_decay: decay per step of the exponential moving average of the parameters, in
        [0, 1). In the first steps it is (1 + step) / (10 + step) if that is smaller, so that the
        average forgets the initial parameters.
      skip_norm: norm of a gradient before clipping beyond which its step changes neither the
        parameters nor their average nor the state of the optimiser (Child 2021, section 4.1). A
        gradient that is not a number is no longer gradient, and ends training as ever. None to skip
        no step.
      binarise: (key, pixels [B, *event]) -> x [B, *event], called anew in every step, such as
        `data.dynamic`. The default is the identity.

    Raises:
      ValueError: `num_samples` < 1, `clip_norm` or `skip_norm` not positive or `average_decay`
        outside [0, 1).
    """
    for name, value in (("clip_norm", clip_norm), ("skip_norm", skip_norm)):
        if value is not None and not value > 0:
            raise ValueError(f"{name} must be positive or None, not {value}.")
    if not 0 <= average_decay < 1:
        raise ValueError(f"average_decay must lie in [0, 1), not {average_decay}.")
    recipe = Recipe(objective, optimiser, clip_norm, average_decay, skip_norm)
    return make_swept_trainer(
        model, lambda settings: recipe, num_samples=num_samples, binarise=binarise
    )


def make_swept_trainer(
    model: Model,
    recipe: Callable[[Settings], Recipe],
    *,
    num_samples: int = 1,
    binarise: Callable[[jax.Array, jax.Array], jax.Array] = lambda key, pixels: pixels,
    trained: tuple[str, ...] | None = None,
    condition_dropout: float = 0.0,
) -> Trainer:
    """Training whose numbers, such as the learning rate, are settings in its state.

    One compiled step then serves all values of the settings, and a sweep maps it over states.

    Args:
      model: the VAE.
      recipe: settings -> `Recipe`. The settings are arrays, so that it cannot check their values.
      num_samples: the same as for `make_trainer`.
      binarise: the same as for `make_trainer`.
      trained: names of the parameters that are trained, such as ("prior",); None for all.
      condition_dropout: probability with which the condition of an example is replaced by none
        (`models.dropped`), for a model whose condition is optional.

    Raises:
      ValueError: `num_samples` < 1.
    """
    if num_samples < 1:
        raise ValueError(f"num_samples must be at least 1, not {num_samples}.")
    if trained is not None:
        model = frozen.trained_alone(model, trained)

    def init(key, x, settings=MappingProxyType({})):
        settings = dict(settings)
        chosen = recipe(settings)
        init_key, run_key, objective_key = jax.random.split(key, 3)
        one = as_batch(x)
        params = model.init(init_key, one.x)
        batch = jax.tree.map(lambda leaf: leaf[None], one)
        shapes = jax.eval_shape(lambda: draw_batch(model, params, batch, run_key[None, None]))
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            key=run_key,
            params=params,
            # A copy: an epoch donates its state, and a buffer can be donated only once.
            average_params=jax.tree.map(jnp.copy, params),
            optimiser_state=chosen.optimiser.init(params),
            objective_state=chosen.objective.init(objective_key, shapes),
            settings=settings,
        )

    def step(state, pixels, sharding=None):
        objective, optimiser, clip_norm, average_decay, skip_norm = recipe(state.settings)
        step_key = _step_key(state)
        binarise_key, noise_key, objective_key = jax.random.split(step_key, 3)
        batch = as_batch(pixels)
        c = batch.c
        if condition_dropout > 0.0:
            c = dropped(jax.random.fold_in(step_key, 4), c, condition_dropout)
        batch = Batch(binarise(binarise_key, batch.x), c)
        noise_keys = jax.random.split(noise_key, (num_samples, len(batch)))
        dropout_keys = None
        if model.posterior_with_dropout is not None:
            dropout_keys = jax.random.split(jax.random.fold_in(step_key, 3), len(batch))

        def loss_of(draw_fn):
            return objective.loss(state.objective_state, state.step, objective_key, draw_fn)

        (loss, (objective_state, metrics)), gradient = value_and_gradient(
            loss_of,
            model,
            state.params,
            batch,
            noise_keys,
            dropout_keys=dropout_keys,
            left_out=None if model.prior_without is None else as_batch(pixels).x,
            sharding=sharding,
        )
        gradient, gradient_norm = _clip(gradient, clip_norm)
        updates, optimiser_state = optimiser.update(gradient, state.optimiser_state, state.params)
        params = optax.apply_updates(state.params, updates)
        if objective.fitted is not None:
            params = objective.fitted(objective_state, params)
        decay = jnp.minimum(average_decay, (1.0 + state.step) / (10.0 + state.step))
        average = optax.incremental_update(params, state.average_params, 1.0 - decay)
        if trained is not None:
            params = frozen.kept(state.params, params, trained)
            average = frozen.kept(state.average_params, average, trained)
        if skip_norm is not None:
            is_skipped = gradient_norm > skip_norm
            (params, average, optimiser_state) = jax.tree.map(
                lambda old, new: jnp.where(is_skipped, old, new),
                (state.params, state.average_params, state.optimiser_state),
                (params, average, optimiser_state),
            )
            metrics = {**metrics, "skipped": is_skipped.astype(jnp.float32)}
        state = TrainState(
            step=state.step + 1,
            key=state.key,
            params=params,
            average_params=average,
            optimiser_state=optimiser_state,
            objective_state=objective_state,
            settings=state.settings,
        )
        return state, {**metrics, "loss": loss, "gradient_norm": gradient_norm}

    return Trainer(init=init, step=step)


def norm(tree: Any) -> jax.Array:
    """The Euclidean norm of all leaves of a pytree together, [].

    It does not overflow where squares of entries do. It is infinite only if the norm exceeds the
    largest number of its type or an entry is infinite, and nan if an entry is nan.
    """
    scale, scaled_norm = _scaled_norm(tree)
    return scaled_norm / scale


def epoch_order_key(state: TrainState, epoch: jax.Array) -> jax.Array:
    """The typed PRNG key for the order of the examples in an epoch."""
    order_key, _ = jax.random.split(state.key)
    return jax.random.fold_in(order_key, epoch)


def _step_key(state: TrainState) -> jax.Array:
    _, step_key = jax.random.split(unrolled(state.key))
    return jax.random.fold_in(step_key, state.step)


def _clip(gradient: Any, clip_norm: float | jax.Array | None) -> tuple[Any, jax.Array]:
    """Scales a gradient down to `clip_norm` if it is longer. Returns it and its norm before.

    A gradient of finite entries keeps its direction even if its norm overflows. The factor is at
    least the smallest normal number, since XLA flushes smaller ones to zero. Norms beyond 10^38
    `clip_norm` therefore become somewhat larger than `clip_norm`.
    """
    scale, scaled_norm = _scaled_norm(gradient)
    if clip_norm is not None:
        least = jnp.finfo(scaled_norm.dtype).tiny
        factor = jnp.maximum(jnp.minimum(1.0, scale * clip_norm / scaled_norm), least)
        gradient = jax.tree.map(lambda leaf: factor * leaf, gradient)
    return gradient, scaled_norm / scale


def _scaled_norm(tree: Any) -> tuple[jax.Array, jax.Array]:
    """Returns (scale [], the norm of scale * tree []). The scale is 1 unless squares overflow.

    If they do, the scale is a power of two that brings the largest number to 2^32 in float32. Then
    no sum of squares overflows, and no entry that matters underflows. Only then is there a second
    pass over the tree.
    """
    plain = _plain_norm(tree)
    small = 2.0 ** (-3 * jnp.finfo(plain.dtype).maxexp // 4)
    scale = jnp.where(jnp.isfinite(plain), jnp.ones_like(plain), small)

    def norm_of_scaled():
        scaled = jax.tree.map(lambda leaf: small * leaf, tree)
        # XLA would otherwise pull the factor out of the square, and its own square is zero.
        return _plain_norm(jax.lax.optimization_barrier(scaled))

    return scale, jax.lax.cond(jnp.isfinite(plain), lambda: plain, norm_of_scaled)


def _plain_norm(tree: Any) -> jax.Array:
    """The norm, computed from squares that may overflow."""

    def sum_of_squares(leaf):
        rows = jnp.square(leaf).reshape(-1, leaf.shape[-1] if leaf.ndim else 1)
        return jnp.sum(cpu.sum_of(rows))

    return jnp.sqrt(sum(sum_of_squares(leaf) for leaf in jax.tree.leaves(tree)))
