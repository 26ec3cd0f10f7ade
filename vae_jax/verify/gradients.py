"""Checks of gradient estimators, against gradients of the exact means of the bounds."""

from collections.abc import Callable
from functools import partial
from operator import itemgetter

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax import models
from vae_jax.diagnostics import gradients as laboratory
from vae_jax.objectives import bounds, estimators
from vae_jax.verify import exact_bounds
from vae_jax.verify.cases import all_tuples, bits_case, exact_case, normal_case
from vae_jax.verify.check import Check, equal, largest_z


def checks(key: jax.Array) -> list[Check]:
    """Checks means over keys against gradients of the exact means of the bounds."""
    case_key, noise_key, bits_key, pair_key, concrete_key, land_key = jax.random.split(key, 6)
    model, params, x = normal_case(case_key)
    pairs = exact_bounds.bound_pairs()
    everywhere = {"pathwise": estimators.pathwise, "dreg": estimators.doubly_reparameterised}
    scores = {"score_function": estimators.score_function, "vimco": estimators.vimco}
    unbiased = {(name, bound): each for name, each in everywhere.items() for bound in pairs}
    unbiased |= {(name, bound): each for name, each in scores.items() for bound in ("elbo", "iwae")}
    unbiased["stl", "elbo"] = estimators.sticking_the_landing

    def exact_mean(params, bound):
        return jnp.mean(
            jnp.stack([exact_bounds.exact_of_normal(bound, params, each) for each in x])
        )

    exact: dict[str, Callable] = {
        name: partial(exact_mean, bound=direct) for name, (_, direct) in pairs.items()
    }
    checks = _are_unbiased(
        model, params, x, noise_key, unbiased, pairs, exact, exact_bounds.NUM_SAMPLES
    )
    bits, bits_params, bits_x = bits_case(bits_key)
    exact = {
        name: partial(
            lambda params, bound: exact_bounds.exact_of_bits(bound, bits, params, bits_x[0]),
            bound=direct,
        )
        for name, (_, direct) in pairs.items()
    }
    unbiased = {(name, bound): each for name, each in scores.items() for bound in ("elbo", "iwae")}
    of_bits = _are_unbiased(bits, bits_params, bits_x, pair_key, unbiased, pairs, exact, 2)
    checks += [check._replace(what=f"{check.what} of bits") for check in of_bits]
    return [*checks, *_of_concrete(concrete_key, bits, bits_params, bits_x), *_landed(land_key)]


def _are_unbiased(
    model, params, x, key, unbiased, pairs, exact: dict[str, Callable], num_samples
) -> list[Check]:
    measured = {
        name: laboratory.bound_gradient(model, pairs[name[1]][0], each, x, num_samples)
        for name, each in unbiased.items()
    }

    def all_gradients(params, key):
        return {name: gradient(params, key) for name, gradient in measured.items()}

    needed = {bound: exact[bound] for _, bound in unbiased}

    @jax.jit
    def exact_gradients(params):
        return {name: jax.grad(each)(params) for name, each in needed.items()}

    truth = exact_gradients(params)
    moments = laboratory.gradient_moments(all_gradients, params, key, 12_000, keys_at_once=2_000)
    checks = []
    for name in unbiased:
        found = moments.select(itemgetter(name))
        exactly = laboratory.exactly(truth[name[1]])
        quality = laboratory.quality(found, exactly, exactly, exactly)
        what = f"{name[0]} of {name[1]}, K={num_samples}"
        checks.append(
            largest_z(what, "gradient of the exact mean", quality.largest_t, quality.num_parameters)
        )
    return checks


def _of_concrete(key, model, params, x) -> list[Check]:
    """Checks the concrete estimator: biased for the bound, but unbiased for its relaxed mean."""
    estimator, temperature = estimators.concrete(0.5), 0.5
    keys = jax.random.split(key, (1, 2_000))
    repeated = jnp.repeat(x, 2_000, axis=0)
    draw_fn = partial(models.draw_batch, model, params, repeated, keys)
    value, _ = estimator(bounds.elbo, draw_fn)
    noise, weights = _logistic_grid()

    def relaxed_mean(params):
        """The mean of a bound over the logistic noise of both bits, by formula."""
        q_logits = (
            x[0] @ params["encoder"]["output"]["kernel"] + params["encoder"]["output"]["bias"]
        )
        z = jax.nn.sigmoid((q_logits[None] + noise) / temperature)
        decoder = params["decoder"]["output"]
        logits = z @ decoder["kernel"] + decoder["bias"][None]
        log_w = jnp.sum(x * logits - jnp.logaddexp(0.0, logits), axis=1) - 2.0 * np.log(2.0)
        log_w -= jnp.sum(z * q_logits[None] - jnp.logaddexp(0.0, q_logits)[None], axis=1)
        return jnp.sum(weights * log_w)

    pairs, name = {"elbo": (bounds.elbo, None)}, ("concrete:0.5", "elbo")
    (check,) = _are_unbiased(
        model, params, x, key, {name: estimator}, pairs, {"elbo": relaxed_mean}, num_samples=1
    )
    return [
        equal("value of concrete:0.5", "elbo of bits", value, bounds.elbo(draw_fn().log_w)),
        check._replace(what=f"{check.what} of relaxed bits", oracle="integral over the noise"),
    ]


def _logistic_grid() -> tuple[jax.Array, jax.Array]:
    """Noise [P, 2] of two logistic variables, and its probabilities [P]."""
    points = np.linspace(-18.0, 18.0, 181)
    density = 1.0 / (4.0 * np.cosh(0.5 * points) ** 2)
    weights = np.prod(all_tuples(density / density.sum(), 2), axis=1)
    noise = all_tuples(points, 2)
    return jnp.asarray(noise, jnp.float32), jnp.asarray(weights, jnp.float32)


def _landed(key: jax.Array) -> list[Check]:
    """Checks that at the exact posterior the encoder has no gradient, for any single draw."""
    model, params, _, x = exact_case()
    checks = []
    for name, estimator, bound in (
        ("stl", estimators.sticking_the_landing, bounds.elbo),
        ("dreg", estimators.doubly_reparameterised, bounds.iwae),
    ):
        gradient = laboratory.bound_gradient(model, bound, estimator, x[None], 5)
        found = jax.tree.leaves(jax.jit(gradient)(params, key)["encoder"])
        flat = np.concatenate([np.ravel(leaf) for leaf in found])
        checks.append(equal(f"{name} at the exact posterior", "0", flat, 0.0, tolerance=1e-4))
    return checks
