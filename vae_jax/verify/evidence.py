"""Checks of the estimators of the evidence, and of their parts."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax import evidence
from vae_jax.diagnostics import aggregate, inference_gap
from vae_jax.distributions import Normal, standard_normal
from vae_jax.evidence import annealed, hmc, rainforth
from vae_jax.verify.check import Check, equal, mean_is, mean_is_at_most

_STEPS = annealed.StepSizes(np.array([0.0, 1.0]), np.array([0.6, 0.45]))


def checks(key: jax.Array) -> list[Check]:
    """Checks importance and annealed sampling, the diagnostics of weights, and HMC."""
    names = (
        *("x", "importance", "weights_of", "simulate", "forward", "reverse", "chain", "weights"),
        *("forward_from_q", "reverse_from_q", "tune", "exact", "best", "curve", "surgery"),
    )
    keys = dict(zip(names, jax.random.split(key, len(names)), strict=True))
    model = rainforth.model()
    params = rainforth.optimum(rainforth.examples(keys["x"], 5, 2))
    x = params["prior"]["mean"] + 1.0
    exact = float(rainforth.log_evidence(params, x))
    # Ten samples in chunks of 4, 4 and 2, so that a wrong sum over chunks is found.
    sample = evidence.make_importance_sampler(model, 10, examples_at_once=4_000, samples_at_once=4)
    found = sample(params, np.repeat(np.asarray(x)[None], 4_000, axis=0), keys["importance"])
    log_w = evidence.log_weights(model, params, x, keys["weights_of"], 4_000)
    checks = [
        mean_is(
            "importance sampling, mean weight",
            "p(x), closed form",
            np.exp(found.log_evidence - exact),
            1.0,
        ),
        mean_is("log_weights, mean weight", "p(x), closed form", np.exp(log_w - exact), 1.0),
        mean_is_at_most(
            "importance sampling is below", "log p(x), closed form", found.log_evidence, exact
        ),
        mean_is(
            "elbo of importance sampling", "closed form", found.elbo, rainforth.elbo(params, x)
        ),
    ]
    return [
        *checks,
        *_annealed(keys, model, params, x, exact),
        *_of_posteriors(keys, model, params, x, exact),
        *_hmc(keys["chain"]),
        *_weights(keys["weights"]),
    ]


def _annealed(keys, model, params, x, exact) -> list[Check]:
    schedule = annealed.linear_schedule(6)
    simulated, z = annealed.simulate(model, params, keys["simulate"], 4_000)
    of_simulated = np.asarray(
        jax.vmap(rainforth.log_evidence, (None, 0))(params, simulated), np.float64
    )
    checks = []
    for start, name, suffix in (
        ("prior", "annealed", ""),
        ("posterior", "annealed from q", "_from_q"),
    ):

        def sampler(num_chains, examples_at_once, start=start):
            return annealed.make_annealed_sampler(
                model,
                schedule,
                _STEPS,
                num_chains=num_chains,
                start=start,
                num_leapfrog=3,
                examples_at_once=examples_at_once,
            )

        forward = sampler(4_000, 1)(params, x[None], keys["forward" + suffix]).log_w[0]
        reverse = sampler(1, 4_000)(params, simulated, keys["reverse" + suffix], z).log_w[:, 0]
        checks += [
            mean_is(f"{name}, mean weight", "p(x), closed form", np.exp(forward - exact), 1.0),
            mean_is(
                f"{name} reversed, mean 1 / weight",
                "1 / p(x), closed form",
                np.exp(of_simulated - reverse),
                1.0,
            ),
            mean_is_at_most(f"{name} is below", "log p(x), closed form", forward, exact),
            mean_is_at_most(f"{name} reversed is above", "log p(x)", of_simulated - reverse),
        ]
    return checks


def _of_posteriors(keys, model, params, x, exact) -> list[Check]:
    """Checks where q(z|x) is, or can become, the posterior N((x + mu) / 2, I / 2)."""
    mean = 0.5 * (x + params["prior"]["mean"])
    posterior = Normal(mean=mean, log_std=jnp.full_like(mean, 0.5 * math.log(0.5)))
    of_exact = model._replace(posterior=lambda params, x: posterior)
    schedule = annealed.sigmoid_schedule(10)
    sizes = annealed.tune_step_sizes(of_exact, params, x[None], keys["tune"], schedule)
    sample = annealed.make_annealed_sampler(of_exact, schedule, sizes, num_chains=8)
    log_w = sample(params, x[None], keys["exact"]).log_w[0]
    best = jax.jit(inference_gap.best_normal, static_argnums=0)(
        model, params, x, model.posterior(params, x), keys["best"]
    )
    b = np.concatenate([[0.0], np.geomspace(1e-3, 1.0, 300)])
    curve = evidence.rate_distortion(
        model, params, x[None], keys["curve"], b, _STEPS, num_chains=500, num_leapfrog=3
    )
    far = Normal(mean=20.0 * jnp.arange(8.0)[:, None], log_std=jnp.zeros((8, 1)))
    surgery = aggregate.surgery(far, standard_normal((1,)), keys["surgery"])
    return [
        equal("annealed from the exact posterior", "log p(x), no variance", log_w, exact),
        equal("best_normal, mean", "that of the posterior", best.mean, mean, tolerance=0.05),
        equal(
            "best_normal, log std",
            "that of the posterior",
            best.log_std,
            posterior.log_std,
            tolerance=0.1,
        ),
        equal(
            "rate + distortion at b = 1",
            "-log p(x)",
            curve.rate[0, -1] + curve.distortion[0, -1],
            -exact,
            tolerance=0.03,
        ),
        equal(
            "surgery, information of far posteriors",
            "log N",
            surgery.mutual_information,
            math.log(8),
        ),
    ]


def _hmc(key: jax.Array) -> list[Check]:
    """Checks ten transitions of HMC that start at exact samples."""
    factor = jnp.array([[1.0, 0.0], [0.6, 0.8]])
    precision = jnp.linalg.inv(factor @ factor.T)

    def chain(key):
        start_key, *step_keys = jax.random.split(key, 11)
        first = factor @ jax.random.normal(start_key, (2,))

        def step(z, key):
            moved = hmc.transition(lambda z: -0.5 * z @ precision @ z, z, key, 0.9, num_steps=3)
            return moved.z, None

        return first, jax.lax.scan(step, first, jnp.stack(step_keys))[0]

    first, z = jax.jit(jax.vmap(chain))(jax.random.split(key, 10_000))
    outer = z[:, :, None] * z[:, None, :]
    return [
        mean_is("hmc leaves means alone", "0", z, np.zeros(2)),
        mean_is("hmc leaves the covariance alone", "its target", outer, factor @ factor.T),
        # A chain that never moves would pass the checks above.
        mean_is("hmc forgets where it began", "0", first * z, np.zeros(2)),
    ]


def _weights(key: jax.Array) -> list[Check]:
    shape, num_weights = 0.5, 4_000
    uniform = np.asarray(jax.random.uniform(key, (50, num_weights), minval=1e-6), np.float64)
    log_w = np.log((uniform**-shape - 1.0) / shape)  # shape of the generalised Pareto distribution
    found = np.mean([evidence.pareto_shape(row) for row in log_w])
    w = np.exp(log_w[0])
    return [
        equal("pareto_shape of 50 samples", "their shape 0.5", found, shape, tolerance=0.05),
        equal(
            "effective_sample_size",
            "its definition",
            evidence.effective_sample_size(log_w[0] - 1e4),
            w.sum() ** 2 / (w**2).sum(),
        ),
    ]
