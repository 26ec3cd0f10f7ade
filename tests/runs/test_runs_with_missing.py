"""Runs of data with missing values: from the configuration to figures and filled-in tables."""

import json

import jax
import numpy as np
import pytest

from vae_jax import data
from vae_jax.commands import impute
from vae_jax.config import Config
from vae_jax.data import Column, from_arrays
from vae_jax.distributions import Observed
from vae_jax.errors import BadInputError
from vae_jax.evaluation import imputation
from vae_jax.runs import fit, load_run

RNG = np.random.default_rng(0)
SMALL = {
    "epochs": 2, "batch_size": 20, "hidden": (16,), "network": "mlp", "latent_dim": 2,
    "nll_samples": 5,
}  # fmt: skip


def mixed(number=200):
    """Rows whose columns follow one another, some of whose values are missing."""
    z = RNG.normal(size=number)
    x = np.stack(
        [
            10 * z + RNG.normal(size=number),
            np.exp(z + 0.1 * RNG.normal(size=number)),
            RNG.poisson(np.exp(1 + 0.5 * z)),
            (z > 0) + (z > 1),
            np.clip(np.round(z + 2), 0, 4),
            z + 0.3 * RNG.normal(size=number) > 0,
        ],
        axis=1,
    )
    schema = (
        Column("real", "real"), Column("positive", "positive"), Column("count", "count"),
        Column("class", "categorical", ("a", "b", "c")), Column("grade", "ordinal", tuple("01234")),
        Column("flag", "binary", ("no", "yes")),
    )  # fmt: skip
    return from_arrays(x, schema=schema, mask=RNG.random(x.shape) > 0.1)


def test_a_mixed_table_with_holes_is_trained_resumed_and_drawn(tmp_path):
    dataset = mixed()
    config = Config(**SMALL, missing="0.2", objective="iwae", num_samples=5)
    run = fit(config, dataset, tmp_path / "run", listeners=[])
    assert run.config.likelihood == "columns"
    assert 0.2 < run.summary["missing_share"] < 0.4
    assert "are missing" in str(run.summary)
    for name in ("marginals", "pairs", "codes", "training_curves"):
        assert (tmp_path / "run" / "figures" / f"{name}.png").exists()
    again = load_run(tmp_path / "run")
    assert again.schema == dataset.schema
    x = again.batch_of(data.with_hidden(dataset, 0.2, 0).test)
    assert isinstance(x.x, Observed)
    assert np.isfinite(np.asarray(again.encode(x).mean)).all()
    assert again.sample(jax.random.key(0), 7).shape == (7, 6)
    nll = again.evaluate(dataset).get("test_nll")
    np.testing.assert_allclose(nll, run.summary["test_nll"], rtol=1e-6)


def incomes(income):
    """Rows of a number and an income, of which `income` has 200."""
    schema = (Column("age", "real"), Column("income", "positive"))
    return from_arrays(np.stack([RNG.normal(size=200), income], axis=1), schema=schema)


def test_a_zero_of_a_test_example_alone_has_a_probability(tmp_path):
    income = np.exp(RNG.normal(size=200))
    first = np.asarray(incomes(income).test.x)[0, 1]
    dataset = incomes(np.where(np.isclose(income, first), 0.0, income))
    assert (np.asarray(dataset.train.x) != 0).all()
    run = fit(Config(**SMALL), dataset, tmp_path / "run", listeners=[])
    assert np.isfinite(run.summary["test_nll"])


@pytest.mark.parametrize(("income", "which"), [(2.0, "one value above 0"), (0.0, "one value")])
def test_a_positive_column_of_one_value_is_refused(income, which, tmp_path):
    dataset = incomes(np.where(np.arange(200) % 3 > 0, income, 0.0))
    with pytest.raises(BadInputError, match=f"Column 'income' has {which} in all training"):
        fit(Config(**SMALL), dataset, tmp_path / "run", listeners=[])


