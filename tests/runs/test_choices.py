"""What `auto` chooses for each kind of data, and the likelihoods that are refused."""

import numpy as np
import pytest

from vae_jax import data
from vae_jax.config import Config
from vae_jax.errors import BadInputError
from vae_jax.models.likelihoods import LIKELIHOODS
from vae_jax.runs import choices, examples

RNG = np.random.default_rng(0)
DATA = {
    "binary": data.from_arrays(RNG.integers(0, 2, (60, 4, 4))),
    "8-bit": data.from_arrays(RNG.integers(0, 256, (60, 4, 4), np.uint8)),
    "colour": data.from_arrays(RNG.integers(0, 256, (60, 4, 4, 3), np.uint8)),
    "intensities": data.from_arrays(RNG.random((60, 4, 4))),
    "real": data.from_arrays(RNG.normal(3.0, 20.0, (60, 3))),
    "count": data.from_arrays(RNG.poisson(4.0, (60, 3)) + (np.arange(3) == 0), kind="count"),
}


@pytest.mark.parametrize(
    ("kind", "likelihood", "binarisation"),
    [
        ("binary", "bernoulli", "none"),
        ("8-bit", "bernoulli", "dynamic"),
        ("colour", "discretised_logistic", "none"),
        ("intensities", "bernoulli", "dynamic"),
        ("real", "gaussian_learned", "none"),
        ("count", "negative_binomial", "none"),
    ],
)
def test_auto_chooses_by_the_kind_of_data(kind, likelihood, binarisation):
    found = choices.chosen(Config(), DATA[kind])
    assert (found.likelihood, found.binarisation) == (likelihood, binarisation)
    config = choices.chosen(Config(batch_size=10), DATA[kind])
    said = examples.in_words(examples.prepare(DATA[kind], config), config, chosen=True)
    assert f"likelihood={likelihood}" in said


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_a_likelihood_is_taken_or_refused_with_one_that_fits(kind, likelihood):
    dataset = DATA[kind]
    fits = dataset.kind in LIKELIHOODS[likelihood].kinds
    of_black_and_white = likelihood == "bernoulli" and dataset.kind in ("8-bit", "intensities")
    if fits or of_black_and_white:
        found = choices.chosen(Config(likelihood=likelihood), dataset)
        assert found.likelihood == likelihood
        assert found.binarisation == ("dynamic" if of_black_and_white else "none")
        return
    with pytest.raises(BadInputError, match=f"^likelihood={likelihood} is for .*: use ") as caught:
        choices.chosen(Config(likelihood=likelihood), dataset)
    suggested = str(caught.value).split("use likelihood=")[1].split(" ")[0]
    assert dataset.kind in LIKELIHOODS[suggested].kinds


def test_numbers_of_the_data_are_recorded():
    binomial = choices.chosen(Config(likelihood="binomial"), DATA["count"])
    assert binomial.num_trials == DATA["count"].train.x.max()
    config = choices.chosen(Config(batch_size=10), DATA["real"])
    facts = examples.prepare(DATA["real"], config).facts
    x = DATA["real"].train.x.astype(np.float64)
    np.testing.assert_allclose(facts.shift, x.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(facts.scale, x.std(axis=0), rtol=1e-5)
    config = choices.chosen(Config(batch_size=10, likelihood="laplace"), DATA["8-bit"])
    facts = examples.prepare(DATA["8-bit"], config).facts
    pixels = DATA["8-bit"].train.x / 255.0
    expected = np.sqrt(pixels.var(axis=0).mean())
    np.testing.assert_allclose(facts.initial_std, expected, rtol=1e-5)
    assert facts.shift is None


@pytest.mark.parametrize(
    ("options", "dataset", "said"),
    [
        ({"binarisation": "dynamic"}, "real", "binarisation=dynamic is for pixels, and arrays has"),
        ({"likelihood": "bernoulli", "binarisation": "none"}, "8-bit", "leaves arrays grey"),
    ],
)
def test_a_binarisation_that_does_not_fit_is_refused(options, dataset, said):
    with pytest.raises(BadInputError, match=said):
        choices.chosen(Config(**options), DATA[dataset])


def test_examples_without_what_a_condition_is_made_of_are_refused():
    table = RNG.poisson(2.0, (60, 3))
    table[7] = 0
    counts = data.from_arrays(table, kind="count")
    options = {"batch_size": 10, "likelihood": "poisson", "binarisation": "none"}
    with pytest.raises(BadInputError, match="needs a total count above 0, which example"):
        examples.prepare(counts, Config(size_factors=True, **options))
    with pytest.raises(BadInputError, match="condition=labels needs a label for each example"):
        examples.prepare(counts, Config(condition="labels", **options))
