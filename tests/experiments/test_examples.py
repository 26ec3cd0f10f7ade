"""Processes that check their images together. The processes are functions in this one."""

import jax
import numpy as np
import pytest

from vae_jax import data
from vae_jax.config import Config
from vae_jax.errors import BadInputError
from vae_jax.models import Batch
from vae_jax.processes import exchange
from vae_jax.runs import choices, examples

RNG = np.random.default_rng(0)
TRAIN = RNG.integers(0, 256, (2 * data.CHUNK + 101, 2, 3, 1), np.uint8)
HELD_OUT = RNG.integers(0, 256, (7, 2, 3, 1), np.uint8)
GIVEN = examples.Examples(
    "noise",
    "8-bit",
    Batch(TRAIN),
    Batch(HELD_OUT),
    Batch(HELD_OUT[:4]),
    data.grey,
    data.grey,
    examples.Facts((3, 4, 1)),
)


def by_processes(monkeypatch, function, of_each):
    """The results of the function in each of several processes, given the images of each.

    It is called twice for each: first to note what the process sends, then with what it receives.
    """
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(jax, "process_count", lambda: len(of_each))
    told = [[] for _ in of_each]

    def tell(own):
        told[jax.process_index()].append(own)
        return [own]

    def go_through(gather_bytes):
        found = []
        for index, of_one in enumerate(of_each):
            monkeypatch.setattr(jax, "process_index", lambda index=index: index)
            monkeypatch.setattr(exchange, "gather_bytes", gather_bytes())
            found.append(function(of_one))
        return found

    def hear():
        heard = zip(*told, strict=True)
        return lambda own: next(heard)

    go_through(lambda: tell)
    return go_through(hear)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("streamed", [False, True])
def test_fingerprints_of_several_processes_are_those_of_one(monkeypatch, count, streamed):
    given = GIVEN._replace(train=Batch(data.Rows(TRAIN))) if streamed else GIVEN
    alone = examples.fingerprints(GIVEN)
    assert alone == [data.fingerprint(split) for split in (TRAIN, HELD_OUT, HELD_OUT[:4])]
    assert by_processes(monkeypatch, examples.fingerprints, count * [given]) == count * [alone]


def test_processes_of_different_images_are_refused(monkeypatch):
    other = GIVEN._replace(test=Batch(HELD_OUT[1:5]))
    with pytest.raises(BadInputError, match="have different data under the name of noise"):
        by_processes(monkeypatch, examples.fingerprints, [GIVEN, other])


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("binarisation", ["dynamic", "threshold"])
def test_the_mean_of_several_processes_is_that_of_one(monkeypatch, count, binarisation):
    given = GIVEN._replace(train_binarise=examples.BINARISATIONS[binarisation][0])
    alone = examples.mean_of(given)
    found = by_processes(monkeypatch, examples.mean_of, count * [given])
    values = TRAIN >= 128 if binarisation == "threshold" else TRAIN / 255
    np.testing.assert_allclose(alone.x, values.mean(axis=0), rtol=1e-5)
    for mean in found:
        np.testing.assert_array_equal(mean.x, alone.x, strict=True)


@pytest.mark.parametrize(
    ("likelihood", "sentence"),
    [
        ("categorical", "for 8-bit pixels or black and white pixels, and arrays has intensities"),
        ("bernoulli", "for black and white, and binarisation=none leaves arrays grey"),
    ],
)
def test_pixels_that_a_likelihood_is_not_for_are_refused(likelihood, sentence):
    """Densities take fractions, and levels whole numbers."""
    options = {"binarisation": "none", "batch_size": 5}
    fractions = data.from_arrays(RNG.random((60, 3, 3)).astype(np.float32))
    with pytest.raises(BadInputError, match=f"likelihood={likelihood} is {sentence}"):
        choices.chosen(Config(likelihood=likelihood, **options), fractions)
    choices.chosen(Config(likelihood="laplace", **options), fractions)
    levels = data.from_arrays(RNG.integers(0, 256, (60, 3, 3), np.uint8))
    choices.chosen(Config(likelihood="categorical", **options), levels)
