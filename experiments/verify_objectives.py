"""The checks of experiments.verify on bounds, gradient estimators and penalties."""

import itertools
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from experiments.verify_checks import (
    Check,
    all_tuples,
    bits_case,
    equal,
    exact_case,
    largest_z,
    mean_is,
    mean_is_at_most,
    normal_case,
    not_above,
)
from vae_jax import models, networks, objectives
from vae_jax.diagnostics import gradients as laboratory
from vae_jax.evidence import enumeration, rainforth
from vae_jax.models import Model, Params, vae
from vae_jax.objectives import bounds, estimators, mmd, total_correlation

_NUM_SAMPLES, _NUM_NODES = 4, 12  # K, and the nodes of the integral over each of the K samples


def _log_mean_power(log_w: jax.Array, power: float) -> jax.Array:
    return jnp.log(jnp.mean(jnp.exp(power * log_w), axis=0)) / power


def _tvo(log_w: jax.Array) -> jax.Array:
    """Of three intervals."""
    points = [0.0, 0.03, 0.03**0.5, 1.0]
    means = [
        jnp.sum(jnp.exp(b * log_w) * log_w, axis=0) / jnp.sum(jnp.exp(b * log_w), axis=0)
        for b in points[:-1]
    ]
    return sum(width * mean for width, mean in zip(np.diff(points), means, strict=True))


def bound_pairs() -> dict[str, tuple[bounds.Bound, bounds.Bound]]:
    """name -> the bound of the library, and its formula as it is in the paper."""
    elbo, iwae = partial(jnp.mean, axis=0), partial(_log_mean_power, power=1.0)
    return {
        "elbo": (bounds.elbo, elbo),
        "iwae": (bounds.iwae, iwae),
        "renyi:0.5": (bounds.renyi(0.5), partial(_log_mean_power, power=0.5)),
        "miwae:2": (bounds.miwae(2), lambda log_w: 0.5 * (iwae(log_w[:2]) + iwae(log_w[2:]))),
        "ciwae:0.3": (bounds.ciwae(0.3), lambda log_w: 0.3 * elbo(log_w) + 0.7 * iwae(log_w)),
        "tvo:3": (bounds.tvo(3), _tvo),
        "cubo:2": (bounds.cubo(2.0), partial(_log_mean_power, power=2.0)),
    }


