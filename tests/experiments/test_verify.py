"""experiments.verify: it passes here, and a library that is wrong is named by the right check."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import verify_checks, verify_evidence, verify_objectives
from experiments.verify_checks import equal, mean_is, mean_is_at_most, not_above
from vae_jax import evidence
from vae_jax.distributions import Bernoulli, Categorical, Normal
from vae_jax.evidence import enumeration, hmc, rainforth
from vae_jax.objectives import bounds, dip, estimators, mmd, total_correlation

DENSITIES, ORACLES = verify_checks.densities, verify_checks.oracles
BOUNDS, GRADIENTS = verify_objectives.bounds_of_log_evidence, verify_objectives.gradients
PENALTIES, EVIDENCE = verify_objectives.penalties, verify_evidence.estimates


@pytest.mark.slow
def test_everything_holds_on_this_machine(command):
    result = command.call("verify")
    assert result.code == 0, result.out + result.err
    assert result.out.splitlines()[-1].endswith("checks, all hold.")
    assert result.err == ""
    for group in (
        "densities",
        "oracles",
        "bounds",
        "gradients",
        "penalties",
        "evidence",
        "devices",
    ):
        assert f"\n{group} " in result.out
    assert "default matmul precision" in result.out
    assert not (command.folder / "runs").exists()


def test_a_wrong_library_is_one_sentence_and_exit_code_1(command):
    """A Python that starts with a KL of the wrong sign."""
    wrong = (
        "import runpy, experiments; from vae_jax.distributions import Normal; "
        "right = Normal.kl_per_dim; Normal.kl_per_dim = lambda q, p: -right(q, p); "
        "runpy.run_module('experiments.verify', run_name='__main__', alter_sys=True)"
    )
    result = command.python("-c", wrong, "--only=densities")
    assert result.code == 1, result
    assert "1 of 11 checks do not hold: densities: Normal.kl_per_dim." in result.err
    assert result.err.count("\n") == 1
    (line,) = (line for line in result.out.splitlines() if "Normal.kl_per_dim" in line)
    assert line.endswith("FAILS")
    assert "all hold" not in result.out


@pytest.mark.parametrize("flag", ["--only=everything", "--only=", "--seed=-1", "--runs=3"])
def test_bad_flags_are_one_sentence(command, flag):
    result = command.call("verify", flag)
    assert result.code == 2
    assert result.err.startswith("Error: ")
    assert result.err.count("\n") == 1
    assert "Verifying" not in result.out


def changed(function, change):
    return lambda *args, **kwargs: change(function(*args, **kwargs))


def shifted(function, by):
    return changed(function, lambda value: value + by)


def wrong_log_joint(model, params, x):
    z, values = right_log_joint(model, params, x)
    return z, values + 0.1


def always_accepted(log_density, z, key, step_size, num_steps):
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
        DENSITIES,
        {"Normal.log_prob"},
    ),
    "samples of a variance": (
        Normal,
        "sample",
        lambda q, key: q.mean + jnp.exp(2.0 * q.log_std) * jax.random.normal(key, q.mean.shape),
        DENSITIES,
        {"Normal.sample, four moments", "d sample / d log std of Normal"},
    ),
    "KL of bits turned round": (
        Bernoulli,
        "kl_per_dim",
        (lambda right: lambda q, p: right(p, q))(Bernoulli.kl_per_dim),
        DENSITIES,
        {"Bernoulli.kl_per_dim"},
    ),
    "categories of doubled logits": (
        Categorical,
        "sample",
        (lambda right: lambda q, key: right(Categorical(2.0 * q.logits), key))(Categorical.sample),
        DENSITIES,
        {"Categorical.sample, frequencies"},
    ),
    "closed form of the evidence": (
        rainforth,
        "log_evidence",
        shifted(rainforth.log_evidence, 1e-3),
        ORACLES,
        {"rainforth.log_evidence"},
    ),
    "enumeration": (
        enumeration,
        "log_joint",
        wrong_log_joint,
        ORACLES,
        {"enumeration.log_evidence", "enumeration.elbo"},
    ),
    "iwae of another K": (
        bounds,
        "iwae",
        shifted(bounds.iwae, np.log(4 / 3)),
        BOUNDS,
        {"iwae, K=4", "iwae, K=2, of bits", "iwae is below log p(x)"},
    ),
    "tvo is the elbo": (bounds, "tvo", lambda num_intervals: bounds.elbo, BOUNDS, {"tvo:3, K=4"}),
    "dreg is stl": (
        estimators,
        "doubly_reparameterised",
        estimators.sticking_the_landing,
        GRADIENTS,
        {"dreg of iwae, K=4"},
    ),
    "stl is pathwise": (
        estimators,
        "sticking_the_landing",
        estimators.pathwise,
        GRADIENTS,
        {"stl at the exact posterior"},
    ),
    "vimco without its score": (
        estimators,
        "vimco",
        lambda bound, draw_fn, term=estimators.log_w: (
            bound((draw := draw_fn(path=False)).log_w),
            draw,
        ),
        GRADIENTS,
        {"vimco of iwae, K=4", "vimco of iwae, K=2 of bits"},
    ),
    "concrete of another temperature": (
        estimators,
        "concrete",
        (lambda right: lambda temperature: right(2.0 * temperature))(estimators.concrete),
        GRADIENTS,
        {"concrete:0.5 of elbo, K=1 of relaxed bits"},
    ),
    "total correlation of the other sign": (
        total_correlation,
        "decompose_kl",
        changed(
            total_correlation.decompose_kl,
            lambda parts: parts._replace(total_correlation=-parts.total_correlation),
        ),
        PENALTIES,
        {"decompose_kl of all data"},
    ),
    "covariance of B - 1": (
        dip,
        "covariance",
        changed(dip.covariance, lambda matrix: 1.2 * matrix),
        PENALTIES,
        {"dip_vae_i penalty", "dip_vae_ii penalty"},
    ),
    "mmd with its diagonal": (mmd, "mmd", shifted(mmd.mmd, 0.1), PENALTIES, {"mmd of two normals"}),
    "transitions without rejection": (
        hmc,
        "transition",
        always_accepted,
        EVIDENCE,
        {"hmc leaves the covariance alone"},
    ),
    "chains that stand still": (
        hmc,
        "transition",
        lambda log_density, z, key, *args, **kwargs: hmc.Transition(z, 1.0),
        EVIDENCE,
        {"hmc forgets where it began"},
    ),
    "Pareto shape of the other sign": (
        evidence,
        "pareto_shape",
        changed(evidence.pareto_shape, np.negative),
        EVIDENCE,
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
    if group is GRADIENTS:  # of two bounds, which are compiled sooner
        pairs = changed(verify_objectives.bound_pairs, of_iwae)
        monkeypatch.setattr(verify_objectives, "bound_pairs", pairs)
    with jax.default_matmul_precision("highest"):
        checks = group(jax.random.key(0))
    failed = {check.what for check in checks if not check.holds}
    assert expected <= failed
    assert len(failed) <= 0.5 * len(checks)


def test_checks_hold_of_what_is_right_and_not_of_what_is_wrong_or_nan():
    samples = np.random.default_rng(0).normal(size=(1_000, 2)) + np.array([1.0, 2.0])
    right = mean_is("", "", samples, [1.0, 2.0])
    error = samples.std(axis=0, ddof=1) / np.sqrt(1_000)
    z = np.abs(samples.mean(axis=0) - [1.0, 2.0]) / error
    np.testing.assert_allclose(right.value, z.max(), rtol=1e-3)
    assert right.holds
    assert not mean_is("", "", samples, [1.0, 2.2]).holds
    assert not mean_is("", "", samples, [1.0, np.nan]).holds
    assert mean_is_at_most("", "", samples[:, 0], 1.5).value == 0.0
    assert not mean_is_at_most("", "", samples[:, 0], 0.8).holds
    assert not mean_is_at_most("", "", samples[:, 0], np.nan).holds
    assert equal("", "", [1.0, 1e3], [1.0, 1e3 + 1e-3]).holds
    assert not equal("", "", [1.0, 1e3], [1.0001, 1e3]).holds
    assert not equal("", "", np.nan, 1.0).holds
    assert not_above("", "", [0.0, 1.0], [0.5, 1.0]).holds
    assert not not_above("", "", [0.0, 1.1], [0.5, 1.0]).holds
    assert not not_above("", "", np.nan, 1.0).holds


def test_tolerances_are_such_that_a_thousand_tables_are_right():
    """Of 95 checks of normal numbers, each the largest of any number of them."""
    for count in (1, 7, 50):
        tolerance = verify_checks.largest_z("", "", 0.0, count).tolerance
        z = np.random.default_rng(0).normal(size=(20_000, count))
        assert np.mean(np.max(np.abs(z), axis=1) > tolerance) < 1e-3
        assert tolerance < 5.5
