"""What of long curves is shown."""

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

_FEWEST_EPOCHS = 10  # of a training whose start may be cut off
_GAIN = 2.0  # cutting makes the rest larger at least by this factor


def cut_off_start(axes: Axes, epochs: ArrayLike, values: ArrayLike) -> None:
    """Fits the y-axis to curves over epochs without their steep start, and says what is cut off.

    The start of a curve is what comes before its first value within Tukey's fences, the whiskers of
    a box plot of its values. Everything is shown of a short training, and where cutting would not
    make the rest twice as large.

    Args:
      axes: the axes, whose title on the right becomes the epochs that are not wholly in sight.
      epochs: [E] numbers of the epochs.
      values: [C, E] curves; what is not finite is passed over.
    """
    epochs, values = np.asarray(epochs), np.asarray(values, dtype=float)
    known = np.isfinite(values)
    if not known.any():
        return
    shown = values[known]
    if len(epochs) >= _FEWEST_EPOCHS:
        late = np.concatenate([_without_start(curve) for curve in values])
        shown = late if np.ptp(shown) >= _GAIN * np.ptp(late) else shown
    low, high = shown.min(), shown.max()
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    axes.set_ylim(low - margin, high + margin)
    outside = known & ((values < low - margin) | (values > high + margin))
    hidden = epochs[outside.any(axis=0)]
    if hidden.size:
        text = f"cut off: {_ranges(hidden)}"
        axes.set_title(text, loc="right", size=5, color="0.4", pad=2)


def _without_start(curve: NDArray) -> NDArray:
    """The finite values of a curve from the first one on that is no outlier among them."""
    finite = curve[np.isfinite(curve)]
    if finite.size == 0:
        return finite
    lower, upper = np.quantile(finite, (0.25, 0.75))
    reach = 1.5 * (upper - lower)
    return finite[np.argmax((finite >= lower - reach) & (finite <= upper + reach)) :]


def _ranges(epochs: NDArray) -> str:
    """Such as "epoch 1", or "epochs 1-3, 17" with dashes."""
    runs = np.split(epochs, np.flatnonzero(np.diff(epochs) > 1) + 1)
    named = [f"{run[0]}" if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs]  # noqa: RUF001
    return f"epoch{'s' * (len(epochs) > 1)} {', '.join(named)}"
