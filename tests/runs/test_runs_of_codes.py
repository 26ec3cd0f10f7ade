"""Runs with codes and with causal networks: trained, given a prior, evaluated, drawn, coded."""

import json

import jax
import numpy as np
import pytest

import vae_jax as vj
from vae_jax import compression, data
from vae_jax.commands import compress, encode, sample
from vae_jax.config import Config
from vae_jax.errors import BadInputError, Stopped
from vae_jax.evaluation import Budget
from vae_jax.runs import codes as codes_of
from vae_jax.runs.events import EpochDone
from vae_jax.runs.new_prior import fit_prior
from vae_jax.runs.stop import StopSignal

RNG = np.random.default_rng(0)
PIXELS = np.kron(RNG.integers(0, 2, (160, 2, 2)), np.ones((1, 3, 3))) * 255
DATASET = data.from_arrays(PIXELS.astype(np.uint8), labels=np.arange(160) % 3)
SMALL = Config(
    latents="vq",
    objective="codes",
    estimator="rotation",
    network="resnet",
    channels=(4,),
    num_blocks=1,
    num_codes=6,
    code_dim=3,
    epochs=12,
    batch_size=20,
    learning_rate=5e-3,
    nll_samples=20,
    warmup_steps=0,
    split_seed=1,
)
CAUSAL = {"prior_width": 8, "prior_layers": 2, "causal_kernel": 3}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return vj.fit(SMALL, DATASET, tmp_path_factory.mktemp("codes") / "run", listeners=[])


def test_the_summary_has_the_bound_and_the_use_of_codes(run):
    found = run.summary
    assert found["test_nll"] == pytest.approx(-found["test_elbo"], rel=1e-6)
    assert found["test_kl"] == pytest.approx(9 * np.log(6), rel=1e-5)
    x = run.batch_of(DATASET.test)
    index = codes_of.indices(run.model, run.params, x)
    counts = np.bincount(index.ravel(), minlength=6)
    share = counts[counts > 0] / counts.sum()
    assert found["code_perplexity"] == pytest.approx(np.exp(-(share * np.log(share)).sum()), 1e-4)
    assert found["dead_codes"] == (counts == 0).sum()
    assert found["codes_in_use"] == pytest.approx((counts > 0).mean())
    text = str(found)
    assert "minus the ELBO" in text
    assert "code perplexity" in text
    assert "code perplexity" in (run.folder.path / "report.html").read_text()
    last = run.history[-1]
    assert 1.0 <= last["train_perplexity"] <= 6.0
    assert 0.0 < last["train_codes_in_use"] <= 1.0


def test_a_prior_that_knows_its_neighbours_costs_less_than_a_uniform_one(run, tmp_path):
    found = fit_prior(
        run, "pixelcnn", tmp_path / "prior", dataset=DATASET, epochs=15, listeners=[], **CAUSAL
    )
    before, after = found.before.summary, found.after.summary
    assert after["test_kl"] < before["test_kl"] - 1.0
    assert after["test_reconstruction"] == pytest.approx(before["test_reconstruction"], abs=1e-3)
    np.testing.assert_array_equal(
        found.after.params["posterior"]["codebook"], run.params["posterior"]["codebook"]
    )
    # The file is as large as the bound says.
    x = found.after.batch_of(DATASET.test).x
    coded = compression.compress(found.after.vae, x)
    np.testing.assert_array_equal(compression.decompress(found.after.vae, coded.data), x)
    expected = -after["test_elbo"] / np.log(2.0) * len(x)
    assert coded.num_bits == pytest.approx(expected, rel=0.01, abs=64)
    assert "PNG" in compress.in_words(found.after, x, coded)


def test_an_evaluation_says_what_the_bound_is_made_of_and_what_helps(run):
    found = vj.evaluation.evaluate(run.with_data(DATASET), Budget(num_examples=4), listeners=[])
    numbers = json.loads((found.folder / "evidence.json").read_text())
    bits = numbers["bits_per_dim"]
    assert bits["bound"] == pytest.approx(bits["prior"] + bits["decoder"])
    assert numbers["elbo"][0] == pytest.approx(run.summary["test_elbo"], rel=1e-4)
    assert "one code" in found.text
    assert "--prior=pixelcnn" in found.text
    with pytest.raises(BadInputError, match="quadrature and outliers"):
        vj.evaluation.evaluate(run.with_data(DATASET), Budget(quadrature=True), listeners=[])
    of = run.with_data(DATASET)
    with pytest.raises(BadInputError, match="not compared"):
        vj.evaluation.evaluate(of, Budget(num_examples=4), against=of, listeners=[])


def test_codes_are_written_and_samples_drawn(run):
    columns = encode.encoded(run, DATASET.test, jax.random.key(0))
    assert columns["index"].shape == (len(DATASET.test), 3, 3, 1)
    assert columns["vector"].shape == (len(DATASET.test), 3, 3, 3)
    books = np.asarray(run.params["posterior"]["codebook"])[0, 0]
    np.testing.assert_allclose(columns["vector"], books[columns["index"][..., 0]], atol=1e-6)
    x, z = sample.samples(run, jax.random.key(1), 5, True, None)
    assert x.shape == (5, 6, 6, 1)
    assert z.index.shape == (5, 3, 3, 1)
    with pytest.raises(BadInputError, match="between whose values there is nothing"):
        run.interpolate(*np.split(np.asarray(run.batch_of(DATASET.test[:4]).x), 2))


