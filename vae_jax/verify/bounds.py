"""Checks of the bounds on log p(x): their means, and their order."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax import models
from vae_jax.evidence import rainforth
from vae_jax.objectives import bounds
from vae_jax.verify import exact_bounds
from vae_jax.verify.cases import bits_case, normal_case
from vae_jax.verify.check import Check, mean_is, mean_is_at_most, not_above


def checks(key: jax.Array) -> list[Check]:
    """Checks the means of the bounds, and their order among each other and log p(x)."""
    case_key, noise_key, bits_key, pair_key = jax.random.split(key, 4)
    model, params, x = normal_case(case_key)
    x, pairs = x[0], exact_bounds.bound_pairs()
    keys = jax.random.split(noise_key, (exact_bounds.NUM_SAMPLES, 30_000))

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
            name: exact_bounds.exact_of_normal(direct, params, x)
            for name, (_, direct) in pairs.items()
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
        not_above(f"{low} <= {high}", "every single draw", values[low], values[high])
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
            exact_bounds.exact_of_bits(pairs[name][1], bits, bits_params, bits_x[0]),
        )
        for name in ("elbo", "iwae", "renyi:0.5")
    ]
