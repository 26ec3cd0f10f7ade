"""A library that is made wrong on purpose is named by the right check, and by few others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax import evidence, verify
from vae_jax.distributions import Bernoulli, Categorical, Normal
from vae_jax.evidence import enumeration, hmc, rainforth
from vae_jax.objectives import bounds, dip, estimators, mmd, total_correlation
from vae_jax.verify import exact_bounds


def changed(function, change):
    return lambda *args, **kwargs: change(function(*args, **kwargs))


def shifted(function, by):
    return changed(function, lambda value: value + by)


def wrong_log_joint(model, params, x):
    z, values = right_log_joint(model, params, x)
    return z, values + 0.1


def always_accepted(log_density, z, key, step_size, num_steps, *, on_sphere=False):
    assert not on_sphere
    momentum = jax.random.normal(key, z.shape)
    z, _ = hmc.leapfrog(log_density, z, momentum, step_size, num_steps)
    return hmc.Transition(z, jnp.ones(()))


right_log_joint = enumeration.log_joint

# what is wrong -> (where, its name, what stands there instead, the group, the checks that fail)
WRONG = {
    "log_prob without its constant": (
        Normal,
        "log_prob",
        shifted(Normal.log_prob, 0.9),
        "densities",
        {"Normal.log_prob"},
    ),
    "samples of a variance": (
        Normal,
        "sample",
        lambda q, key: q.mean + jnp.exp(2.0 * q.log_std) * jax.random.normal(key, q.mean.shape),
        "densities",
        {"Normal.sample, four moments", "d sample / d log std of Normal"},
    ),
    "KL of bits turned round": (
        Bernoulli,
        "kl_per_dim",
        (lambda right: lambda q, p: right(p, q))(Bernoulli.kl_per_dim),
        "densities",
        {"Bernoulli.kl_per_dim"},
    ),
    "categories of doubled logits": (
        Categorical,
        "sample",
        (lambda right: lambda q, key: right(Categorical(2.0 * q.logits), key))(Categorical.sample),
        "densities",
        {"Categorical.sample, frequencies"},
    ),
    "closed form of the evidence": (
        rainforth,
        "log_evidence",
        shifted(rainforth.log_evidence, 1e-3),
        "oracles",
        {"rainforth.log_evidence"},
    ),
    "enumeration": (
        enumeration,
        "log_joint",
        wrong_log_joint,
        "oracles",
        {"enumeration.log_evidence", "enumeration.elbo"},
    ),
    "iwae of another K": (
        bounds,
        "iwae",
        shifted(bounds.iwae, np.log(4 / 3)),
        "bounds",
        {"iwae, K=4", "iwae, K=2, of bits", "iwae is below log p(x)"},
    ),
    "tvo is the elbo": (bounds, "tvo", lambda num_intervals: bounds.elbo, "bounds", {"tvo:3, K=4"}),
    "dreg is stl": (
        estimators,
        "doubly_reparameterised",
        estimators.sticking_the_landing,
        "gradients",
        {"dreg of iwae, K=4"},
    ),
    "stl is pathwise": (
        estimators,
        "sticking_the_landing",
        estimators.pathwise,
        "gradients",
        {"stl at the exact posterior"},
    ),
    "vimco without its score": (
        estimators,
        "vimco",
        lambda bound, draw_fn, term=estimators.log_w: (
            bound((draw := draw_fn(path=False)).log_w),
            draw,
        ),
        "gradients",
        {"vimco of iwae, K=4", "vimco of iwae, K=2 of bits"},
    ),
    "concrete of another temperature": (
        estimators,
        "concrete",
        (lambda right: lambda temperature: right(2.0 * temperature))(estimators.concrete),
        "gradients",
        {"concrete:0.5 of elbo, K=1 of relaxed bits"},
    ),
    "total correlation of the other sign": (
        total_correlation,
        "decompose_kl",
        changed(
            total_correlation.decompose_kl,
            lambda parts: parts._replace(total_correlation=-parts.total_correlation),
        ),
        "penalties",
        {"decompose_kl of all data"},
    ),
    "covariance of B - 1": (
        dip,
        "covariance",
        changed(dip.covariance, lambda matrix: 1.2 * matrix),
        "penalties",
        {"dip_vae_i penalty", "dip_vae_ii penalty"},
    ),
    "mmd with its diagonal": (
        mmd,
        "mmd",
        shifted(mmd.mmd, 0.1),
        "penalties",
        {"mmd of two normals"},
    ),
    "transitions without rejection": (
        hmc,
        "transition",
        always_accepted,
        "evidence",
        {"hmc leaves the covariance alone"},
    ),
    "chains that stand still": (
        hmc,
        "transition",
        lambda log_density, z, key, *args, **kwargs: hmc.Transition(z, 1.0),
        "evidence",
        {"hmc forgets where it began"},
    ),
    "Pareto shape of the other sign": (
        evidence,
        "pareto_shape",
        changed(evidence.pareto_shape, np.negative),
        "evidence",
        {"pareto_shape of 50 samples"},
    ),
}


def of_iwae(pairs):
    return {name: pairs[name] for name in ("elbo", "iwae")}


@pytest.mark.slow
@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_caught_by_its_check(monkeypatch, name):
    """And by few others."""
    where, attribute, instead, group, expected = WRONG[name]
    monkeypatch.setattr(where, attribute, instead)
    if group == "gradients":  # of two bounds, which are compiled sooner
        pairs = changed(exact_bounds.bound_pairs, of_iwae)
        monkeypatch.setattr(exact_bounds, "bound_pairs", pairs)
    checks = verify.run_group(group, jax.random.key(0))
    failed = {check.what for check in checks if not check.holds}
    assert expected <= failed
    assert len(failed) <= 0.5 * len(checks)