@pytest.mark.slow
def test_a_column_in_thousands_does_not_rule(tmp_path):
    """The same table with a real column times 1e4: the other columns learn the same."""
    dataset = mixed(400)
    config = Config(**{**SMALL, "epochs": 20})
    splits = {}
    for name in ("train", "validation", "test"):
        split = getattr(dataset, name)
        x = split.x.copy()
        x[:, 0] *= 1e4
        splits[name] = data.Split(x, mask=split.mask)
    other = fit(config, dataset._replace(**splits), tmp_path / "other", listeners=[])
    run = fit(config, dataset, tmp_path / "run", listeners=[])
    difference = other.summary["test_elbo"] - run.summary["test_elbo"]
    share = dataset.test.mask[:, 0].mean()
    np.testing.assert_allclose(difference, -share * np.log(1e4), atol=0.05)


def test_images_with_holes_and_binarisation(tmp_path):
    x = RNG.random((120, 6, 6)).astype(np.float32)
    mask = RNG.random((120, 6, 6)) > 0.3
    dataset = from_arrays(x, mask=mask)
    run = fit(Config(**SMALL), dataset, tmp_path / "run", listeners=[])
    assert run.config.binarisation == "dynamic"
    batch = run.batch_of(dataset.test)
    np.testing.assert_array_equal(batch.x.mask > 0, dataset.test.mask)
    assert set(np.unique(batch.x.value)) <= {0.0, 1.0}
    whole = run.batch_of(data.Split(dataset.test.x))
    assert (whole.x.mask == 1).all()
    assert (tmp_path / "run" / "figures" / "reconstructions.png").exists()


def test_a_model_of_the_mask(tmp_path):
    x = RNG.normal(size=(150, 3))
    dataset = from_arrays(x, kind="real", mask=RNG.random(x.shape) > 0.3)
    run = fit(Config(**SMALL, missingness="self_masking"), dataset, tmp_path / "run", listeners=[])
    assert set(run.params["missing"]) == {"slope", "offset"}
    assert np.isfinite(run.summary["test_nll"])
    assert load_run(tmp_path / "run").sample(jax.random.key(0), 4).shape == (4, 3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"missing": "1.5"}, "missing=1.5 must be a rate above 0 and below 1"),
        ({"missing_seed": 2}, "missing_seed=2 is for a rate of missing values"),
        ({"missingness": "linear", "layers": (3, 2)}, "which layers=3,2 is not for"),
        ({"missingness": "linear", "likelihood": "poisson"}, "likelihood=poisson does not have"),
    ],
)
def test_contradictions_are_refused(options, said):
    with pytest.raises(BadInputError, match=said):
        Config(**options)


def test_data_that_are_not_for_the_options_are_refused(tmp_path):
    x = RNG.normal(size=(100, 3))
    whole = from_arrays(x, kind="real")
    with pytest.raises(BadInputError, match="missingness=linear is a model of the values that are"):
        fit(Config(**SMALL, missingness="linear"), whole, tmp_path / "a", listeners=[])
    mask = np.ones(x.shape, bool)
    mask[:, 1] = False
    holes = from_arrays(x, kind="real", mask=mask, columns=("a", "b", "c"))
    with pytest.raises(BadInputError, match="column 'b' of arrays is missing in all training exam"):
        fit(Config(**SMALL), holes, tmp_path / "b", listeners=[])
    with pytest.raises(BadInputError, match="prior=vamp is not for"):
        fit(Config(**SMALL, prior="vamp", missing="0.2"), whole, tmp_path / "c", listeners=[])
    run = fit(Config(**SMALL), whole, tmp_path / "d", listeners=[])
    with pytest.raises(BadInputError, match="was trained on whole ones"):
        run.batch_of(data.Split(np.float32(x), mask=mask))


def test_errors_are_those_of_their_columns():
    columns = (
        Column("n", "real"), Column("c", "categorical", ("a", "b", "c")),
        Column("o", "ordinal", tuple("0123")),
    )  # fmt: skip
    truth = np.array([[1.0, 0, 0], [3.0, 1, 1], [5.0, 1, 3], [7.0, 2, 3]])
    hidden = np.zeros(truth.shape, bool)
    hidden[1:3] = True
    split = data.Split(truth, mask=~hidden, hidden=hidden)
    estimate = truth + np.array([[9, 9, 9], [1, 0, 2], [-3, 1, -1], [9, 9, 9]])
    number, category, ordinal = imputation.errors(split, estimate, columns)
    np.testing.assert_allclose(number.error, np.sqrt((1 + 9) / 2))
    np.testing.assert_allclose(number.simplest, np.sqrt((1 + 1) / 2))  # of the mean 4
    assert number.scale == 6.0
    assert (category.error, category.simplest) == (0.5, 1.0)  # the first of equally frequent ones
    assert ordinal.error == 1.5 / 4
    found = imputation.by_type([number, category, ordinal])
    np.testing.assert_allclose(found["real"], (np.sqrt(5) / 6, 1 / 6))
    assert "| n | 2 | 2.236 |" in imputation.in_words([number, category, ordinal])


