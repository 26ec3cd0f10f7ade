"""Step 5: gradients through sampling, with the reparameterisation and without."""

from collections.abc import Callable
from functools import partial

import jax
import numpy as np

from experiments.mechanics import drawings, rules
from experiments.mechanics.lesson import STANDARD_ERRORS, Check, Result, Subject, t_statistic
from vae_jax.diagnostics import gradients
from vae_jax.distributions import Normal
from vae_jax.models import Model, Params
from vae_jax.objectives import bounds, estimators

TEXT = """\
Gradients through sampling

To train the encoder the ELBO must be differentiated in the parameters of the density that z is
drawn from. The reparameterisation lets the gradient through the sample; the score function needs
no such path, and pays in variance.

    pathwise         z = mu + sigma * eps,  gradient of log w(z) through mu and sigma
    score function   log w(z) * gradient of log q(z|x),  z held fixed
"""
_ESTIMATORS = {"pathwise": estimators.pathwise, "score function": estimators.score_function}
_PARAMETERS = ("mu_1", "mu_2", "log sigma_1", "log sigma_2")
_PLACES = {"q half-way": 0.5, "q of the encoder": 1.0}
_NUM_KEYS, _KEYS_AT_ONCE = 20_000, 1000


def run(subject: Subject, key: jax.Array) -> Result:
    """Both estimators on the first test image, at two q on the way from the prior to the encoder's.

    The prior has mean zero and log std zero.
    """
    x = subject.x[0]
    encoder = jax.device_get(subject.model.posterior(subject.params, x))
    local = unamortised(subject.model, subject.params)
    keys = jax.random.split(key, _NUM_KEYS)
    lines = [f"{'gradient in':20}{'exact':>11}{'mean':>12}{'standard error':>16}{'variance':>14}"]
    checks, drawn, numbers = [], {}, {}
    for place, share in _PLACES.items():
        q = jax.tree.map(lambda leaf, share=share: share * leaf, encoder)
        with jax.enable_x64(True):
            exact = exact_gradient(subject.model, *rules.double((subject.params, x, q)))
        estimates = {}
        for name, estimator in _ESTIMATORS.items():
            gradient = gradients.bound_gradient(local, bounds.elbo, estimator, x[None], 1)
            estimates[name] = estimate_each(gradient, q, keys)
        variances = {name: values.var(axis=0, ddof=1) for name, values in estimates.items()}
        for name, values in estimates.items():
            lines.append(f"{name}, {place}")
            lines += _lines(exact, values.mean(axis=0), variances[name])
            t = [t_statistic(column, mean) for column, mean in zip(values.T, exact, strict=True)]
            check = Check(f"E[{name}] = gradient", f"{place}, std. errors", max(t), STANDARD_ERRORS)
            checks.append(check)
        ratio = variances["score function"].sum() / variances["pathwise"].sum()
        lines.append(f"The score function's variance is {ratio:,.0f} times that of pathwise.")
        checks.append(Check("variances: pathwise / score", place, 1.0 / ratio, 0.1))
        drawn[place] = ({name: values[:, 0] for name, values in estimates.items()}, exact[0])
        numbers[place] = {"exact": exact, "variance": variances, "variance_ratio": ratio}
    lines.append(f"Each by {_NUM_KEYS:,} estimates of one sample.")
    figure = drawings.gradient_histograms(drawn, r"$\mu_1$")
    return Result(lines, checks, {"5_gradients": figure}, numbers)


def unamortised(model: Model, params: Params) -> Model:
    """The model whose parameters are those of q for one example; prior and decoder are fixed."""
    return Model(
        init=lambda key, x: model.posterior(params, x),
        posterior=lambda q, x: q,
        prior=lambda q: model.prior(params),
        likelihood=lambda q, z: model.likelihood(params, z),
    )


def exact_gradient(model: Model, params: Params, x: jax.Array, q: Normal) -> np.ndarray:
    """That of the ELBO of one example in (mean, log std) of q, [2 L], by the trapezoidal rule."""

    def elbo(q):
        terms = rules.exact_terms(model, params, x, q)
        return terms.reconstruction - terms.kl

    return _flat(jax.device_get(jax.jit(jax.grad(elbo))(q)))


@jax.default_matmul_precision("highest")
def estimate_each(gradient: Callable, q: Normal, keys: jax.Array) -> np.ndarray:
    """The estimates with each of N keys, [N, 2 L]."""
    by_key = jax.jit(partial(jax.lax.map, partial(gradient, q), batch_size=_KEYS_AT_ONCE))
    return _flat(jax.device_get(by_key(keys))).astype(np.float64)


def _flat(q: Normal) -> np.ndarray:
    return np.concatenate([np.asarray(q.mean), np.asarray(q.log_std)], axis=-1)


def _lines(exact: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> list[str]:
    error = np.sqrt(variance / _NUM_KEYS)
    return [
        f"  {name:18}{exact[i]:11.3f}{mean[i]:12.3f}{error[i]:16.3f}{variance[i]:14.1f}"
        for i, name in enumerate(_PARAMETERS)
    ]
