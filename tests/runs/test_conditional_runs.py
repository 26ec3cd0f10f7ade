"""Runs of p(x|c): parts that take the condition, its learned prior, and examples without it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vae_jax as vj
from vae_jax import data
from vae_jax.commands import sample
from vae_jax.config import Config
from vae_jax.errors import BadInputError
from vae_jax.models import Batch, draw_batch, no_condition
from vae_jax.runs import pictures
from vae_jax.runs.examples import prepare

RNG = np.random.default_rng(0)
LABELS = np.arange(240) % 3
# Class k has a bright row k of three, and the pixels of the last row are noise.
PIXELS = np.concatenate(
    [np.eye(3)[LABELS][:, :, None].repeat(4, axis=2), RNG.integers(0, 2, (240, 1, 4))], axis=1
)
DATASET = data.from_arrays((PIXELS * 255).astype(np.uint8), labels=LABELS)
SMALL = Config(
    condition="labels",
    latent_dim=2,
    network="mlp",
    hidden=(16,),
    epochs=30,
    batch_size=20,
    learning_rate=1e-2,
    nll_samples=20,
    warmup_steps=0,
)


def rows_of(images):
    """The mean brightness of the first three rows."""
    return np.asarray(images).reshape(-1, 4, 4)[:, :3].mean(axis=(0, 2))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = dataclasses.replace(SMALL, condition_dropout=0.3, prior="conditional")
    return vj.fit(config, DATASET, tmp_path_factory.mktemp("conditional") / "run", listeners=[])


@pytest.mark.slow
def test_samples_have_their_class_or_without_one_all_of_them(run):
    for label in range(3):
        c = sample.conditions(run, 200, str(label))
        found, _ = sample.samples(run, jax.random.key(0), 200, True, c)
        assert rows_of(found)[label] > 0.9
        assert rows_of(found).sum() < 1.3
    nothing = sample.conditions(run, 600, "none")
    assert np.isnan(nothing).all()
    found, _ = sample.samples(run, jax.random.key(0), 600, True, nothing)
    assert all(0.1 < share < 0.6 for share in rows_of(found))
    in_turn = sample.conditions(run, 6)
    np.testing.assert_array_equal(in_turn, np.eye(3)[[0, 1, 2, 0, 1, 2]])


@pytest.mark.slow
def test_examples_without_their_condition_have_less_evidence(run):
    """The mean of log p(x|c) - log p(x) is the mutual information, log 3, for exact models."""
    batch = run.batch_of(DATASET.test)
    keys = jax.random.split(jax.random.key(0), (500, len(batch)))

    def log_evidence(c):
        found = draw_batch(run.model, run.params, Batch(batch.x, c), keys)
        return jax.scipy.special.logsumexp(found.log_w, axis=0).mean() - jnp.log(500.0)

    gain = log_evidence(jnp.asarray(batch.c)) - log_evidence(no_condition(jnp.asarray(batch.c)))
    assert 0.8 < gain < 3.0


@pytest.mark.slow
def test_classes_are_drawn_with_the_same_noise(run):
    rows = pictures.of_classes(run.vae, np.eye(3, dtype=np.float32), jax.random.key(0), 5)
    assert list(rows) == ["class 0", "class 1", "class 2", "no class"]
    assert (run.folder.figures / "classes.png").is_file()


@pytest.mark.slow
def test_lines_go_from_one_condition_to_another_at_the_codes_of_examples():
    """Without a learned prior and dropout the codes have no reason to say the class."""
    run = vj.fit(dataclasses.replace(SMALL, epochs=40), DATASET, listeners=[])
    x = run.batch_of(DATASET.test).x[DATASET.test.labels == 0][:2]
    first, second = (np.eye(3, dtype=np.float32)[[label, label]] for label in (0, 1))
    line = run.interpolate(x, None, steps=5, c=first, c_end=second)
    assert line.shape == (2, 5, 4, 4, 1)
    assert rows_of(line[:, 0])[0] > 0.9 > 0.1 > rows_of(line[:, 0])[1]
    assert rows_of(line[:, -1])[1] > 0.9 > 0.1 > rows_of(line[:, -1])[0]
    np.testing.assert_array_equal(
        run.interpolate(x, x, steps=3, c=first), run.interpolate(x, None, 3, first, first)
    )


def test_options_of_a_condition_need_one():
    config = dataclasses.replace(SMALL, condition="none", likelihood="bernoulli", dataset="arrays")
    for options, sentence in (
        ({"condition_in": "decoder"}, "condition_in=decoder is for a model of p"),
        ({"condition_dropout": 0.1}, "condition_dropout=0.1 is for a model of p"),
        ({"prior": "conditional"}, r"prior=conditional is p\(z\|c\)"),
    ):
        with pytest.raises(BadInputError, match=sentence):
            prepare(DATASET, dataclasses.replace(config, binarisation="threshold", **options))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"condition_in": "decoder,likelihood"}, "must be some of encoder, prior, decoder"),
        ({"condition_in": "decoder,decoder"}, "must be some of encoder, prior, decoder"),
        ({"condition_in": "encoder"}, "the same for all conditions"),
        ({"condition_in": "encoder", "prior": "mixture"}, "the same for all conditions"),
        ({"condition_in": "prior", "prior": "vamp"}, "the same for all conditions"),
        ({"condition_in": "decoder", "prior": "conditional"}, "leaves it out: add prior"),
        ({"condition_dropout": 1.0}, "must be at least 0 and below 1"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(options, sentence):
    with pytest.raises(BadInputError, match=sentence):
        dataclasses.replace(SMALL, **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("label", "sentence"),
    [("3", "must be one of 0 to 2, or none"), ("x", "must be one of 0 to 2, or none")],
)
def test_a_label_out_of_range_is_one_sentence(run, label, sentence):
    with pytest.raises(BadInputError, match=sentence):
        sample.conditions(run, 4, label)


@pytest.mark.slow
def test_a_label_of_a_run_without_labels_or_dropout_is_refused(tmp_path):
    config = dataclasses.replace(SMALL, epochs=1)
    labelled = vj.fit(config, DATASET, tmp_path / "labels", listeners=[])
    with pytest.raises(BadInputError, match="label=none is for a run with condition_dropout"):
        sample.conditions(labelled, 4, "none")
    plain = vj.fit(dataclasses.replace(config, condition="none"), DATASET, listeners=[])
    with pytest.raises(BadInputError, match="label=1 must be for a run with condition=labels"):
        sample.conditions(plain, 4, "1")
    assert sample.conditions(plain, 4) is None