@pytest.mark.slow
def test_the_command_fills_in_a_table(command, tmp_path):
    path = table_of(tmp_path)
    fit(Config(**SMALL, dataset=str(path)), None, tmp_path / "run", listeners=[])
    program = "from vae_jax.commands.main import main; main()"

    def call(*arguments):
        return command.python("-c", program, "impute", str(tmp_path / "run"), str(path), *arguments)

    result = call(f"--out={tmp_path}/filled.csv", "--missing=0.2", "--num_samples=20")
    assert result.code == 0, result.err
    assert "| kind |" in result.out
    assert "| all categorical |" in result.out
    given, filled = (p.read_text().splitlines() for p in (path, tmp_path / "filled.csv"))
    assert len(filled) == len(given)
    assert filled[0] == given[0]
    assert all(cell for line in filled for cell in line.split(","))
    options = ("--imputations=3", "--num_samples=20")
    assert call(f"--out={tmp_path}/filled.npz", *options).code == 0
    with np.load(tmp_path / "filled.npz") as arrays:
        assert arrays["x"].shape == (120, 3)
        assert arrays["samples"].shape == (3, 120, 3)
    for arguments, said in (
        ((f"--out={tmp_path}/x.csv", "--imputations=3"), "imputations=3 are several tables"),
        (("--missing=7",), "missing=7 must be a rate above 0 and below 1"),
    ):
        result = call(*arguments)
        assert result.code != 0
        assert said in result.err


def table_of(folder):
    """A .csv file of 120 rows with columns of three types, some of whose cells are missing."""
    path = folder / "table.csv"
    z = np.random.default_rng(1).normal(size=120)
    lines = [
        f"{'' if i % 7 == 0 else f'{10 * v:.3f}'},{'ab'[int(v > 0)]},{int(np.exp(1 + v))}"
        for i, v in enumerate(z)
    ]
    path.write_text("size,kind,number\n" + "\n".join(lines) + "\n")
    return path


def test_a_rate_hides_the_same_values_from_training_and_from_the_comparison(tmp_path):
    """Else estimates would be compared with values that training has seen."""
    path, options = table_of(tmp_path), {"missing": "0.3", "missing_seed": 2}
    config = Config(**SMALL, **options, dataset=str(path))
    run = fit(config, None, tmp_path / "run", listeners=[])
    dataset = data.load(str(path), **options)
    _, whole = data.load_whole(str(path), **options)
    filled = impute.examples_to_fill(run, str(path), Config(**options))
    np.testing.assert_array_equal(filled.hidden, whole.train.hidden)
    rows = [np.hstack([split.x, split.hidden]) for split in dataset[1:4]]
    divided, filled_rows = np.concatenate(rows), np.hstack([filled.x, filled.hidden])
    assert sorted(map(tuple, divided)) == sorted(map(tuple, filled_rows))
    trained = run.with_data().loaded_examples.train.x
    assert (np.isnan(trained) == ~dataset.train.mask).all()


def test_the_examples_of_the_command_are_in_the_order_of_the_file(tmp_path):
    path = table_of(tmp_path)
    run = fit(Config(**SMALL, dataset=str(path)), None, tmp_path / "run", listeners=[])
    split = impute.examples_to_fill(run, str(path), Config(missing="0.3"))
    assert split.hidden.sum() > 0
    numbers = [int(line.split(",")[2]) for line in path.read_text().splitlines()[1:]]
    np.testing.assert_array_equal(split.x[:, 2], numbers)
    assert impute.schema_of(run, split) == run.schema
    recorded = json.dumps(run.metadata["schema"])
    assert '["kind", "categorical", ["a", "b"]]' in recorded
