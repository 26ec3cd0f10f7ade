"""Step 2: a normal q(z) is fitted to the posterior of one image; its KL falls as the ELBO rises."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.mechanics import bayes, drawings, rules
from experiments.mechanics.drawings import Plane
from experiments.mechanics.lesson import QUADRATURE, Check, Result, Subject
from vae_jax.distributions import Normal
from vae_jax.models import Model, Params

TEXT = """\
An approximate posterior

As p(z|x) is intractable, a simple q(z|x) approximates it. The divergence between them cannot be
computed in general, but the ELBO can, and as much as it rises the divergence falls, since log p(x)
does not depend on q.

    log p(x) = KL(q(z|x) || p(z|x)) + ELBO,    ELBO = E_q[log p(x|z)] - KL(q(z|x) || p(z))
"""
_NUM_STEPS, _LEARNING_RATE = 300, 0.05
_MOMENTS = (0, 5, 10, 20, 50, 100, 300)
_POINTS = 200  # points per axis around q, which is wide at first


def run(subject: Subject, key: jax.Array) -> Result:
    """Fits mean and standard deviation of q to the first test image, from the prior."""
    del key
    model = subject.model
    with jax.enable_x64(True):
        params, x = rules.double((subject.params, subject.x[0]))
        posterior, encoded = jax.device_get(rules.measure(model, params, x))
        path, elbo = jax.device_get(fit(model, params, x, model.prior(params)))
        moments = jax.tree.map(lambda leaf: leaf[np.array(_MOMENTS)], path)
        found = jax.device_get(decompose_each(model, params, x, moments, posterior))
        encoder = jax.device_get(model.posterior(params, x))
    residuals = np.abs(found.residual)
    elbo = elbo.copy()
    elbo[list(_MOMENTS)] = found.elbo  # there by finer grids
    lines = ["step      mean of q            std of q          KL(q||p(z|x))       ELBO        sum"]
    for i, step in enumerate(_MOMENTS):
        mean, std = path.mean[step], np.exp(path.log_std[step])
        lines.append(_line(f"{step:4}", mean, std, found.gap[i], found.elbo[i]))
    lines += [
        _line("enc.", encoder.mean, np.exp(encoder.log_std), encoded.gap, encoded.elbo),
        f"log p(x) is {posterior.log_evidence:.6f} nats. The last line is the encoder's q, which "
        "serves all images:",
        f"it pays {encoded.gap - found.gap[-1]:.4f} nats for that (the amortisation gap). The "
        f"fitted q pays {found.gap[-1]:.4f} for its shape.",
    ]
    checks = [
        Check(
            "log p(x) = KL + ELBO",
            f"at {len(_MOMENTS)} moments of the fit",
            float(residuals.max()),
            QUADRATURE,
        ),
        Check(
            "KL(q||p(z|x)) falls",
            "largest rise from moment to moment",
            float(np.diff(found.gap).max()),
            0.0,
        ),
    ]
    drawn = {step: (path.mean[step], np.exp(path.log_std[step])) for step in _MOMENTS}
    low, high = posterior.mean - 5 * posterior.std, posterior.mean + 5 * posterior.std
    z1, z2, z = bayes.plane(np.minimum(low, -1.0), np.maximum(high, 1.0))
    near, prior_near = bayes.log_densities(model, subject.params, subject.x[0], z)
    figure = drawings.variational_fit(
        Plane(z1, z2, np.exp(near + prior_near - posterior.log_evidence)),
        drawn,
        (encoder.mean, np.exp(encoder.log_std)),
        elbo,
        dict(zip(_MOMENTS, found.gap, strict=True)),
        posterior.log_evidence,
    )
    numbers = {
        "steps": _MOMENTS,
        "gap": found.gap,
        "elbo": found.elbo,
        "residual": residuals,
        "encoder_gap": encoded.gap,
    }
    return Result(lines, checks, {"2_fit": figure}, numbers)


@partial(jax.jit, static_argnums=0)
def fit(model: Model, params: Params, x: jax.Array, start: Normal) -> tuple[Normal, jax.Array]:
    """Gradient ascent (Adam) on the ELBO of one example, in the parameters of q.

    The ELBO is a sum over a grid, so its gradient has no noise. x: [*event]. Returns q [steps + 1]
    and its ELBO, [steps + 1] nats.
    """
    optimiser = optax.adam(_LEARNING_RATE)

    def elbo(q):
        terms = rules.exact_terms(model, params, x, q, points=rules.COARSE)
        return terms.reconstruction - terms.kl

    def step(carry, _):
        q, state = carry
        value, gradient = jax.value_and_grad(elbo)(q)
        updates, state = optimiser.update(jax.tree.map(jnp.negative, gradient), state, q)
        return (optax.apply_updates(q, updates), state), (q, value)

    initial = start, optimiser.init(start)
    return jax.lax.scan(step, initial, length=_NUM_STEPS + 1)[1]


@partial(jax.jit, static_argnums=0)
def decompose_each(
    model: Model, params: Params, x: jax.Array, q: Normal, posterior: rules.Posterior
) -> rules.Decomposition:
    """The decompositions of one example for several q, stacked."""
    return jax.lax.map(lambda q: rules.decompose(model, params, x, q, posterior, _POINTS), q)


def _line(name: str, mean: np.ndarray, std: np.ndarray, gap: float, elbo: float) -> str:
    return (
        f"{name}  ({mean[0]:7.4f}, {mean[1]:7.4f})  ({std[0]:6.4f}, {std[1]:6.4f})  "
        f"{gap:14.6f} {elbo:13.6f} {gap + elbo:13.6f}"
    )
