"""Runs with each posterior and each prior: trained, evaluated, drawn, loaded again."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vae_jax as vj
from vae_jax import data
from vae_jax.config import Config
from vae_jax.errors import BadInputError
from vae_jax.evaluation import Budget
from vae_jax.models.posteriors import POSTERIORS
from vae_jax.models.spec import CAUSAL, PRIORS

RNG = np.random.default_rng(0)
PIXELS = np.kron(RNG.integers(0, 2, (160, 2, 2)), np.ones((1, 2, 2))) * 255
DATASET = data.from_arrays(PIXELS.astype(np.uint8), labels=np.arange(160) % 3)
SMALL = Config(
    latent_dim=2,
    hidden=(8,),
    network="mlp",
    epochs=6,
    batch_size=20,
    learning_rate=5e-3,
    nll_samples=20,
    warmup_steps=0,
)
BUDGET = Budget(num_examples=4, chains=4, temperatures=30, iwae_samples=50)
FLOWS = {"num_flows": 2, "flow_hidden": (8,)}


def options_of(posterior, prior):
    with_networks = posterior in ("iaf", "coupling", "spline") or prior == "flow"
    options = FLOWS if with_networks else {"num_flows": 2} if POSTERIORS[posterior].is_flow else {}
    return options if PRIORS[prior] is None else {**options, "prior_components": 7}


COMBINATIONS = [
    *((posterior, "normal") for posterior in POSTERIORS),
    *(
        ("diagonal", prior)
        for prior in PRIORS
        if prior not in ("normal", "conditional", "autoregressive", *CAUSAL)
    ),
    ("full", "vamp"),
    ("mixture", "exemplar"),
    ("coupling", "vamp"),
    ("sylvester", "flow"),
    ("uha", "vamp"),
    ("vmf", "vamp"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("posterior", "prior"), COMBINATIONS)
def test_runs_of_every_posterior_and_prior_are_evaluated_drawn_and_loaded(
    tmp_path, posterior, prior
):
    options = options_of(posterior, prior)
    config = dataclasses.replace(SMALL, posterior=posterior, prior=prior, **options)
    run = vj.fit(config, DATASET, tmp_path / "run", listeners=[])
    elbos = [row["train_elbo"] for row in run.history]
    assert elbos[-1] > elbos[0]
    assert run.summary["test_nll"] <= -run.summary["test_elbo"] + 0.2
    assert (run.folder.figures / "samples.png").exists()
    loaded = vj.load(tmp_path / "run")
    jax.tree.map(np.testing.assert_array_equal, loaded.params, run.params)
    x = run.as_evaluated(DATASET.test.x[:3])
    assert loaded.sample(jax.random.key(0), 4).shape == (4, 4, 4, 1)
    assert loaded.interpolate(x, x[::-1], steps=3).shape == (3, 3, 4, 4, 1)


EVALUATED = [
    *(("iaf", "normal"), ("sylvester", "flow"), ("full", "vamp"), ("mixture", "exemplar")),
    ("uha", "normal"),
    ("vmf", "normal"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("posterior", "prior"), EVALUATED)
def test_evaluation_of_every_kind_of_posterior_and_prior(tmp_path, posterior, prior):
    options = options_of(posterior, prior)
    config = dataclasses.replace(SMALL, posterior=posterior, prior=prior, **options)
    run = vj.fit(config, DATASET, tmp_path / "run", listeners=[])
    found = vj.evaluation.evaluate(run, BUDGET, listeners=[])
    known, latents = found.numbers["log_evidence"], found.numbers["latent_space"]
    is_flow = posterior in ("iaf", "sylvester", "uha")
    assert known["start"] == ("normal" if is_flow else "posterior")
    assert abs(known["annealed_minus_exact"][0]) < 0.3
    low, high = known["interval"]
    assert low - 0.3 < known["exact"][0] < high + 0.3
    gaps = found.numbers["gaps"]["test"]
    assert gaps["elbo"][0] < gaps["best_elbo"][0] + 0.1 < known["exact"][0] + 0.2
    assert (latents["unit_kl"] is None) == (is_flow or posterior == "vmf")
    has_density = posterior not in ("sylvester", "uha")
    assert (latents["marginal_kl"] is not None) == has_density
    assert ("Not measured: the parts of the KL" in found.text) == (not has_density)
    assert (found.folder / "latents.png").exists()


@pytest.mark.slow
def test_what_another_run_brings_is_said_example_by_example(tmp_path):
    runs = [
        vj.fit(dataclasses.replace(SMALL, **options), DATASET, tmp_path / name, listeners=[])
        for name, options in (("a", {}), ("b", {"prior": "mixture", "prior_components": 3}))
    ]
    found = vj.evaluation.evaluate(runs[0], BUDGET, against=runs[1], listeners=[])
    ours, theirs = (np.load(tmp_path / name / "evidence" / "per_example.npz") for name in "ab")
    against = found.numbers["against"]
    assert against["options"] == {"prior": ["normal", "mixture"], "prior_components": [None, 3]}
    for name in ("elbo", "log_evidence_annealed", "log_evidence_importance"):
        difference = theirs[name] - ours[name]
        mean, error = against["differences"][name]
        np.testing.assert_allclose(mean, difference.mean())
        np.testing.assert_allclose(error, difference.std(ddof=1) / np.sqrt(BUDGET.num_examples))
    mean, error = against["differences"]["elbo"]
    assert f"| ELBO | {mean:.2f} +- {error:.2f} |" in found.text
    assert "It has --prior=mixture (here normal), --prior_components=3 (here None)." in found.text
    other = data.from_arrays(PIXELS[::-1].astype(np.uint8), labels=np.arange(160) % 3)
    third = vj.fit(dataclasses.replace(SMALL, epochs=1), other, tmp_path / "c", listeners=[])
    with pytest.raises(BadInputError, match=r"against=.*c has other test examples than run=.*a "):
        vj.evaluation.evaluate(runs[0], BUDGET, against=third, listeners=[])


@pytest.mark.slow
@pytest.mark.parametrize("through", [True, False])
def test_semi_amortised_runs_are_better_than_their_encoder(tmp_path, through):
    config = dataclasses.replace(SMALL, refine_steps=5, refine_through=through)
    run = vj.fit(config, DATASET, tmp_path / "run", listeners=[])
    elbos = [row["train_elbo"] for row in run.history]
    assert elbos[-1] > elbos[0]
    spec = vj.models.ModelSpec(**{**run.metadata["model"], "refine_steps": 0})
    of_encoder = vj.evidence.make_importance_sampler(spec.build(), 200)
    x = jnp.asarray(run.as_evaluated(DATASET.test.x[:]))
    amortised = of_encoder(run.params, x, jax.random.key(0)).elbo.mean()
    assert run.summary["test_elbo"] > amortised + 0.01


@pytest.mark.slow
@pytest.mark.parametrize("prior", ["mixture", "vamp", "exemplar", "conditional", "flow"])
def test_priors_of_conditional_runs(tmp_path, prior):
    options = options_of("diagonal", prior)
    config = dataclasses.replace(SMALL, prior=prior, condition="labels", **options)
    run = vj.fit(config, DATASET, tmp_path / "run", listeners=[])
    elbos = [row["train_elbo"] for row in run.history]
    assert elbos[-1] > elbos[0]
    c = jnp.eye(3)
    assert run.sample(jax.random.key(0), 3, c).shape == (3, 4, 4, 1)


@pytest.mark.slow
@pytest.mark.parametrize("latents", ["bernoulli", "categorical"])
@pytest.mark.parametrize("prior", ["autoregressive", "vamp"])
def test_priors_of_discrete_latents(tmp_path, latents, prior):
    options = {"prior_components": 7} if prior == "vamp" else {"flow_hidden": (8,)}
    config = dataclasses.replace(
        SMALL, latents=latents, estimator="vimco", prior=prior, latent_dim=3, **options
    )
    run = vj.fit(config, DATASET, tmp_path / "run", listeners=[])
    elbos = [row["train_elbo"] for row in run.history]
    assert elbos[-1] > elbos[0]
    assert vj.load(tmp_path / "run").sample(jax.random.key(0), 2).shape == (2, 4, 4, 1)


@pytest.mark.slow
def test_runs_of_a_sweep_have_the_same_pseudo_inputs_at_the_start(tmp_path):
    config = dataclasses.replace(SMALL, prior="vamp", prior_components=7, epochs=1)
    found = [
        vj.fit(
            dataclasses.replace(config, seed=seed, learning_rate=1e-12),
            DATASET,
            tmp_path / str(seed),
            listeners=[],
        )
        for seed in (0, 1)
    ]
    first, second = (run.params["prior"]["pseudo_inputs"] for run in found)
    np.testing.assert_allclose(first, second, atol=1e-6)
    stored = np.asarray(DATASET.train.x[:], np.float32) / 255.0
    for pseudo_input in np.asarray(first):
        assert np.abs(stored - pseudo_input).max(axis=(1, 2, 3)).min() < 1e-5


def test_random_pseudo_inputs_are_around_the_mean_and_not_examples(tmp_path):
    config = dataclasses.replace(
        SMALL,
        prior="vamp",
        prior_components=7,
        epochs=1,
        learning_rate=1e-12,
        pseudo_inputs="random",
    )
    run = vj.fit(config, DATASET, tmp_path / "run", listeners=[])
    pseudo_inputs = np.asarray(run.params["prior"]["pseudo_inputs"])
    mean = DATASET.train.x[:].mean(axis=0) / 255.0
    assert np.abs(pseudo_inputs - mean).max() < 0.5
    assert np.abs(pseudo_inputs - mean).mean() > 0.02
