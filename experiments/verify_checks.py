"""What a check of experiments.verify is, and those of densities, oracles and devices."""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax import distributions, evidence, models, networks
from vae_jax.diagnostics import gradients
from vae_jax.distributions import Bernoulli, Categorical, Normal
from vae_jax.evidence import enumeration, linear_gaussian, quadrature, rainforth
from vae_jax.models import Model, Params, heads, latents, vae

# With which a right library fails one check: a hundred of them together once in a thousand seeds.
_FALSE_ALARM = 1e-5
_ROUNDING = 1e-6  # in single precision, relative to the numbers


class Check(NamedTuple):
    """A number that the library gives, beside the truth."""

    what: str  # is checked
    oracle: str  # the truth
    kind: str  # "z", in standard errors; "residual"; or "excess", what it is above (0 if below)
    value: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Never of nan."""
        return bool(self.value <= self.tolerance)


Group = Callable[[jax.Array], list[Check]]  # key -> its checks


def mean_is(what: str, oracle: str, samples: jax.Array, expected: jax.Array | float) -> Check:
    """The mean over the first axis of samples [N, ...] is the expected [...], in standard errors.

    The largest over all entries, whose tolerance grows with their number.
    """
    z = _errors_off(samples, expected)
    return largest_z(what, oracle, np.max(np.abs(z)), z.size)


def mean_is_at_most(
    what: str, oracle: str, samples: jax.Array, bound: jax.Array | float = 0.0
) -> Check:
    """The mean of samples [N] is not above the bound []: its excess in standard errors."""
    excess = np.maximum(_errors_off(samples, bound), 0.0)
    return largest_z(what, oracle, excess, 1)._replace(kind="excess")


def largest_z(what: str, oracle: str, value: float, count: int) -> Check:
    """The largest of so many |z| that are standard normal if the library is right."""
    tolerance = gradients.largest_by_chance(count, 1.0 - _FALSE_ALARM)
    return Check(what, oracle, "z", float(value), tolerance)


def equal(
    what: str, oracle: str, found: jax.Array, expected: jax.Array, tolerance: float = 2e-5
) -> Check:
    """The largest difference, relative to 1 + the size of the truth."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    residual = np.abs(found - expected) / (1.0 + np.abs(expected))
    return Check(what, oracle, "residual", float(np.max(residual)), tolerance)


def not_above(what: str, oracle: str, lower: jax.Array, upper: jax.Array) -> Check:
    """The largest excess of the lower over the upper."""
    excess = np.max(np.asarray(lower, np.float64) - np.asarray(upper, np.float64))
    return Check(what, oracle, "excess", float(np.maximum(excess, 0.0)), 2e-5)


def _errors_off(samples: jax.Array, expected: jax.Array | float) -> np.ndarray:
    """(mean - expected) / standard error, which is at least that of rounding."""
    samples, expected = np.asarray(samples, np.float64), np.asarray(expected, np.float64)
    squared_error = samples.var(axis=0, ddof=1) / len(samples)
    rounding = _ROUNDING * (1.0 + np.abs(expected))
    return (samples.mean(axis=0) - expected) / np.sqrt(squared_error + rounding**2)


def densities(key: jax.Array) -> list[Check]:
    """log_prob, closed-form KL divergences and samples, by integration and enumeration on the
    host, in double precision."""
    normal_key, bits_key, one_hot_key = jax.random.split(key, 3)
    q, p = Normal(jnp.array([0.3]), jnp.array([-0.4])), Normal(jnp.array([-0.5]), jnp.array([0.2]))
    grid = np.linspace(-12.0, 12.0, 2001)
    log_q, log_p = (
        _normal_log_density(grid, *map(float, (d.mean[0], d.log_std[0]))) for d in (q, p)
    )
    found = jax.vmap(q.log_prob)(jnp.asarray(grid, jnp.float32)[:, None])
    z = jax.vmap(q.sample)(jax.random.split(normal_key, 20_000))[:, 0]
    mean, std = float(q.mean[0]), float(np.exp(q.log_std[0]))
    noise = (z - mean) / std
    slopes = jax.vmap(jax.grad(lambda q, key: q.sample(key)[0]), (None, 0))(
        q, jax.random.split(normal_key, 20_000)
    )
    checks = [
        equal("Normal.log_prob", "its formula", found, log_q),
        equal(
            "Normal.kl_per_dim",
            "numerical integral",
            q.kl_per_dim(p)[0],
            np.trapezoid(np.exp(log_q) * (log_q - log_p), grid),
        ),
        mean_is(
            "Normal.sample, four moments",
            "those of N(0, 1)",
            jnp.stack([noise, noise**2, noise**3, noise**4], axis=1),
            [0.0, 1.0, 0.0, 3.0],
        ),
        equal("d sample / d mean of Normal", "1", slopes.mean, 1.0),
        equal("d sample / d log std of Normal", "std * eps", slopes.log_std[:, 0], z - mean),
    ]
    bits = [Bernoulli(jnp.array(v)) for v in ([0.7, -1.3, 2.0], [-0.2, 0.5, 0.1])]
    one_hot = [
        Categorical(jnp.array(v))
        for v in ([[0.7, -1.3, 0.2], [0.0, 1.0, -0.5]], [[0.1, 0.3, -0.9], [1.2, 0.0, 0.4]])
    ]
    for name, (q, p), sample_key in (
        ("Bernoulli", bits, bits_key),
        ("Categorical", one_hot, one_hot_key),
    ):
        values = enumeration.all_values(q)
        probabilities, others = (_probabilities(d, values) for d in (q, p))
        kl = np.sum(probabilities * np.log(probabilities / others))
        sampled = jax.vmap(q.sample)(jax.random.split(sample_key, 10_000))
        axes = tuple(range(2, values.ndim + 1))
        is_value = jnp.all(sampled[:, None] == values[None], axis=axes)
        checks += [
            equal(
                f"{name}.log_prob",
                "enumeration",
                jax.vmap(q.log_prob)(values),
                np.log(probabilities),
            ),
            equal(f"{name}.kl_per_dim", "enumeration", distributions.kl_divergence(q, p), kl),
            mean_is(f"{name}.sample, frequencies", "probabilities", is_value, probabilities),
        ]
    return checks


