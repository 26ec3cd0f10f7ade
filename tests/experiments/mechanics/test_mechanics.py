"""The lesson: its rules against closed forms, its checks against what is wrong, its command."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments.mechanics import bayes, fit, generation, identity, lesson, pathways, rules, terms
from experiments.mechanics import training as mechanics_training
from experiments.mechanics.lesson import Check
from experiments.mechanics.linear import linear_vae
from tests.monte_carlo import assert_mean
from vae_jax.distributions import Normal
from vae_jax.errors import DoesNotHoldError
from vae_jax.evidence import linear_gaussian
from vae_jax.models import draw_batch
from vae_jax.objectives import bounds, estimators


@pytest.fixture(scope="module")
def linear():
    """A linear-Gaussian VAE in double precision, everything measured and in closed form."""
    with jax.enable_x64(True):
        return linear_vae(jax.random.key(3))


@pytest.fixture(scope="module")
def measured(linear):
    with jax.enable_x64(True):
        return jax.device_get(rules.measure(linear.model, linear.params, linear.x))


@pytest.mark.usefixtures("float64")
def test_every_rule_is_its_closed_form_on_a_linear_gaussian_model(linear, measured):
    posterior, found = measured
    log_evidence = linear_gaussian.log_evidence(linear.truth, linear.x)
    mean, covariance = linear_gaussian.posterior(linear.truth, linear.x)
    np.testing.assert_allclose(posterior.log_evidence, log_evidence, rtol=0, atol=1e-10)
    np.testing.assert_allclose(posterior.log_normaliser, log_evidence, rtol=0, atol=1e-10)
    np.testing.assert_allclose(posterior.mean, mean, rtol=0, atol=1e-9)
    np.testing.assert_allclose(posterior.std, np.sqrt(np.diagonal(covariance)), rtol=1e-9)
    q = linear.model.posterior(linear.params, linear.x)
    gap = linear_gaussian.normal_kl(q.mean, jnp.diag(jnp.exp(2.0 * q.log_std)), mean, covariance)
    np.testing.assert_allclose(found.gap, gap, rtol=0, atol=1e-10)
    # E_q of a quadratic function, from its value at the mean and its curvature.
    precision = linear.truth.weights.T @ linear.truth.weights / linear.truth.std**2
    at_mean = linear.model.likelihood(linear.params, q.mean).log_prob(linear.x)
    spread = 0.5 * jnp.sum(jnp.diagonal(precision) * jnp.exp(2.0 * q.log_std))
    np.testing.assert_allclose(found.reconstruction, at_mean - spread, rtol=0, atol=1e-10)
    kl = 0.5 * jnp.sum(q.mean**2 + jnp.exp(2.0 * q.log_std) - 2.0 * q.log_std - 1.0)
    np.testing.assert_allclose([found.kl, found.summed_kl], [kl, kl], rtol=0, atol=1e-10)
    assert abs(found.residual) < 1e-10
    assert abs(gap) > 0.1  # not a trivial case


def test_the_residual_is_no_tautology(measured):
    """An error in any of the four numbers shows."""
    found = measured[1]
    for name in ("log_evidence", "gap", "reconstruction", "kl"):
        wrong = found._replace(**{name: getattr(found, name) + 1e-3})
        np.testing.assert_allclose(abs(wrong.residual), 1e-3, rtol=1e-6)


@pytest.mark.slow
def test_wrong_densities_of_the_library_are_noticed(monkeypatch, linear):
    """Bayes' theorem and the decomposition with a constant of the normal density missing."""
    key = jax.random.key(0)
    assert bayes.bayes_residual(key) < 1e-10
    assert identity.closed_residual(key) < 1e-10
    right = Normal.log_prob_per_dim
    monkeypatch.setattr(Normal, "log_prob_per_dim", lambda self, z: right(self, z) + 1e-4)
    assert bayes.bayes_residual(key) > 1e-5
    assert identity.closed_residual(key) > 1e-5


@pytest.mark.usefixtures("float64")
def test_the_fit_ends_at_the_best_diagonal_posterior(linear, measured):
    """Its mean, variances and gap are closed forms; on the way the sum stays log p(x)."""
    start = linear.model.prior(linear.params)
    path, values = fit.fit(linear.model, linear.params, linear.x, start)
    mean, variances, gap = linear_gaussian.best_diagonal(linear.truth, linear.x)
    np.testing.assert_allclose(path.mean[-1], mean, atol=1e-3)
    np.testing.assert_allclose(np.exp(2.0 * path.log_std[-1]), variances, rtol=1e-3)
    some = jax.tree.map(lambda leaf: leaf[np.array([0, 10, 300])], path)
    found = fit.decompose_each(linear.model, linear.params, linear.x, some, measured[0])
    np.testing.assert_allclose(found.gap[-1], gap, atol=1e-5)
    np.testing.assert_allclose(found.elbo, values[np.array([0, 10, 300])], atol=1e-8)
    assert np.max(np.abs(found.residual)) < 1e-10
    np.testing.assert_array_equal(path.mean[0], start.mean)