def test_a_resumed_run_equals_an_uninterrupted_one(run, tmp_path):
    """The averages of the codebook are in the checkpoint."""

    stop = StopSignal()

    def listener(event):
        if isinstance(event, EpochDone) and event.epoch == 5:
            stop.number = 1

    with pytest.raises(Stopped, match="Stopped after epoch 6 of 12"):
        vj.fit(SMALL, DATASET, tmp_path / "run", listeners=[listener], stop=stop)
    resumed = vj.fit(SMALL, DATASET, tmp_path / "run", listeners=[])
    for one, other in zip(
        jax.tree.leaves(run.params), jax.tree.leaves(resumed.params), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"latents": "fsq", "objective": "elbo", "fsq_levels": (3, 3)},
        {"latents": "lfq", "code_bits": 3, "options": {"entropy_weight": 0.1}},
        {"latents": "vq", "num_codes": 6, "code_dim": 4, "residual_codes": 2, "code_groups": 2},
        {"latents": "vq", "num_codes": 6, "options": {"codebook": "gradient"}},
        {"latents": "bernoulli", "prior": "transformer", "causal_heads": 2},
        {"latents": "categorical", "num_categories": 3, "prior": "pixelcnn"},
    ],
    ids=["fsq", "lfq", "residual", "gradient", "bits", "categories"],
)
def test_runs_of_every_kind_train_are_drawn_and_coded(tmp_path, options):
    options = dict(options)
    is_causal = options.get("prior") is not None
    extra = options.pop("options", {})
    config = Config(
        **{
            "objective": "codes" if options["latents"] in ("vq", "lfq") else "elbo",
            **({"prior_width": 8, "prior_layers": 1} if is_causal else {}),
            **options,
            **extra,
        },
        estimator="straight_through",
        network="mlp",
        hidden=(16,),
        latent_dim=4,
        epochs=25,
        batch_size=20,
        learning_rate=5e-3,
        nll_samples=20,
        warmup_steps=0,
    )
    run = vj.fit(config, DATASET, tmp_path / "run", listeners=[])
    first, last = run.history[0]["validation_elbo"], run.history[-1]["validation_elbo"]
    assert last > first + 0.3
    assert (run.folder.figures / "samples.png").exists()
    x = run.batch_of(DATASET.test).x
    coded = compression.compress(run.vae, x)
    np.testing.assert_array_equal(compression.decompress(run.vae, coded.data), x)


@pytest.mark.slow
def test_samples_of_a_class_come_from_a_prior_that_hears_it(tmp_path):
    """Images that are white for class 1 and black for the others."""
    labels = np.arange(160) % 2
    pixels = np.zeros((160, 4, 4), np.uint8) + (255 * labels[:, None, None]).astype(np.uint8)
    dataset = data.from_arrays(pixels, labels=labels)
    config = Config(
        latents="fsq",
        fsq_levels=(4,),
        estimator="straight_through",
        prior="transformer",
        prior_width=8,
        prior_layers=1,
        condition="labels",
        condition_in="prior",
        network="gated_mlp",
        hidden=(16,),
        latent_dim=2,
        epochs=40,
        batch_size=20,
        learning_rate=1e-2,
        nll_samples=20,
        warmup_steps=0,
    )
    run = vj.fit(config, dataset, tmp_path / "run", listeners=[])
    for label in (0, 1):
        x, _ = sample.samples(
            run, jax.random.key(0), 20, True, sample.conditions(run, 20, str(label))
        )
        assert abs(float(np.mean(x)) - label) < 0.1


@pytest.mark.slow
def test_pixels_one_after_the_other_train_and_are_drawn(tmp_path):
    """Stripes whose rows equal the first one, which a causal network learns without z."""
    rows = RNG.integers(0, 2, (200, 1, 6))
    pixels = (np.broadcast_to(rows, (200, 6, 6)) * 255).astype(np.uint8)
    dataset = data.from_arrays(pixels)
    config = Config(
        pixels="pixelcnn",
        pixel_width=16,
        pixel_layers=2,
        causal_kernel=3,
        network="mlp",
        hidden=(16,),
        latent_dim=2,
        epochs=40,
        batch_size=20,
        learning_rate=1e-2,
        nll_samples=20,
        warmup_steps=0,
    )
    run = vj.fit(config, dataset, tmp_path / "run", listeners=[])
    # Six fair bits are 4.16 nats; independent pixels without z would cost 25.
    assert 4.0 < run.summary["test_nll"] < 7.0
    x = np.asarray(run.sample(jax.random.key(0), 50))
    assert set(np.unique(x)) == {0.0, 1.0}
    assert (x[:, 1:] == x[:, :-1]).mean() > 0.95
