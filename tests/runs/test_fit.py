"""`fit`, `load` and what one does with a run, against the command and by itself."""

import dataclasses
import json
import shutil
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vae_jax as vj
from tests.experiments.run_files import assert_same_run, rows_of
from vae_jax.errors import BadInputError, DivergenceError, Stopped
from vae_jax.runs import events, validation

SMALL = vj.Config(network="mlp", hidden=(16,), latent_dim=2, batch_size=20, nll_samples=7, epochs=3)
OWN = vj.Config(batch_size=20, nll_samples=7, epochs=2)


def squares(number=150, seed=0):
    """Bright squares at random places, and in which half they begin."""
    places = np.random.default_rng(seed).integers(0, 5, (number, 2))
    images = np.zeros((number, 8, 8), np.uint8)
    for image, (row, column) in zip(images, places, strict=True):
        image[row : row + 4, column : column + 4] = 230
    return images, (places[:, 0] > 2).astype(int)


@pytest.fixture(scope="module")
def dataset():
    images, labels = squares()
    return vj.data.from_arrays(
        images[:120], images[120:], labels=labels[:120], test_labels=labels[120:], name="squares"
    )


class Told(list):
    """The events of a run while it trains, and whether the folder already has what they tell."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def __call__(self, event):
        self.append(type(event).__name__)
        if isinstance(event, events.EpochDone):
            assert len(rows_of(self.folder)) == event.epoch
            assert event.rows["run"]["validation_elbo"] < 0
        if isinstance(event, events.Saved):
            newest = max((self.folder / "checkpoints").iterdir())
            assert newest.name == f"epoch-{event.epoch:06d}.npz"


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    return Told(tmp_path_factory.mktemp("fit") / "run")


@pytest.fixture(scope="module")
def run(dataset, told):
    return vj.fit(SMALL, dataset, told.folder, listeners=[told])


@pytest.fixture
def copy(run, tmp_path):
    """A folder of the same run, which a test may change."""
    shutil.copytree(run.folder.path, tmp_path / "run")
    return tmp_path / "run"


def own_model(latent_dim=2):
    return vj.vae((8, 8, 1), latent_dim, encoder=vj.mlp((5,)), decoder=vj.mlp((5,)))


def test_a_run_says_what_it_was_trained_with_and_how_good_it_is(run, dataset):
    assert run.config == dataclasses.replace(
        SMALL.settled(), dataset="arrays:squares", likelihood="bernoulli", binarisation="dynamic"
    )
    assert [row["epoch"] for row in run.history] == [1, 2, 3]
    assert (
        run.summary["test_nll"]
        == json.loads((run.folder.path / "summary.json").read_text())["test_nll"]
    )
    text = str(run.summary)
    assert f"{run.summary['test_nll']:9.3f} nats" in text
    assert "K=7" in text
    # The ELBO of the test images by the model itself, with other noise.
    x = jnp.asarray(run.as_evaluated(dataset.test.x))
    keys = jax.random.split(jax.random.key(5), (len(x), 200))
    elbos = jax.vmap(
        lambda x, keys: jax.vmap(lambda key: vj.elbo(run.model, run.params, x, key)[0])(keys).mean()
    )(x, keys)
    np.testing.assert_allclose(run.summary["test_elbo"], elbos.mean(), rtol=0.02)


def test_loading_gives_the_same_run(run, dataset):
    loaded = vj.load(run.folder.path)
    assert loaded.config == run.config
    jax.tree.map(np.testing.assert_array_equal, loaded.params, run.params)
    again = loaded.evaluate(dataset, listeners=[])
    assert again == run.summary  # the same key and K: the same numbers
    more = run.evaluate(num_samples=500, listeners=[])
    assert more["nll_samples"] == 500
    assert more["test_nll"] < run.summary["test_nll"]  # tighter in K
    with pytest.raises(BadInputError, match="were given as arrays in memory"):
        loaded.evaluate(listeners=[])
    other = vj.data.from_arrays(squares(seed=1)[0])
    with pytest.raises(BadInputError, match="other data than the run in"):
        loaded.evaluate(other, listeners=[])


def test_the_same_call_returns_the_finished_run_and_trains_nothing(run, dataset):
    told = []
    again = vj.fit(SMALL, dataset, run.folder.path, listeners=[told.append])
    assert again.summary == run.summary
    assert not any(isinstance(event, events.EpochDone) for event in told)
    with pytest.raises(BadInputError, match="other data than the run in"):
        vj.fit(SMALL, vj.data.from_arrays(squares(seed=1)[0], name="squares"), run.folder.path)


@pytest.mark.usefixtures("run")
def test_events_come_in_order_and_metrics_before_checkpoints(told):
    of_training = [name for name in told if name not in ("Said", "Counted")]
    assert of_training == ["Began", *3 * ["EpochDone", "Saved"], "Finished", "Ended"]


def test_a_stopped_fit_goes_on_to_the_bit(run, dataset, tmp_path):
    before = signal.getsignal(signal.SIGINT)

    def interrupt(event):
        if isinstance(event, events.EpochDone) and event.epoch == 1:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Stopped, match="Stopped after epoch 2 of 3"):
        vj.fit(SMALL, dataset, tmp_path / "run", listeners=[interrupt])
    assert signal.getsignal(signal.SIGINT) is before
    vj.fit(SMALL, dataset, tmp_path / "run", listeners=[])
    assert_same_run(tmp_path / "run", run.folder.path)


@pytest.mark.slow
def test_arrays_and_names_are_data_too(run, tmp_path, dataset):
    images, _ = squares()
    fitted = vj.fit(dataclasses.replace(SMALL, epochs=1), images, listeners=[])
    assert fitted.config.dataset == "arrays:arrays"
    assert fitted.folder.path.name.startswith("vae_jax-")
    np.savez(tmp_path / "squares.npz", x_train=images[:120], x_test=images[120:])
    named = vj.fit(SMALL, str(tmp_path / "squares.npz"), tmp_path / "named", listeners=[])
    assert_same_run(named.folder.path, run.folder.path)  # the same images by another way


def test_more_epochs_train_a_finished_run_on(dataset, copy):
    told = []
    longer = dataclasses.replace(SMALL, epochs=4)
    run = vj.fit(longer, dataset, copy, listeners=[told.append])
    said = [event.text for event in told if isinstance(event, events.Said)]
    assert any("raised from 3 to 4: after epoch 3 the learning rate follows" in s for s in said)
    assert [row["epoch"] for row in run.history] == [1, 2, 3, 4]
    assert run.summary["epochs"] == 4
    with pytest.raises(BadInputError, match="epochs=4 there, epochs=2 here"):
        vj.fit(dataclasses.replace(SMALL, epochs=2), dataset, copy, listeners=[])


def test_another_number_of_samples_evaluates_again_and_trains_nothing(run, dataset, copy):
    before = rows_of(copy)
    told = []
    more = dataclasses.replace(SMALL, nll_samples=200)
    again = vj.fit(more, dataset, copy, listeners=[told.append])
    assert not any(isinstance(event, events.EpochDone) for event in told)
    assert rows_of(copy) == before
    assert again.summary["nll_samples"] == 200
    expected = run.evaluate(num_samples=200, listeners=[])
    assert again.summary["test_nll"] == expected["test_nll"]


@pytest.mark.slow
def test_the_best_epoch_is_kept_and_patience_ends_the_training(dataset, tmp_path):
    """A learning rate at which the validation ELBO falls after some epochs."""
    config = dataclasses.replace(
        SMALL, epochs=40, keep="best", patience=2, learning_rate=0.2, ema_decay=0.0
    )
    told = []
    run = vj.fit(config, dataset, tmp_path / "run", listeners=[told.append])
    elbos = [row["validation_elbo"] for row in run.history]
    best = int(np.argmax(elbos)) + 1
    (ended,) = (event for event in told if isinstance(event, events.EndedEarly))
    assert ended.epoch == len(elbos) == best + 2 < 40
    assert run.summary["evaluated_epoch"] == best
    assert run.summary["validation_elbo"] == max(elbos)
    assert vj.load(tmp_path / "run").metadata["epoch"] == best
    assert vj.load(tmp_path / "run", which="last").metadata["epoch"] == len(elbos)
    whole = run.evaluate(listeners=[])
    # A run that was killed before its summary is finished without training.
    (tmp_path / "run" / "summary.json").unlink()
    again = vj.fit(config, dataset, tmp_path / "run", listeners=[])
    assert again.history == run.history
    assert again.summary["test_nll"] == whole["test_nll"]


def test_a_bound_of_several_samples_is_chosen_by_itself(dataset, tmp_path):
    """Its ELBO may fall while it rises: the bound of as many samples says which epoch is best."""
    config = dataclasses.replace(
        SMALL, objective="iwae", num_samples=6, epochs=5, keep="best", nll_samples=6
    )
    run = vj.fit(config, dataset, tmp_path / "run", listeners=[])
    bounds = [row["validation_bound"] for row in run.history]
    assert all(row["validation_elbo"] < row["validation_bound"] for row in run.history)
    assert run.summary["evaluated_epoch"] == int(np.argmax(bounds)) + 1
    of_one = dataclasses.replace(config, objective="elbo", num_samples=1, epochs=1)
    row = vj.fit(of_one, dataset, tmp_path / "of_one", listeners=[]).history[0]
    assert "validation_bound" not in row


def test_the_best_epoch_is_the_first_of_the_highest_score():
    elbos, bounds = [-3.0, -2.0, -2.0, -4.0], [-3.0, -2.5, -2.2, -1.0]
    rows = [{"epoch": n, "validation_elbo": elbo} for n, elbo in enumerate(elbos, 1)]
    assert validation.best_epoch(rows) == 2
    patient = dataclasses.replace(SMALL, patience=3)
    assert not validation.has_ended(patient, rows)
    assert validation.has_ended(dataclasses.replace(SMALL, patience=2), rows)
    assert not validation.has_ended(SMALL, rows)
    with_bounds = [
        row | {"validation_bound": bound} for row, bound in zip(rows, bounds, strict=True)
    ]
    assert validation.best_epoch(with_bounds) == 4


def test_a_run_that_diverges_raises_and_keeps_its_checkpoints(dataset, tmp_path):
    config = dataclasses.replace(SMALL, learning_rate=1e30)
    with pytest.raises(DivergenceError, match="Training diverged: "):
        vj.fit(config, dataset, tmp_path / "run", listeners=[])


@pytest.mark.slow
def test_a_model_of_ones_own_is_saved_and_loaded(dataset, tmp_path):
    run = vj.fit(OWN, dataset, tmp_path / "run", model=own_model(), listeners=[])
    loaded = vj.load(tmp_path / "run", model=own_model())
    jax.tree.map(np.testing.assert_array_equal, loaded.params, run.params)
    assert loaded.evaluate(dataset, listeners=[]) == run.summary
    with pytest.raises(BadInputError, match=r"a model of the user's own, .* load\(\.\.\., model="):
        vj.load(tmp_path / "run")
    with pytest.raises(BadInputError, match="is of another model"):
        vj.load(tmp_path / "run", model=own_model(3))
    more = dataclasses.replace(OWN, epochs=3)
    with pytest.raises(BadInputError, match="a model of the user's own: give it as model="):
        vj.fit(more, dataset, tmp_path / "run", listeners=[])
    assert vj.fit(more, dataset, tmp_path / "run", model=own_model(), listeners=[])


def test_a_run_generates_interpolates_and_draws(run, dataset, tmp_path):
    x = run.as_evaluated(dataset.test.x)
    assert set(np.unique(x)) == {0.0, 1.0}
    line = run.interpolate(x[:2], x[2:4], steps=5)
    assert line.shape == (2, 5, 8, 8, 1)
    ends = run.decode(run.encode(x[:4]).mean)
    np.testing.assert_allclose(line[:, 0], ends[:2], atol=1e-5)
    np.testing.assert_allclose(line[:, -1], ends[2:], atol=1e-5)
    run.plot(tmp_path / "curves.pdf")
    run.scatter(dataset.test, path=tmp_path / "latents.png")
    assert (tmp_path / "curves.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "latents.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(BadInputError, match="must be equal"):
        run.interpolate(x[:2], x[:3])
    with pytest.raises(BadInputError, match="steps=1 must be at least 2"):
        run.interpolate(x[:2], x[:2], steps=1)


BAD = {
    "unknown field": (lambda: vj.Config(latent_dims=3), "latent_dim"),
    "unknown choice": (lambda: vj.Config(network="cnn"), "network=cnn is unknown; it is one of"),
    "wrong type": (lambda: vj.Config(epochs="3"), "epochs='3' must be a whole number"),
    "out of range": (
        lambda: vj.Config(ema_decay=1.0),
        "ema_decay=1.0 must be at least 0 and below",
    ),
    "not finite": (lambda: vj.Config(learning_rate=float("nan")), "learning_rate=nan must be"),
    "bool for a number": (lambda: vj.Config(epochs=True), "epochs=True must be a whole number"),
    "contradiction": (lambda: vj.Config(beta=2.0), "beta=2.0 is not for objective=elbo"),
    "two data sets": (
        lambda: vj.fit(vj.Config(dataset="mnist"), squares()[0], listeners=[]),
        "leave one of them out",
    ),
    "fields of a given model": (
        lambda: vj.fit(vj.Config(latent_dim=3), squares()[0], model=own_model(), listeners=[]),
        "latent_dim=3 describes a model, and model= gives one",
    ),
    "no model": (lambda: vj.fit(OWN, squares()[0], model="mlp"), "model='mlp' must be a"),
    "another shape": (
        lambda: vj.fit(OWN, squares()[0][:, :4], model=own_model(), listeners=[]),
        "objective=elbo with estimator=pathwise: ",
    ),
    "counts": (lambda: vj.fit(SMALL, squares()[0] // 100), "x_train"),
    "no run": (lambda: vj.load("nowhere"), "run=nowhere holds no flags.cfg"),
    "too many devices": (
        lambda: vj.fit(SMALL, squares()[0], hardware=vj.Hardware(num_devices=99)),
        "num_devices=99 must be between 1 and",
    ),
    "a grid that is none": (
        lambda: vj.sweep(SMALL, vj.Grid(sweep={"speed": [1, 2]}), "nowhere"),
        "'speed' cannot be swept",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence(case):
    call, words = BAD[case]
    with pytest.raises(BadInputError) as raised:
        call()
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