@pytest.mark.slow
def test_both_gradients_have_the_exact_mean(linear):
    """It is the gradient of the closed form of the ELBO, on the linear-Gaussian model."""
    q = Normal(jnp.array([0.2, -0.3]), jnp.array([-0.4, 0.1]))
    with jax.enable_x64(True):
        exact = pathways.exact_gradient(linear.model, linear.params, linear.x, rules.double(q))

        def value(q):
            covariance = jnp.diag(jnp.exp(2.0 * q.log_std))
            return linear_gaussian.elbo(linear.truth, linear.x, q.mean, covariance)

        closed = jax.grad(value)(rules.double(q))
    np.testing.assert_allclose(exact, np.concatenate([closed.mean, closed.log_std]), atol=1e-9)
    params, x = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), (linear.params, linear.x))
    local = pathways.unamortised(linear.model, params)
    keys = jax.random.split(jax.random.key(1), 4000)
    variances = {}
    for estimator in (estimators.pathwise, estimators.score_function):
        gradient = pathways.gradients.bound_gradient(local, bounds.elbo, estimator, x[None], 1)
        values = pathways.estimate_each(gradient, q, keys)
        assert values.shape == (4000, 4)
        assert_mean(values, exact)
        variances[estimator] = values.var(axis=0).sum()
    assert variances[estimators.score_function] > 3 * variances[estimators.pathwise]


@pytest.mark.usefixtures("float64")
def test_the_mean_of_what_is_generated_is_that_of_the_decoder(linear):
    """E[x] of a linear-Gaussian model is its offset."""
    image, mass = generation.expected_image(linear.model, linear.params)
    np.testing.assert_allclose(image, linear.truth.mean, atol=1e-10)
    np.testing.assert_allclose(mass, 1.0, atol=1e-10)


def test_prior_samples_weighed_by_the_likelihood_are_the_posterior(linear, measured):
    params, x = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), (linear.params, linear.x))
    log_evidence = measured[0].log_evidence
    weights, z = bayes.sampled_weights(linear.model, params, x, log_evidence, jax.random.key(2))
    assert_mean(weights, 1.0)
    assert_mean(weights[:, None] * (z - measured[0].mean), np.zeros(2))


def test_the_elbo_of_the_library_is_sampled_and_summed(linear):
    params, x = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), (linear.params, linear.x))
    sampled, exact = terms.measure_both(linear.model, params, x, jax.random.key(4))
    assert_mean(sampled, exact.elbo)
    assert lesson.t_statistic(sampled, exact.log_evidence) > 4.0


@pytest.mark.slow
def test_the_kl_alone_is_what_its_objective_minimises(linear):
    params, x = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), (linear.params, linear.x))
    objective = mechanics_training.only_kl()
    keys = jax.random.split(jax.random.key(5), (1, 2))

    def loss(params):
        draw_fn = partial(draw_batch, linear.model, params, jnp.stack([x, x]), keys)
        value, (_, metrics) = objective.loss((), 0, jax.random.key(6), draw_fn)
        return value, metrics

    (value, metrics), gradient = jax.value_and_grad(loss, has_aux=True)(params)
    q = linear.model.posterior(params, x)
    kl = 0.5 * jnp.sum(q.mean**2 + jnp.exp(2.0 * q.log_std) - 2.0 * q.log_std - 1.0)
    np.testing.assert_allclose([value, metrics["kl"]], [kl, kl], rtol=1e-5)
    np.testing.assert_allclose(metrics["elbo"], metrics["reconstruction"] - kl, rtol=1e-5)
    bias = gradient["encoder"]["output"]["bias"]
    expected = jnp.concatenate([q.mean, jnp.exp(2.0 * q.log_std) - 1.0])
    np.testing.assert_allclose(bias, expected, rtol=1e-4)
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(gradient["decoder"]))


def test_kept_epochs_are_spread_and_end_with_the_last():
    assert mechanics_training.kept_epochs(1) == [0, 1]
    kept = mechanics_training.kept_epochs(30)
    assert kept[0] == 0
    assert kept[-1] == 30
    assert kept == sorted(set(kept))
    assert 7 <= len(kept) <= 9