def _exact_of_normal(bound: bounds.Bound, params: Params, x: jax.Array) -> jax.Array:
    """The mean of a bound of K samples for one x [1], by Gauss-Hermite quadrature over all of them.

    Of log-weights by their formula, so that its gradient is the exact one.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NUM_NODES)
    noise = jnp.asarray(all_tuples(nodes, _NUM_SAMPLES).T, jnp.float32)  # [K, P]
    probabilities = np.prod(all_tuples(weights / weights.sum(), _NUM_SAMPLES), axis=1)
    mean = params["encoder"]["weights"][0, 0] * x[0] + params["encoder"]["bias"][0]
    variance = rainforth.POSTERIOR_VARIANCE
    z = mean + variance**0.5 * noise
    log_w = -0.5 * (
        (x[0] - z) ** 2 + (z - params["prior"]["mean"][0]) ** 2 - (z - mean) ** 2 / variance
    )
    log_w += 0.5 * np.log(variance / (2.0 * np.pi))
    return jnp.sum(bound(log_w) * jnp.asarray(probabilities, jnp.float32))


def _exact_of_bits(bound: bounds.Bound, model: Model, params: Params, x: jax.Array) -> jax.Array:
    """The mean of a bound of two samples for one x [4], by enumeration of all pairs."""
    z, log_joint = enumeration.log_joint(model, params, x)
    log_q = jax.vmap(model.posterior(params, x).log_prob)(z)
    pairs = all_tuples(np.arange(len(z)), 2).T
    return jnp.sum(jnp.exp(jnp.sum(log_q[pairs], axis=0)) * bound((log_joint - log_q)[pairs]))


def bounds_of_log_evidence(key: jax.Array) -> list[Check]:
    """Means, and how the bounds lie to one another and to log p(x)."""
    case_key, noise_key, bits_key, pair_key = jax.random.split(key, 4)
    model, params, x = normal_case(case_key)
    x, pairs = x[0], bound_pairs()
    keys = jax.random.split(noise_key, (_NUM_SAMPLES, 30_000))

    @jax.jit
    def values_of(keys):
        repeated = jnp.repeat(x[None], keys.shape[1], axis=0)
        log_w = models.draw_batch(model, params, repeated, keys).log_w
        others = {"renyi:-inf": bounds.renyi(-np.inf), "renyi:inf": bounds.renyi(np.inf)}
        by_name = {name: bound for name, (bound, _) in pairs.items()} | others
        return log_w, {name: bound(log_w) for name, bound in by_name.items()}

    log_w, values = values_of(keys)
    exact = jax.jit(
        lambda params: {
            name: _exact_of_normal(direct, params, x) for name, (_, direct) in pairs.items()
        }
    )(params)
    log_evidence = rainforth.log_evidence(params, x)
    checks = [
        mean_is(f"{name}, K=4", "Gauss-Hermite quadrature", values[name], exact[name])
        for name in pairs
    ]
    checks.append(mean_is("weight", "p(x), closed form", np.exp(log_w[0] - log_evidence), 1.0))
    checks += [
        mean_is_at_most(f"{name} is below log p(x)", "closed form", values[name], log_evidence)
        for name in pairs
        if name != "cubo:2"
    ]
    rising = ["renyi:inf", "elbo", "renyi:0.5", "iwae", "cubo:2", "renyi:-inf"]
    checks += [
        not_above(f"{low} <= {high}", "of each draw", values[low], values[high])
        for low, high in [
            *itertools.pairwise(rising),
            *(("elbo", name) for name in ("miwae:2", "ciwae:0.3", "tvo:3")),
            *((name, "iwae") for name in ("miwae:2", "ciwae:0.3", "tvo:3")),
        ]
    ]
    bits, bits_params, bits_x = bits_case(bits_key)
    keys = jax.random.split(pair_key, (2, 10_000))
    repeated = jnp.repeat(bits_x, 10_000, axis=0)
    log_w = jax.jit(lambda keys: models.draw_batch(bits, bits_params, repeated, keys).log_w)(keys)
    return checks + [
        mean_is(
            f"{name}, K=2, of bits",
            "enumeration",
            pairs[name][0](log_w),
            _exact_of_bits(pairs[name][1], bits, bits_params, bits_x[0]),
        )
        for name in ("elbo", "iwae", "renyi:0.5")
    ]


def gradients(key: jax.Array) -> list[Check]:
    """Means over keys, against gradients of the exact means of the bounds."""
    case_key, noise_key, bits_key, pair_key, concrete_key, land_key = jax.random.split(key, 6)
    model, params, x = normal_case(case_key)
    pairs = bound_pairs()
    everywhere = {"pathwise": estimators.pathwise, "dreg": estimators.doubly_reparameterised}
    scores = {"score_function": estimators.score_function, "vimco": estimators.vimco}
    unbiased = {(name, bound): each for name, each in everywhere.items() for bound in pairs}
    unbiased |= {(name, bound): each for name, each in scores.items() for bound in ("elbo", "iwae")}
    unbiased["stl", "elbo"] = estimators.sticking_the_landing

    def exact_mean(params, bound):
        return jnp.mean(jnp.stack([_exact_of_normal(bound, params, each) for each in x]))

    exact = {name: partial(exact_mean, bound=direct) for name, (_, direct) in pairs.items()}
    checks = _are_unbiased(model, params, x, noise_key, unbiased, pairs, exact, _NUM_SAMPLES)
    bits, bits_params, bits_x = bits_case(bits_key)
    exact = {
        name: partial(
            lambda params, bound: _exact_of_bits(bound, bits, params, bits_x[0]), bound=direct
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
    truth = jax.jit(lambda params: {name: jax.grad(each)(params) for name, each in needed.items()})
    truth = truth(params)
    moments = laboratory.gradient_moments(all_gradients, params, key, 12_000, keys_at_once=2_000)
    checks = []
    for name in unbiased:
        found = moments.select(lambda gradient, name=name: gradient[name])
        exactly = laboratory.exactly(truth[name[1]])
        quality = laboratory.quality(found, exactly, exactly, exactly)
        what = f"{name[0]} of {name[1]}, K={num_samples}"
        checks.append(
            largest_z(what, "gradient of the exact mean", quality.largest_t, quality.num_parameters)
        )
    return checks


def _of_concrete(key, model, params, x) -> list[Check]:
    """Biased as a gradient of the bound, but not as one of its own mean."""
    estimator, temperature = estimators.concrete(0.5), 0.5
    keys = jax.random.split(key, (1, 2_000))
    repeated = jnp.repeat(x, 2_000, axis=0)
    draw_fn = partial(models.draw_batch, model, params, repeated, keys)
    value, _ = estimator(bounds.elbo, draw_fn)
    noise, weights = _logistic_grid()

    def relaxed_mean(params):
        """Over the logistic noise of both bits, of log-weights by their formula."""
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
    return tuple(jnp.asarray(v, jnp.float32) for v in (all_tuples(points, 2), weights))


def _landed(key: jax.Array) -> list[Check]:
    """At the exact posterior no gradient of the encoder is left, of any single draw."""
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


def penalties(key: jax.Array) -> list[Check]:
    """Terms of the aggregate posterior, against double precision on the host and closed forms."""
    init_key, x_key, noise_key, prior_key, mmd_key = jax.random.split(key, 5)
    model = vae((5,), 3, encoder=networks.mlp(()), decoder=networks.mlp(()))
    params = model.init(init_key, jnp.full(5, 0.5))
    x = jax.random.bernoulli(x_key, 0.5, (6, 5)).astype(jnp.float32)
    keys = jax.random.split(noise_key, (2, 6))
    draw_fn = partial(models.draw_batch, model, params, x, keys)
    draw = jax.jit(draw_fn)()
    parts = jax.jit(partial(total_correlation.decompose_kl, num_examples=6))(draw)
    mean, log_std, z = (
        np.asarray(v, np.float64) for v in (draw.posterior.mean, draw.posterior.log_std, draw.z)
    )
    standardised = (z[:, :, None] - mean) / np.exp(log_std)  # [K, B, N, L]
    density = np.exp(-0.5 * standardised**2 - log_std) / np.sqrt(2.0 * np.pi)
    log_q = np.log(np.mean(np.prod(density, axis=3), axis=2))
    log_product = np.sum(np.log(np.mean(density, axis=2)), axis=2)
    log_prior = np.sum(-0.5 * z**2 - 0.5 * np.log(2.0 * np.pi), axis=2)
    log_own = np.log(np.prod(np.stack([density[:, i, i] for i in range(6)], axis=1), axis=2))
    expected = [np.mean(v) for v in (log_own - log_q, log_q - log_product, log_product - log_prior)]
    checks = [equal("decompose_kl of all data", "double precision on the host", parts, expected)]
    covariance = np.cov(mean.T, bias=True)
    for name, objective, added in (
        ("dip_vae_i", objectives.dip_vae_i(10.0, 5.0), 0.0),
        ("dip_vae_ii", objectives.dip_vae_ii(10.0, 5.0), np.mean(np.exp(2.0 * log_std), axis=0)),
    ):
        matrix = covariance + np.diag(np.broadcast_to(added, 3))
        diagonal = np.diagonal(matrix)
        penalty = 10.0 * (np.sum(matrix**2) - np.sum(diagonal**2)) + 5.0 * np.sum(
            (diagonal - 1) ** 2
        )
        _, (_, metrics) = objective.loss((), 0, prior_key, draw_fn)
        checks.append(
            equal(f"{name} penalty", "covariance on the host", metrics["penalty"], penalty)
        )
    shift, std = np.array([0.8, -0.4]), 0.5

    def one_estimate(key):
        a, b = jax.random.normal(key, (2, 8, 2))
        return mmd.mmd(mmd.rbf(), a, jnp.asarray(shift, jnp.float32)[None] + std * b)

    def mean_kernel(shift, variance):  # of a - b ~ N(shift, variance I), two latents
        return np.exp(-0.5 * np.sum(shift**2) / (2.0 + variance)) / (1.0 + variance / 2.0)

    closed_form = mean_kernel(0 * shift, 2.0) + mean_kernel(0 * shift, 2.0 * std**2)
    closed_form -= 2.0 * mean_kernel(shift, 1.0 + std**2)
    estimates = jax.jit(jax.vmap(one_estimate))(jax.random.split(mmd_key, 10_000))
    checks.append(mean_is("mmd of two normals", "closed form", estimates, closed_form))
    return checks
