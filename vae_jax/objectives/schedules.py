"""Coefficients as functions of the step, like the schedules of optax: step [] int -> [].

A function that takes a schedule also takes a number, which is a constant schedule.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

Schedule = Callable[[jax.Array], jax.Array]

constant = optax.constant_schedule
linear = optax.linear_schedule  # (init_value, end_value, transition_steps)


def sigmoid(start: float, end: float, num_steps: int, steepness: float = 10.0) -> Schedule:
    """Rises from `start` to `end` along a sigmoid, and stays there (Bowman et al. 2016, fig. 2).

    The sigmoid is shifted and scaled so that it begins and ends exactly at the two values.

    Args:
      start: value at step 0.
      end: value from step `num_steps` on.
      num_steps: number of steps of the rise.
      steepness: length of the interval of logits, from -steepness / 2 to steepness / 2.

    Raises:
      ValueError: `num_steps` < 1 or the steepness is not positive.
    """
    _require_steps(num_steps)
    if not steepness > 0:
        raise ValueError(f"steepness must be positive, not {steepness}.")

    def schedule(step):
        now = jnp.tanh(0.5 * steepness * (step / num_steps - 0.5))
        rise = 0.5 * (1.0 + now / math.tanh(0.25 * steepness))
        # Rounding must not move the ends: a weight that begins at 0 must not be negative.
        rise = jnp.where(step <= 0, 0.0, jnp.where(step < num_steps, jnp.clip(rise, 0.0, 1.0), 1.0))
        return (1.0 - rise) * start + rise * end

    return schedule


def cyclical(
    start: float, end: float, num_steps: int, num_cycles: int = 4, rising: float = 0.5
) -> Schedule:
    """Repeats cycles of a linear rise and a constant part (Fu et al. 2019, eq. 6).

    Args:
      start: value at the start of each cycle.
      end: value after the rise of each cycle, and from step `num_steps` on.
      num_steps: number of steps of all cycles together.
      num_cycles: number of cycles.
      rising: fraction of a cycle that rises, in (0, 1].

    Raises:
      ValueError: a value is out of range.
    """
    _require_steps(num_steps)
    if num_cycles < 1:
        raise ValueError(f"num_cycles must be at least 1, not {num_cycles}.")
    if not 0 < rising <= 1:
        raise ValueError(f"rising must lie in (0, 1], not {rising}.")

    def schedule(step):
        # In integers, since rounding could put the start of a cycle at the end of the one before.
        fraction = (step * num_cycles) % num_steps / num_steps
        rise = jnp.where(step < num_steps, jnp.minimum(fraction / rising, 1.0), 1.0)
        return (1.0 - rise) * start + rise * end

    return schedule


def as_schedule(value: float | jax.Array | Schedule) -> Schedule:
    """The schedule itself, or the constant schedule of a number."""
    return value if callable(value) else lambda step: jnp.asarray(value, jnp.float32)


def is_array(value: Any) -> bool:
    """Whether a coefficient is an array, as in a sweep, so that its value cannot be checked."""
    return isinstance(value, jax.Array)


def require_weight(name: str, value: float | jax.Array | Schedule) -> None:
    """Raises a ValueError for a coefficient that is a number, but negative or not finite."""
    if not callable(value) and not is_array(value) and not 0 <= value <= 1e30:
        raise ValueError(f"{name} must be finite and not negative, not {value}.")


def _require_steps(num_steps: int) -> None:
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, not {num_steps}.")