GOOD = Check("a = b", "by counting", 0.5, 1.0)


@pytest.mark.parametrize("residual", [1.1, float("nan"), float("inf")])
def test_what_does_not_hold_is_named(residual):
    wrong = Check("c = d", "by guessing", residual, 1.0)
    lesson.require_all([(1, GOOD)])
    with pytest.raises(DoesNotHoldError, match=r"1 of 2 do not hold: c = d \(step 3\)"):
        lesson.require_all([(1, GOOD), (3, wrong)])
    lines = lesson.table([(1, GOOD), (3, wrong)]).splitlines()
    assert lines[1].endswith("yes")
    assert lines[2].endswith("NO")
    assert max(map(len, lines)) <= 100


def test_inequalities_hold_up_to_zero():
    assert Check("a < b", "", -3.0, 0.0).holds
    assert Check("a < b", "", 0.0, 0.0).holds
    assert not Check("a < b", "", 1e-12, 0.0).holds


@pytest.fixture
def lesson_of(command):
    """Runs `python -m experiments.mechanics`, as a user would."""

    return partial(command.call, "mechanics")


def found_in(folder):
    return json.loads((folder / "mechanics.json").read_text())


@pytest.mark.slow
def test_the_lesson_holds_and_is_shown(command, lesson_of):
    result = lesson_of(f"--dataset={command.data}", "--epochs=200", "--output=lesson")
    assert result.code == 0, result.out + result.err
    assert result.err == ""
    lines = result.out.splitlines()
    assert max(map(len, lines)) <= 100
    steps = [line for line in lines if line.startswith("Step ")]
    assert [line[:7] for line in steps] == [f"Step {number}." for number in range(1, 7)]
    table = lines[next(i for i, line in enumerate(lines) if "holds?" in line) + 1 :]
    found = found_in(command.folder / "lesson")
    checks = [(i, check) for i, step in enumerate(found["steps"], 1) for check in step["checks"]]
    assert {number for number, _ in checks} == {1, 2, 3, 4, 5, 6}
    for line, (number, check) in zip(table, checks, strict=False):
        assert line.startswith(f"{number}  {check['equation']} ")
        assert line.endswith("yes")
        assert check["holds"]
    assert not table[len(checks)]  # and then no more
    of_images = found["steps"][2]["numbers"]["test_images"]
    sums = np.add(of_images["gap"], of_images["elbo"])
    np.testing.assert_allclose(sums, of_images["log_evidence"], atol=1e-6)
    names = {path.stem for path in (command.folder / "lesson").glob("*.png")}
    assert {name[0] for name in names} == set("123456")
    for name in names:
        with Image.open(command.folder / "lesson" / f"{name}.png") as image:
            assert len(np.unique(np.asarray(image))) > 10  # drawn on
    assert {"jax", "vae_jax", "commit"} <= set(found["versions"])


@pytest.mark.slow
def test_an_equation_that_does_not_hold_is_exit_code_1(command, lesson_of):
    """After one step the KL that is trained alone is far from zero."""
    result = lesson_of(f"--dataset={command.data}", "--epochs=1", "--output=short")
    assert result.code == 1, result.out + result.err
    assert "do not hold: " in result.err
    assert "q(z|x) = p(z) (step 4)" in result.err
    assert result.err.count("\n") == 1
    assert "Traceback" not in result.err
    wrong = [
        check["equation"]
        for step in found_in(command.folder / "short")["steps"]
        for check in step["checks"]
        if not check["holds"]
    ]
    assert all(f"{equation} (step" in result.err for equation in wrong)
    assert result.out.count("  NO\n") == len(wrong)


def test_bad_input_is_one_sentence_before_any_work(command, lesson_of):
    few = command.folder / "few.npz"
    np.savez(few, x_train=np.zeros((40, 8, 8), np.uint8), x_test=np.zeros((9, 8, 8), np.uint8))
    cases = {
        ("--output=/proc/lesson",): "--output=/proc/lesson cannot be written",
        ("--dataset=cifar", "--output=bad"): "no data set 'cifar'",
        (f"--dataset={few}", "--output=bad"): "has 9 test images, and the lesson shows 10",
        ("--dataset=mnist", "--data_dir=s3://mnist"): "data_dir is s3://mnist but must be a folder",
        ("--epochs=0",): "--epochs=0",
    }
    for given, message in cases.items():
        result = lesson_of(*given)
        assert result.code == 2, result
        assert message in result.err
        assert result.err.startswith("Error: ")
        assert result.err.count("\n") == 1
        assert "Training" not in result.out
