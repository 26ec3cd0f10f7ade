"""Runs on each kind of data with each likelihood and network: trained, evaluated, loaded again."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vae_jax as vj
from vae_jax import data, training
from vae_jax.config import Config
from vae_jax.errors import BadInputError
from vae_jax.models import ModelSpec
from vae_jax.models.likelihoods import LIKELIHOODS
from vae_jax.models.spec import NETWORKS
from vae_jax.objectives import closed_form_elbo
from vae_jax.runs import choices, examples, recipe
from vae_jax.training.epoch import epoch_of

RNG = np.random.default_rng(0)
PIXELS = np.kron(RNG.integers(40, 216, (160, 2, 2, 3)), np.ones((1, 2, 2, 1))).astype(np.uint8)
LATENT = RNG.normal(size=(160, 1, 1, 1))
DATASETS = {
    "binary": data.from_arrays(PIXELS > 127),
    "8-bit": data.from_arrays(PIXELS),
    "intensities": data.from_arrays(PIXELS / 255),
    "real": data.from_arrays(
        np.exp(0.3 * LATENT + RNG.normal(0.0, 0.1, (160, 4, 4, 1))), kind="real", labels=range(160)
    ),
    "count": data.from_arrays(RNG.poisson(np.exp(LATENT + np.ones((4, 4, 1)))), kind="count"),
}
TABLES = {
    "real": data.from_arrays(
        RNG.normal(size=(160, 2)) @ RNG.normal(size=(2, 4)) * [1, 10, 0.1, 3] + 5,
        labels=np.arange(160) % 3,
        columns="abcd",
    ),
    "count": data.from_arrays(
        RNG.poisson(RNG.gamma(2.0, 4.0, (160, 1)) * [0.1, 0.3, 0.6, 0.2]) + np.array([0, 1, 0, 0]),
        kind="count",
        labels=np.arange(160) % 3,
    ),
}
# Optimises less, and spends less time in the compiler.
QUICKLY = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
SMALL = Config(
    latent_dim=2,
    hidden=(8,),
    network="mlp",
    epochs=3,
    batch_size=20,
    nll_samples=20,
    warmup_steps=0,
)

# All but that of tables of several types, which has tests of its own.
OF_ONE_KIND = [name for name in LIKELIHOODS if name != "columns"]


def usual_data(likelihood):
    return DATASETS[LIKELIHOODS[likelihood].kinds[0]]


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", OF_ONE_KIND)
@pytest.mark.parametrize("network", [name for name in NETWORKS if name != "mlp"])
def test_an_epoch_of_every_likelihood_and_network_raises_the_elbo(likelihood, network):
    """On its own kind of data, by one compiled program. The runs below have the network mlp."""
    dataset = usual_data(likelihood)
    options = {"channels": (2,)} if network in ("conv", "resnet") else {}
    options |= {"num_blocks": 1} if network == "resnet" else {}
    config = dataclasses.replace(SMALL, network=network, likelihood=likelihood, **options)
    config = choices.chosen(config, dataset).settled()
    prepared = examples.prepare(dataset, config)
    model = recipe.model_spec(config, prepared.facts).build()
    trainer = training.make_trainer(
        model,
        closed_form_elbo(),
        training.adam(3e-3, 40),
        binarise=prepared.train_binarise,
        clip_norm=10.0,
    )
    start = jax.jit(trainer.init, compiler_options=QUICKLY)
    state = start(jax.random.key(0), examples.mean_of(prepared))
    epoch = jax.jit(epoch_of(trainer, config.batch_size), compiler_options=QUICKLY)
    stored = jax.tree.map(jnp.asarray, prepared.train)
    elbos = []
    for _ in range(6):
        state, info = epoch(state, stored)
        assert training.divergence(info) is None
        elbos.append(float(info.metrics["elbo"]))
    assert epoch._cache_size() == 1
    assert elbos[-1] > elbos[0]


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", OF_ONE_KIND)
def test_runs_of_every_likelihood_are_evaluated_drawn_and_loaded(tmp_path, likelihood):
    dataset = usual_data(likelihood)
    config = dataclasses.replace(SMALL, likelihood=likelihood, epochs=4, learning_rate=5e-3)
    run = vj.fit(config, dataset, tmp_path / "run", listeners=[])
    elbos = [row["train_elbo"] for row in run.history]
    assert elbos[-1] > elbos[0]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert np.isfinite(summary["test_nll"])
    assert (summary["bits_per_dim"] is not None) == (LIKELIHOODS[likelihood].measure == "mass")
    assert {path.stem for path in run.folder.figures.iterdir()} >= {
        "reconstructions",
        "samples",
        "codes",
        "training_curves",
    }
    loaded = vj.load(tmp_path / "run")
    x = loaded.as_evaluated(dataset.test.x)
    for one in (run, loaded):
        np.testing.assert_array_equal(one.encode(x).mean, run.encode(x).mean)
    again = loaded.evaluate(dataset, listeners=[])
    assert again["test_nll"] == summary["test_nll"]


@pytest.mark.parametrize("kind", ["count", pytest.param("real", marks=pytest.mark.slow)])
def test_runs_on_tables_with_a_condition(tmp_path, kind):
    options = {"likelihood": "zinb", "size_factors": True} if kind == "count" else {}
    config = dataclasses.replace(SMALL, condition="labels", **options)
    run = vj.fit(config, TABLES[kind], tmp_path / "run", listeners=[])
    drawn = {path.stem for path in run.folder.figures.iterdir()}
    assert drawn >= {"marginals", "codes", "heat_maps" if kind == "count" else "pairs"}
    batch = run.batch_of(TABLES[kind].test)
    loaded = vj.load(tmp_path / "run")
    assert loaded.reconstruct(jax.random.key(0), batch).shape == batch.x.shape
    assert loaded.sample(jax.random.key(0), len(batch), batch.c).shape == batch.x.shape
    with pytest.raises(BadInputError, match="and none is given"):
        loaded.encode(batch.x)
    unlabelled = data.from_arrays(TABLES[kind].train.x, kind=kind)
    with pytest.raises(BadInputError, match="and these examples have none"):
        loaded.batch_of(unlabelled.test)
    again = loaded.evaluate(TABLES[kind], listeners=[])
    assert again["test_nll"] == run.summary["test_nll"]


@pytest.mark.slow
def test_log_densities_are_in_the_units_of_the_columns():
    """x in other units is the same model, whose log p(x) differs by the log of the units."""
    table = TABLES["real"]
    units = np.array([1000.0, 0.5, 7.0, 0.01])
    together = np.concatenate([split.x for split in table[1:4]])
    runs = [
        vj.fit(SMALL, data.from_arrays(together.astype(np.float64) * of), listeners=[])
        for of in (np.ones(4), units)
    ]
    nlls = [run.summary["test_nll"] for run in runs]
    np.testing.assert_allclose(nlls[1] - nlls[0], np.log(units).sum(), atol=2e-3)
    scales = [np.array(run.metadata["model"]["scale"]) for run in runs]
    np.testing.assert_allclose(scales[1], scales[0] * units, rtol=1e-4)


@pytest.mark.slow
def test_a_condition_of_the_data_is_used_and_another_one_is_noticed(tmp_path):
    x = RNG.normal(size=(160, 3)) + 4.0 * (np.arange(160) % 2)[:, None]
    c = np.arange(160) % 2
    given = data.from_arrays(x, condition=c, name="two")
    config = dataclasses.replace(SMALL, epochs=80, learning_rate=1e-2)
    run = vj.fit(config, given, tmp_path / "run", listeners=[])
    assert run.metadata["condition_shape"] == [1]
    without = vj.fit(dataclasses.replace(SMALL, condition="none"), given, listeners=[])
    assert without.metadata["condition_shape"] is None
    samples = run.sample(jax.random.key(0), 400, np.repeat([[0.0], [1.0]], 200, axis=0))
    assert np.mean(samples[200:]) - np.mean(samples[:200]) > 1.0
    other = data.from_arrays(x, condition=1 - c, name="two")
    with pytest.raises(BadInputError, match="other data than"):
        run.evaluate(other, listeners=[])
    with pytest.raises(BadInputError, match="has a condition of the shape"):
        run.evaluate(data.from_arrays(x, name="two"), listeners=[])


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("real", {"likelihood": "log_normal"}, "support of the LogNormal likelihood: positive"),
        (
            "count",
            {"likelihood": "binomial", "num_trials": 2},
            "support of the Binomial likelihood",
        ),
    ],
)
def test_values_outside_the_support_are_refused_before_training(tmp_path, kind, options, said):
    config = dataclasses.replace(SMALL, **options)
    with pytest.raises(BadInputError, match=rf", train examples: x\[\d+\] has values .*{said}"):
        vj.fit(config, TABLES[kind], tmp_path / "run", listeners=[])
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_old_specs_are_read():
    """Fields that a spec of an earlier version does not have take their defaults."""
    spec = dataclasses.asdict(ModelSpec((4, 4, 1)))
    for name in ("condition_shape", "size_factors", "dispersion", "num_trials", "shift", "scale"):
        del spec[name]
    assert ModelSpec(**json.loads(json.dumps(spec))) == ModelSpec((4, 4, 1))
