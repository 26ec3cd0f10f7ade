"""Statistical assertions, with stated errors."""

from vae_jax.verify import mean_is


def assert_mean(samples, expected):
    """The mean of samples [N, ...] is `expected`, within standard errors that a right library
    leaves for one seed in a hundred thousand."""
    check = mean_is("the mean of samples", "expected", samples, expected)
    assert check.holds, (
        f"the mean is {check.value:.1f} standard errors from {expected}, and "
        f"{check.tolerance:.1f} are allowed"
    )
