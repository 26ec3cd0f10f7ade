"""Runs of hierarchies: trained, evaluated, drawn, encoded, sampled and loaded again."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vae_jax as vj
from vae_jax import data
from vae_jax.commands import encode
from vae_jax.config import Config
from vae_jax.errors import BadInputError
from vae_jax.evaluation import Budget, evaluate
from vae_jax.evaluation.measures import _matched_layers
from vae_jax.evidence import quadrature
from vae_jax.runs import choices, layers
from vae_jax.runs.examples import prepare

RNG = np.random.default_rng(0)
PIXELS = np.kron(RNG.integers(0, 2, (160, 2, 2)), np.ones((1, 2, 2))) * 255
DATASET = data.from_arrays(PIXELS.astype(np.uint8), labels=np.arange(160) % 3)
SMALL = Config(
    layers=(3, 2),
    hidden=(8,),
    layer_hidden=(8,),
    network="mlp",
    epochs=6,
    batch_size=20,
    learning_rate=5e-3,
    nll_samples=20,
    warmup_steps=0,
)
BUDGET = Budget(num_examples=4, chains=4, temperatures=30, iwae_samples=50)


def require_evaluation(run, num_layers):
    """Evaluates a run of a hierarchy, whose numbers must agree."""
    found = evaluate(run, BUDGET, listeners=[])
    low, high = found.numbers["log_evidence"]["interval"]
    assert low <= high + 1e-6
    gaps = found.numbers["gaps"]["test"]
    assert gaps["elbo"][0] <= gaps["best_elbo"][0] + 0.3
    assert [len(pair) for pair in found.numbers["latent_space"]["layer_kl"]] == [2] * num_layers
    assert "Layer z_2 has a mean KL of" in str(found)
    assert "--refine_steps" not in str(found)  # which a hierarchy does not take


@pytest.mark.slow
@pytest.mark.parametrize(
    ("inference", "options"),
    [
        ("independent", {"prior": "vamp", "prior_components": 7, "skip": True}),
        ("top_down", {"prior": "mixture", "layers": (3, 2, 2)}),
        ("bottom_up", {"posterior": "full", "objective": "iwae", "estimator": "dreg"}),
    ],
)
def test_runs_of_every_inference_are_evaluated_drawn_and_loaded(tmp_path, inference, options):
    config = dataclasses.replace(SMALL, inference=inference, **options)
    run = vj.fit(config, DATASET, tmp_path / "run", listeners=[])
    history, num_layers = run.history, len(config.layers)
    assert history[-1]["train_elbo"] > history[0]["train_elbo"]
    for row in history:  # the KL of the layers is that of the whole
        of_layers = sum(row[f"train_kl_{layer + 1}"] for layer in range(num_layers))
        np.testing.assert_allclose(of_layers, row["train_kl"], rtol=1e-4, atol=1e-4)
    form = "sampled" if inference == "bottom_up" else "by layer"
    assert run.summary["kl_term"] == form
    figures = {path.stem for path in (tmp_path / "run" / "figures").glob("*.png")}
    assert figures >= {"layers", "from_layers", "codes", "samples", "interpolation"}
    if inference == "independent":  # an evaluation takes longer than all the rest
        require_evaluation(run, num_layers)
    again = vj.load(tmp_path / "run")
    jax.tree.map(np.testing.assert_array_equal, again.params, run.params)
    x = run.batch_of(DATASET.test).x[:5]
    for one, other in zip(run.encode(x).mean, again.encode(x).mean, strict=True):
        np.testing.assert_array_equal(one, other)
    columns = encode.encoded(run, DATASET.test, jax.random.key(0), hmc_steps=2)
    assert columns["mean_1"].shape == (len(DATASET.test), 3)
    assert columns["z"].shape == (len(DATASET.test), sum(config.layers))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = dataclasses.replace(SMALL, inference="independent", skip=True)
    return vj.fit(config, DATASET, tmp_path_factory.mktemp("hierarchy") / "run", listeners=[])


@pytest.mark.slow
def test_layers_that_are_kept_are_the_same_in_a_row_and_the_others_are_not(run):
    rows = list(layers.resampled(run.vae, jax.random.key(0)).values())
    spread = [float(jnp.std(row, axis=0).mean()) for row in rows]
    assert len(rows) == 3
    assert spread[2] < 1e-6
    assert spread[1] > 1e-4
    assert spread[0] > 1e-4


@pytest.mark.slow
def test_reconstructions_from_all_layers_are_closest_to_the_data(run):
    x = run.batch_of(DATASET.test)
    data_row, all_layers, top = layers.reconstructed(run.vae, x, jax.random.key(0)).values()
    error = [float(jnp.mean((row - data_row) ** 2)) for row in (all_layers, top)]
    assert error[0] < error[1]


@pytest.mark.slow
def test_free_bits_are_those_of_layers(tmp_path):
    """With a floor that no layer reaches, no layer has a gradient from its KL."""
    options = {"objective": "free_bits", "free_nats": 1e3, "inference": "independent"}
    config = dataclasses.replace(SMALL, **options)
    run = vj.fit(config, DATASET, tmp_path / "run", listeners=[])
    for row in run.history:
        expected = 2e3 - row["train_reconstruction"]
        np.testing.assert_allclose(row["train_loss"], expected, rtol=1e-6)


VERY_DEEP = {
    "inference": "top_down",
    "network": "resnet",
    "hidden": Config.OPTIONS["hidden"].default,
    "layer_hidden": Config.OPTIONS["layer_hidden"].default,
    "layers": (1, 2),
    "layer_sizes": (2, 1),
    "channels": (4,),
    "num_blocks": 1,
}


@pytest.mark.slow
def test_a_very_deep_run_is_drawn_and_loaded(tmp_path):
    more = {"objective": "layer_warm_up", "anneal_epochs": 4, "skip_norm": 1e3}
    config = dataclasses.replace(SMALL, **VERY_DEEP, **more)
    run = vj.fit(config, DATASET, tmp_path / "run", listeners=[])
    assert run.history[-1]["train_elbo"] > run.history[0]["train_elbo"]
    weights = [[row[f"train_weight_{layer}"] for row in run.history] for layer in (1, 2)]
    assert all(of_layer == sorted(of_layer) for of_layer in weights)
    assert [of_layer[-1] for of_layer in weights] == [1.0, 1.0]
    assert weights[0][0] > weights[1][0] == 0.0
    assert {row["train_skipped"] for row in run.history} == {0.0}
    assert run.summary["kl_term"] == "by layer"
    figures = {path.stem for path in (tmp_path / "run" / "figures").glob("*.png")}
    assert figures >= {"layers", "from_layers", "samples", "interpolation"}
    x = run.batch_of(DATASET.test)
    moments = _matched_layers(run.vae, x)  # of all latents of both layers
    first, second = run.encode(x.x).of_each
    flat = [np.reshape(of.mean, (len(x), -1)) for of in (first, second)]
    np.testing.assert_allclose(moments.mean, np.concatenate(flat, axis=1), rtol=1e-6)
    again, x = vj.load(tmp_path / "run"), x.x[:5]
    for one, other in zip(run.encode(x).mean, again.encode(x).mean, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_a_constraint_on_the_reconstruction_holds_for_hierarchies_too(tmp_path):
    options = {"objective": "geco", "target_reconstruction": -2.0, "epochs": 40}
    config = dataclasses.replace(SMALL, inference="independent", learning_rate=2e-2, **options)
    run = vj.fit(config, DATASET, tmp_path / "run", listeners=[])
    multipliers = [row["train_multiplier"] for row in run.history]
    last = run.history[-1]
    assert max(multipliers) > multipliers[0]
    assert last["train_reconstruction"] > run.history[0]["train_reconstruction"] + 2.0
    np.testing.assert_allclose(
        last["train_loss"],
        last["train_kl"] + last["train_multiplier"] * last["train_violation"],
        rtol=0.02,
        atol=0.1,
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"layer_sizes": (4, 3)}, "3 must divide 4, the size below it"),
        ({"layer_sizes": (4, 2, 1)}, "are 3 sizes, and there must be as many layers, not 2"),
        ({"layers": None}, "inference=top_down is for a hierarchy"),
        ({"channels": (8, 8)}, "channels=8,8 must be one number"),
        ({"network": "conv", "num_blocks": 2}, "network=conv is not for a very deep VAE"),
        ({"inference": "independent"}, "where it is top_down"),
        ({"prior": "vamp"}, "prior=vamp is not for a very deep VAE"),
        ({"hidden": (8,)}, "hidden=8 is not for a very deep VAE"),
        ({"skip": True}, "skip=true is not for a very deep VAE"),
        ({"layer_sizes": None, "remat": True}, "remat=true is for a very deep VAE"),
    ],
)
def test_what_a_very_deep_vae_cannot_have_is_refused_in_one_sentence(options, sentence):
    with pytest.raises(BadInputError, match=sentence):
        dataclasses.replace(SMALL, **{**VERY_DEEP, **options})


@pytest.mark.parametrize(
    ("dataset", "options", "sentence"),
    [
        (DATASET, {"layer_sizes": (4, 4)}, None),
        (
            DATASET,
            {"layer_sizes": (3, 1)},
            "3 must divide 4, the size below it, into equal squares, for images of 4 x 4",
        ),
        (DATASET, {"condition": "labels"}, "are for models without a condition"),
        (data.from_arrays(RNG.normal(size=(160, 5))), {}, "are for images"),
    ],
)
def test_examples_that_a_very_deep_vae_cannot_have_are_refused(dataset, options, sentence):
    config = dataclasses.replace(SMALL, **{**VERY_DEEP, **options})
    if sentence is None:
        prepare(dataset, choices.chosen(config, dataset))
        return
    with pytest.raises(BadInputError, match=sentence):
        prepare(dataset, choices.chosen(config, dataset))


@pytest.mark.slow
def test_layers_that_are_flows_are_trained_and_not_evaluated(tmp_path):
    options = {"posterior": "iaf", "num_flows": 1, "flow_hidden": (4,), "epochs": 1}
    run = vj.fit(dataclasses.replace(SMALL, **options), DATASET, tmp_path / "run", listeners=[])
    with pytest.raises(BadInputError, match="posterior=iaf in the layers of a hierarchy"):
        evaluate(run, BUDGET, listeners=[])


@pytest.mark.slow
def test_a_new_prior_of_the_top_layer_leaves_the_rest_as_it_is(run, tmp_path):
    new = vj.fit_prior(run, "gmm:3", tmp_path / "new", dataset=DATASET, listeners=[]).after
    for name in ("encoder", "layers", "decoder"):
        jax.tree.map(np.testing.assert_array_equal, new.params[name], run.params[name])
    assert new.params["prior"]["components"].shape == (3 * (1 + 2 * 2),)


def test_layers_that_are_drawn_are_spread_over_deep_hierarchies():
    assert layers.kept_layers(2) == [1, 2]
    assert layers.kept_layers(45) == [1, 9, 18, 27, 36, 45]


@pytest.mark.slow
def test_the_evidence_of_one_latent_in_each_of_two_layers_is_that_of_quadrature(tmp_path):
    config = dataclasses.replace(SMALL, layers=(1, 1), nll_samples=5000)
    run = vj.fit(config, DATASET, tmp_path / "run", listeners=[])
    x = run.batch_of(DATASET.test).x
    exact = [float(quadrature.integrate(run.model, run.params, one).log_evidence) for one in x]
    assert -run.summary["test_nll"] == pytest.approx(np.mean(exact), abs=0.02)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"layers": (5,)}, "layers=5 must be at least two layers"),
        ({"latent_dim": 20}, "latent_dim=20 is for one layer of latents, and layers=3,2"),
        ({"layers": None, "skip": True}, "layer_hidden=8 is for a hierarchy"),
        ({"layers": None, "layer_hidden": (100,), "skip": True}, "skip=true is for a hierarchy"),
        ({"layers": None, "inference": "top_down"}, "inference=top_down is for a hierarchy"),
        ({"prior": "vamp"}, "inference=bottom_up has only given the layers below"),
        ({"posterior": "coupling", "layers": (5, 1)}, "a layer has 1: use at least 2"),
        ({"posterior": "planar"}, "posterior=planar is for one layer"),
        ({"posterior": "uha"}, "posterior=uha is for one layer"),
        ({"refine_steps": 3}, "refine_steps=3 is for one layer"),
        ({"dropout": 0.1}, "dropout=0.1 is for one layer"),
        ({"objective": "factor"}, "objective=factor is for one layer"),
        ({"inference": "top_down", "posterior": "full"}, "multiplies diagonal normal densities"),
        ({"inference": "top_down", "latents": "bernoulli", "estimator": "vimco"}, "multiplies"),
        ({"inference": "sideways"}, "is unknown"),
        (
            {"layers": None, "layer_hidden": (100,), "objective": "layer_warm_up"},
            "objective=layer_warm_up weights the layers of a hierarchy",
        ),
        ({"objective": "layer_warm_up", "estimator": "stl"}, "cannot train"),
    ],
)
def test_what_a_hierarchy_cannot_have_is_refused_in_one_sentence(options, sentence):
    with pytest.raises(BadInputError, match=sentence):
        dataclasses.replace(SMALL, **options)
