"""The optimiser that trains well by default: Adam with warm-up and a cosine schedule."""

import optax


def adam(
    learning_rate: float, total_steps: int, *, warmup_steps: int = 0
) -> optax.GradientTransformation:
    """Adam (Kingma & Ba 2015) whose learning rate rises linearly, then falls to zero as a cosine.

    Args:
      learning_rate: the highest learning rate.
      total_steps: steps of the whole training; the learning rate is zero after them.
      warmup_steps: steps of the linear rise from zero.

    Raises:
      ValueError: a value is out of range.
    """
    if not 0 <= warmup_steps < total_steps:
        raise ValueError(f"warmup_steps={warmup_steps} must lie in [0, total_steps={total_steps}).")
    if not learning_rate > 0:
        raise ValueError(f"learning_rate must be positive, not {learning_rate}.")
    return optax.adam(
        optax.warmup_cosine_decay_schedule(
            init_value=0.0 if warmup_steps else learning_rate,
            peak_value=learning_rate,
            warmup_steps=warmup_steps,
            decay_steps=total_steps,
        )
    )
