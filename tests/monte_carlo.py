"""Statistical assertions, with stated errors."""

import numpy as np


def assert_mean(samples, expected, standard_errors=4.0):
    """The mean of samples [N, ...] is `expected` within so many of its standard errors."""
    samples = np.asarray(samples, np.float64)
    mean = samples.mean(axis=0)
    error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    # Rounding in float32 must not fail a component without noise.
    allowed = standard_errors * error + 1e-6 * (1.0 + np.abs(np.asarray(expected)))
    z = np.abs(mean - expected) / np.maximum(allowed / standard_errors, 1e-300)
    assert np.all(np.abs(mean - expected) <= allowed), (
        f"mean {mean}, expected {expected}, standard error {error}: {np.max(z):.1f} errors off"
    )