def _normal_log_density(z, mean, log_std):
    return -0.5 * ((z - mean) / np.exp(log_std)) ** 2 - log_std - 0.5 * np.log(2.0 * np.pi)


def _probabilities(d, values):
    """[Z], on the host."""
    logits, values = np.asarray(d.logits, np.float64), np.asarray(values, np.float64)
    if isinstance(d, Bernoulli):
        ones = 1.0 / (1.0 + np.exp(-logits))
        return np.prod(np.where(values == 1.0, ones, 1.0 - ones), axis=1)
    weights = np.exp(logits)
    return np.prod(np.sum(values * weights / weights.sum(axis=1, keepdims=True), axis=2), axis=1)


def normal_case(key: jax.Array) -> tuple[Model, Params, jax.Array]:
    """The model of Rainforth et al. 2018 of one latent variable, off its optimum, and x [2, 1].

    q is wider than p(z|x), so that weights are bounded and their means almost normal.
    """
    x = rainforth.examples(key, 2, 1)
    params = rainforth.optimum(x)
    encoder = {
        "weights": params["encoder"]["weights"] + 0.1,
        "bias": params["encoder"]["bias"] - 0.2,
    }
    return rainforth.model(), {**params, "encoder": encoder}, x


def bits_case(key: jax.Array) -> tuple[Model, Params, jax.Array]:
    """A model of two latent bits and four pixels, and x [1, 4]."""
    model = vae(
        (4,), 2, encoder=networks.mlp(()), decoder=networks.mlp(()), latents=latents.bernoulli()
    )
    return model, model.init(key, jnp.full(4, 0.4)), jnp.array([[1.0, 0.0, 1.0, 1.0]])


def exact_case() -> tuple[Model, Params, linear_gaussian.LinearGaussian, jax.Array]:
    """A linear VAE of one latent variable whose encoder is the exact posterior, and x [3]."""
    weights, mean, std = jnp.array([1.2, -0.7, 0.4]), jnp.array([0.5, 0.1, -0.3]), 0.6
    model = vae(
        (3,),
        1,
        encoder=networks.mlp(()),
        decoder=networks.mlp(()),
        likelihood=heads.normal_fixed_scale(std),
    )
    precision = jnp.sum(weights**2) + std**2
    to_mean = weights / precision
    encoder = {
        "kernel": jnp.stack([to_mean, jnp.zeros(3)], axis=1),
        "bias": jnp.array([-jnp.sum(mean * to_mean), 0.5 * jnp.log(std**2 / precision)]),
    }
    params = {
        "encoder": {"output": encoder},
        "decoder": {"output": {"kernel": weights[None], "bias": mean}},
        "likelihood": {},
    }
    truth = linear_gaussian.LinearGaussian(weights[:, None], mean, jnp.asarray(std))
    return model, params, truth, jnp.array([1.0, -1.0, 0.5])


