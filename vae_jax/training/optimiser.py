"""The optimiser that trains well by default: Adam with warm-up and a cosine schedule."""

import jax
import optax


def adam(
    learning_rate: float | jax.Array,
    total_steps: int,
    *,
    warmup_steps: int = 0,
    weight_decay: float | jax.Array = 0.0,
) -> optax.GradientTransformation:
    """Adam (Kingma & Ba 2015) whose learning rate rises linearly, then falls to zero as a cosine.

    Args:
      learning_rate: the highest learning rate.
      total_steps: steps of the whole training; the learning rate is zero after them.
      warmup_steps: steps of the linear rise from zero.
      weight_decay: what of itself a parameter loses in each step, times the learning rate
        (AdamW, Loshchilov & Hutter 2019, algorithm 2).

    Numbers that are arrays, as in a sweep, are not checked.

    Raises:
      ValueError: a value is out of range.
    """
    if not 0 <= warmup_steps < total_steps:
        raise ValueError(f"warmup_steps={warmup_steps} must lie in [0, total_steps={total_steps}).")
    if not isinstance(learning_rate, jax.Array) and not learning_rate > 0:
        raise ValueError(f"learning_rate must be positive, not {learning_rate}.")
    if not isinstance(weight_decay, jax.Array) and not weight_decay >= 0:
        raise ValueError(f"weight_decay must not be negative, not {weight_decay}.")
    of_highest = optax.warmup_cosine_decay_schedule(
        init_value=0.0 if warmup_steps else 1.0,
        peak_value=1.0,
        warmup_steps=warmup_steps,
        decay_steps=total_steps,
    )

    def schedule(step):
        return learning_rate * of_highest(step)

    if not isinstance(weight_decay, jax.Array) and weight_decay == 0:
        return optax.adam(schedule)
    return optax.adamw(schedule, weight_decay=weight_decay)
