"""A whole epoch as one compiled loop over data on the device."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding

from vae_jax.models.batch import Batch
from vae_jax.training.trainer import Metrics, Trainer, TrainState, epoch_order_key, norm


class EpochInfo(NamedTuple):
    """The metrics of an epoch."""

    metrics: Metrics  # name -> [], mean over the steps of the epoch
    # name -> [] int32, the first step, counted from 0, that was not finite; -1 for none
    first_bad_step: dict[str, jax.Array]


Epoch = Callable[[TrainState, jax.Array | Batch], tuple[TrainState, EpochInfo]]


def make_epoch(trainer: Trainer, batch_size: int) -> Epoch:
    """Training for one epoch: shuffle, then `lax.scan` over the steps, in one jit.

    The order is a permutation seeded by the key of the run and the number of the epoch, so that
    epochs replay to the bit. The last incomplete batch of an epoch is left out.

    Args:
      trainer: the trainer, whose step is scanned.
      batch_size: B.

    Returns:
      (state, data) -> (state, info). data: pixels [N, *event] or a `Batch` of them. It DONATES its
      state, which is gone afterwards.

    Raises:
      ValueError: (when called) the batch is larger than the data.
    """
    return jax.jit(epoch_of(trainer, batch_size), donate_argnums=0)


def epoch_of(
    trainer: Trainer, batch_size: int, batch_sharding: NamedSharding | None = None
) -> Epoch:
    """The function that `make_epoch` compiles.

    batch_sharding: sharding of the examples [B] of a step; None for the sharding of the data.
    """

    def run_epoch(state, data):
        def examples(rows):
            if batch_sharding is not None:
                rows = jax.lax.with_sharding_constraint(rows, batch_sharding)
            return data[rows]

        rows = rows_of(state, len(data), batch_size)
        end, report = take_steps(trainer, state, rows, batch_sharding, examples)
        return end, info_of(end.step, report)

    return run_epoch


def rows_of(state: TrainState, num_examples: int, batch_size: int) -> jax.Array:
    """The indices of the examples that each step of the epoch after `state` takes.

    Returns [num_steps, B] int32.

    Raises:
      ValueError: the batch is larger than the data.
    """
    num_steps = num_examples // batch_size
    if num_steps == 0:
        raise ValueError(
            f"batch_size={batch_size} is larger than the data, {num_examples} examples."
        )
    order_key = epoch_order_key(state, state.step // num_steps)
    order = jax.random.permutation(order_key, num_examples)
    return order[: num_steps * batch_size].reshape(num_steps, batch_size)


class StepsReport(NamedTuple):
    """The metrics of n steps."""

    series: Metrics  # name -> [n]
    parameter_norm: jax.Array  # [], after the last step


def take_steps(
    trainer: Trainer,
    state: TrainState,
    batches: Any,
    batch_sharding: NamedSharding | None = None,
    examples: Callable[[Any], jax.Array | Batch] = lambda batch: batch,
) -> tuple[TrainState, StepsReport]:
    """One training step for each batch.

    Args:
      trainer: its step is scanned.
      state: before the first step.
      batches: pytree, leaves [n, ...].
      batch_sharding: the same as for `epoch_of`.
      examples: makes pixels [B, *event], or a `Batch` of them, of one of them.

    Returns:
      The state after the last step, and what the steps report.
    """

    options: dict[str, Any] = {} if batch_sharding is None else {"sharding": batch_sharding}

    def step(state, batch):
        # XLA may not fuse a step with what brings its pixels, so that its roundings are the same
        # wherever they come from.
        return trainer.step(state, jax.lax.optimization_barrier(examples(batch)), **options)

    end, series = jax.lax.scan(step, state, batches)
    return end, StepsReport(series, norm(end.params))


def info_of(end: jax.Array, report: StepsReport) -> EpochInfo:
    """What an epoch reports, from the report of all its steps. end: [] the number of steps then."""
    series = jax.lax.optimization_barrier(report.series)  # as for the pixels of a step
    first_step = end - len(series["loss"])
    metrics = {name: jnp.mean(values) for name, values in series.items()}
    first_bad_step = {name: _first_bad(values, first_step) for name, values in series.items()}
    # Parameters can fail behind finite losses and gradients, in the last update of an epoch.
    metrics["parameter_norm"] = report.parameter_norm
    first_bad_step["parameter_norm"] = _first_bad(report.parameter_norm[None], end - 1)
    return EpochInfo(metrics, first_bad_step)


def divergence(info: EpochInfo) -> str | None:
    """Names the first quantity that was not finite and its step; None if all were finite.

    If several fail in the same step, the one earliest in the computation is named:
    what the objective reports (reconstruction before what is made of it), loss, gradient,
    parameters.
    """
    order = ["reconstruction", "kl", "elbo", "bound", "loss", "gradient_norm", "parameter_norm"]
    rank = {name: order.index(name) if name in order else 3 for name in info.first_bad_step}
    bad = [(int(s), rank[name], name) for name, s in info.first_bad_step.items() if int(s) >= 0]
    if not bad:
        return None
    step, _, name = min(bad)
    return f"{name} at step {step}"


def _first_bad(values: jax.Array, first_step: jax.Array) -> jax.Array:
    bad = ~jnp.isfinite(values)
    return jnp.where(jnp.any(bad), first_step + jnp.argmax(bad), -1)