def oracles(key: jax.Array) -> list[Check]:
    """What other checks rely on: the same numbers by different ways."""
    normal_key, bits_key, sample_key = jax.random.split(key, 3)
    model, params, truth, x = exact_case()
    exact = linear_gaussian.log_evidence(truth, x)
    summed = jax.jit(lambda x: quadrature.integrate(model, params, x, points_per_axis=1001))(x)
    weights, mean, variance = (np.asarray(v, np.float64) for v in (*truth[:2], truth.std**2))
    covariance = weights @ weights.T + variance * np.eye(3)
    centred = np.asarray(x, np.float64) - mean
    host = -0.5 * (
        centred @ np.linalg.solve(covariance, centred)
        + np.linalg.slogdet(covariance)[1]
        + 3 * np.log(2.0 * np.pi)
    )
    _, other, (other_x, _) = normal_case(normal_key)
    equivalent = linear_gaussian.LinearGaussian(jnp.eye(1), other["prior"]["mean"], jnp.ones(()))
    # Its latent variable is z - mu.
    q_mean = rainforth.model().posterior(other, other_x).mean - other["prior"]["mean"]
    q_covariance = rainforth.POSTERIOR_VARIANCE * jnp.eye(1)
    bits, bits_params, bits_x = bits_case(bits_key)
    enumerated = enumeration.log_evidence(bits, bits_params, bits_x[0])
    keys = jax.random.split(sample_key, 10_000)
    log_w = jax.jit(lambda keys: models.draw(bits, bits_params, bits_x[0], keys).log_w)(keys)
    return [
        equal("linear_gaussian.log_evidence", "double precision on the host", exact, host),
        equal("quadrature.integrate", "linear-Gaussian, closed form", summed.log_evidence, exact),
        equal(
            "rainforth.log_evidence",
            "linear-Gaussian, closed form",
            rainforth.log_evidence(other, other_x),
            linear_gaussian.log_evidence(equivalent, other_x),
        ),
        equal(
            "rainforth.elbo",
            "linear-Gaussian, closed form",
            rainforth.elbo(other, other_x),
            linear_gaussian.elbo(equivalent, other_x, q_mean, q_covariance),
        ),
        mean_is("enumeration.log_evidence", "mean weight", np.exp(log_w - enumerated), 1.0),
        mean_is(
            "enumeration.elbo",
            "mean log-weight",
            log_w,
            enumeration.elbo(bits, bits_params, bits_x[0]),
        ),
    ]


def devices(key: jax.Array) -> list[Check]:
    """The ELBO of a batch of images: one by one, vmapped, compiled, and on the host."""
    init_key, x_key, noise_key = jax.random.split(key, 3)
    model = vae((8, 8, 1), 4, encoder=networks.mlp((32,)), decoder=networks.mlp((32,)))
    params = model.init(init_key, jnp.full((8, 8, 1), 0.3))
    x = jax.random.bernoulli(x_key, 0.3, (8, 8, 8, 1)).astype(jnp.float32)
    keys = jax.random.split(noise_key, len(x))

    def bound(x, key):
        return models.elbo(model, params, x, key)[0]

    def noise(x, key):
        q, draw = model.posterior(params, x), models.draw(model, params, x, key[None])
        return (draw.z[0] - q.mean) * jnp.exp(-q.log_std)

    one_by_one = [bound(*pair) for pair in zip(x[:2], keys[:2], strict=True)]
    vmapped = jax.jit(jax.vmap(bound))(x, keys)
    on_host = _elbo_on_host(params, x, jax.jit(jax.vmap(noise))(x, keys))
    sample = evidence.make_importance_sampler(model, 1, examples_at_once=4)
    again = sample(params, np.asarray(x), noise_key)
    whole = evidence.make_importance_sampler(model, 1)(params, np.asarray(x), noise_key)
    return [
        equal("elbo of one example", "float64 on the host", one_by_one, on_host[:2]),
        equal("elbo, vmapped and compiled", "float64 on the host", vmapped, on_host),
        equal("evidence in chunks", "evidence in one piece", again.elbo, whole.elbo),
    ]


def _elbo_on_host(params, x, noise):
    """The definition (Kingma & Welling 2014, eq. 10) in NumPy. noise: [N, L]. Returns [N]."""
    params, x, noise = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), (params, x, noise))

    def network(layers, h):
        hidden = h @ layers["Dense_0"]["kernel"] + layers["Dense_0"]["bias"]
        return np.maximum(hidden, 0.0) @ layers["output"]["kernel"] + layers["output"]["bias"]

    x = x.reshape(len(x), -1)
    mean, log_std = np.split(network(params["encoder"], x), 2, axis=1)
    logits = network(params["decoder"], mean + np.exp(log_std) * noise)
    reconstruction = np.sum(x * logits - np.logaddexp(0.0, logits), axis=1)
    kl = 0.5 * np.sum(mean**2 + np.exp(2.0 * log_std) - 1.0 - 2.0 * log_std, axis=1)
    return reconstruction - kl


def all_tuples(values: np.ndarray, length: int) -> np.ndarray:
    """[len(values) ** length, length]."""
    return np.array(list(itertools.product(values, repeat=length)))
