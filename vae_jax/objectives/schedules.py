"""Coefficients as functions of the step, like the schedules of optax. step: [] int, [] back.

A number stands for itself: whatever takes a schedule takes a number.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

Schedule = Callable[[jax.Array], jax.Array]

constant = optax.constant_schedule
linear = optax.linear_schedule  # (init_value, end_value, transition_steps)


def sigmoid(start: float, end: float, num_steps: int, steepness: float = 10.0) -> Schedule:
    """From `start` to `end` along a sigmoid (Bowman et al. 2016, fig. 2), `end` from then on.

    The sigmoid is shifted and scaled so that it begins and ends exactly at the two values.

    Args:
      start: value at step 0.
      end: value from step `num_steps` on.
      num_steps: of the rise.
      steepness: the logits go from -steepness / 2 to steepness / 2.

    Raises:
      ValueError: `num_steps` < 1 or the steepness is not positive.
    """
    _require_steps(num_steps)
    if not steepness > 0:
        raise ValueError(f"steepness must be positive, not {steepness}.")

    def schedule(step):
        fraction = jnp.clip(step / num_steps, 0.0, 1.0)
        first, now = jnp.tanh(-0.25 * steepness), jnp.tanh(0.5 * steepness * (fraction - 0.5))
        return start + (end - start) * 0.5 * (1.0 - now / first)

    return schedule


def cyclical(
    start: float, end: float, num_steps: int, num_cycles: int = 4, rising: float = 0.5
) -> Schedule:
    """Rises linearly from `start` to `end` and stays, over and over (Fu et al. 2019, eq. 6).

    Args:
      start: value at the start of each cycle.
      end: value after the rise of each cycle, and from step `num_steps` on.
      num_steps: of all cycles together.
      num_cycles: how often.
      rising: the part of a cycle that rises, in (0, 1].

    Raises:
      ValueError: a value is out of range.
    """
    _require_steps(num_steps)
    if num_cycles < 1:
        raise ValueError(f"num_cycles must be at least 1, not {num_cycles}.")
    if not 0 < rising <= 1:
        raise ValueError(f"rising must lie in (0, 1], not {rising}.")

    def schedule(step):
        cycle = num_steps / num_cycles
        fraction = jnp.where(step < num_steps, (step % cycle) / cycle, 1.0)
        return start + (end - start) * jnp.minimum(fraction / rising, 1.0)

    return schedule


def as_schedule(value: float | jax.Array | Schedule) -> Schedule:
    """The schedule itself, or that of a constant."""
    return value if callable(value) else lambda step: jnp.asarray(value, jnp.float32)


def _require_steps(num_steps: int) -> None:
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, not {num_steps}.")
