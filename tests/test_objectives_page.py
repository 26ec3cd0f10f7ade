"""docs/objectives.md names everything that there is, with its true defaults, and its code works."""

import inspect
import re
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.exact import linear_vae, random_encoder
from tests.monte_carlo import assert_mean
from vae_jax import objectives
from vae_jax.evidence import linear_gaussian
from vae_jax.models import draw_batch
from vae_jax.objectives import bounds, estimators, maximise
from vae_jax.objectives.by_name import ANNEALING, ESTIMATORS, OBJECTIVES

PAGE = (Path(__file__).parent.parent / "docs" / "objectives.md").read_text()
LINEAR = linear_vae()


def rows(title):
    """The cells of the table under a title, without backticks."""
    section = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")][1:]
    return [
        [cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines
    ]


def function(name):
    found = objectives
    for part in name.split("."):
        found = getattr(found, part)
    return found


def test_the_table_of_objectives_is_that_of_the_flag():
    table = rows("Objectives")
    assert [row[0] for row in table] == list(OBJECTIVES)
    for name, equation, function_name, options, paper in table:
        assert equation, name
        assert re.search(r" \d{4}, ((eq\.|alg\.) \d+|app\. [A-Z])$", paper), name
        given = dict(option[2:].split("=") for option in options.split())
        assert given == {k: str(v) for k, v in OBJECTIVES[name].options.items()}, name
        # The docstring of the function names the same paper and place.
        assert paper.partition(",")[0] in inspect.getdoc(function(function_name)), name


def test_every_bound_and_every_objective_of_the_library_is_on_the_page():
    public = {
        f"bounds.{name}"
        for name, value in vars(bounds).items()
        if inspect.isfunction(value) and value.__module__ == bounds.__name__ and name[0] != "_"
    }
    makers = {name for name in objectives.__all__ if inspect.isfunction(getattr(objectives, name))}
    assert [name for name in public | makers if f"`{name}" not in PAGE] == []


def test_the_table_of_estimators_is_that_of_the_flag():
    table = rows("Gradient estimators")
    assert [row[0] for row in table] == list(ESTIMATORS)
    for flag, _, name, _, paper in table:
        assert getattr(estimators, name) is ESTIMATORS[flag]
        assert paper.partition(",")[0] in inspect.getdoc(ESTIMATORS[flag])


def test_the_table_of_schedules_is_that_of_the_flag():
    table = rows("Schedules")
    assert [row[0] for row in table] == list(ANNEALING)
    assert all(callable(function(name)) for _, name, _ in table)
    annealed = re.search(r"its value within `--anneal_epochs`: (.*?)\.\s", PAGE, re.S)[1]
    assert re.findall(r"`(\w+)`", annealed) == [n for n, c in OBJECTIVES.items() if c.annealed]


@pytest.fixture(scope="module")
def examples():
    """The names that the code of the page defines; a bound in ten lines, an objective in forty."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    assert len(blocks) == 2
    scope = {}
    for block, most_lines in zip(blocks, (10, 40), strict=True):
        assert len([line for line in block.splitlines() if line.strip()]) <= most_lines
        exec(block, scope)
    return scope


def test_the_added_bound_is_its_definition_and_has_less_bias_than_iwae(examples):
    jackknife = examples["jackknife"]
    log_w = np.random.default_rng(0).normal(size=(4, 3))
    iwae = lambda log_w: np.log(np.exp(log_w).mean(axis=0))  # noqa: E731
    without = np.mean([iwae(np.delete(log_w, k, axis=0)) for k in range(4)], axis=0)
    np.testing.assert_allclose(
        jax.jit(jackknife)(jnp.asarray(log_w)), 4 * iwae(log_w) - 3 * without, rtol=1e-5
    )

    @jax.jit
    def biases(params):
        keys = jax.random.split(jax.random.key(0), (4, 5 * 4_000))
        x = jnp.repeat(LINEAR.x[:1], keys.shape[1], axis=0)
        log_w = draw_batch(LINEAR.model, params, x, keys).log_w
        exact = linear_gaussian.log_evidence(LINEAR.truth, LINEAR.x[0])
        return [exact - jnp.mean(bound(log_w)) for bound in (bounds.iwae, jackknife)]

    of_iwae, of_jackknife = biases(random_encoder(LINEAR.exact_params, 0))
    assert abs(of_jackknife) < 0.3 * of_iwae


def test_the_added_bound_has_an_unbiased_doubly_reparameterised_gradient(examples):
    params = random_encoder(LINEAR.exact_params, 0)

    def difference(key):
        def loss(params, estimator):
            keys = jax.random.split(key, (4, 5))
            draw_fn = partial(draw_batch, LINEAR.model, params, LINEAR.x, keys)
            objective = maximise(examples["jackknife"], estimator)
            return objective.loss((), 0, key, draw_fn)[0]

        both = (estimators.doubly_reparameterised, estimators.pathwise)
        dreg, pathwise = (jax.grad(loss)(params, e)["encoder"]["output"]["bias"] for e in both)
        return dreg - pathwise

    keys = jax.random.split(jax.random.key(0), 4_000)
    assert_mean(jax.jit(jax.vmap(difference))(keys), 0.0)


def test_the_added_objective_pulls_the_aggregate_posterior_to_the_prior(examples):
    """Its distance is zero where the samples are, and grows as they move away."""
    objective = examples["sliced_wae"](10.0)
    x = jnp.repeat(LINEAR.x, 40, axis=0)
    keys = jax.random.split(jax.random.key(0), (1, len(x)))

    @jax.jit
    def measure(shift, weights):
        encoder = {
            "kernel": weights * LINEAR.exact_params["encoder"]["output"]["kernel"],
            "bias": jnp.zeros(4).at[0].set(shift),
        }
        params = {**LINEAR.exact_params, "encoder": {"output": encoder}}
        draw_fn = partial(draw_batch, LINEAR.model, params, x, keys)
        loss, (_, metrics) = objective.loss((), 0, jax.random.key(1), draw_fn)
        return loss, metrics

    def report(shift, weights):
        loss, metrics = measure(shift, weights)
        expected = 10.0 * metrics["sliced_wasserstein"] - metrics["reconstruction"]
        np.testing.assert_allclose(loss, expected, rtol=1e-5)
        return float(metrics["sliced_wasserstein"])

    assert report(0.0, 0.0) < 0.1  # q(z|x) = p(z)
    # A shift by 3 of one of two latents: 9 times the mean squared cosine, which is 1/2.
    np.testing.assert_allclose(report(3.0, 0.0), 4.5, rtol=0.2)
