"""`vae-jax sample`, `encode` and the rest, as a user calls them, against the library."""

import csv
import dataclasses

import jax
import numpy as np
import pytest
from PIL import Image

import vae_jax as vj
from tests.experiments.run_files import assert_same_run
from vae_jax.runs import events, listeners


@pytest.fixture
def vae_jax(command):
    """Runs `vae-jax ...` in the folder of the finished run."""

    def call(*arguments):
        program = "from vae_jax.commands.main import main; main()"
        return command.python("-c", program, *arguments)

    return call


@pytest.mark.usefixtures("finished")
def test_samples_are_those_of_the_library(command, vae_jax):
    result = vae_jax("sample", "finished", "30", "--out=drawn.npz", "--seed=3")
    assert result.code == 0, result.err
    with np.load(command.folder / "drawn.npz") as drawn:
        run = vj.load(command.folder / "finished")
        np.testing.assert_allclose(drawn["x"], run.sample(jax.random.key(3), 30), atol=1e-6)
        np.testing.assert_allclose(drawn["x"], run.decode(drawn["z"]), atol=1e-6)
        assert vae_jax("sample", "finished", "30", "--out=each/", "--seed=3").code == 0
        for index in (0, 29):
            with Image.open(command.folder / "each" / f"{index:02d}.png") as image:
                pixels = np.asarray(image)
            np.testing.assert_array_equal(pixels, np.round(255 * drawn["x"][index, ..., 0]))
    assert vae_jax("sample", "finished", "30", "--out=drawn.png").code == 0
    with Image.open(command.folder / "drawn.png") as image:
        assert len(np.unique(np.asarray(image))) > 10


@pytest.mark.usefixtures("finished")
def test_codes_are_those_of_the_library(command, vae_jax):
    with np.load(command.data) as images:
        labels = np.arange(30) % 7
        np.savez(
            command.folder / "labelled.npz", **images, y_train=np.zeros(120, int), y_test=labels
        )
    for out in ("codes.npz", "codes.csv"):
        result = vae_jax("encode", "finished", "labelled.npz", f"--out={out}")
        assert result.code == 0, result.err
    run = vj.load(command.folder / "finished")
    x = run.as_evaluated(vj.data.load(str(command.folder / "labelled.npz")).test.x)
    q = run.encode(x)
    with np.load(command.folder / "codes.npz") as codes:
        np.testing.assert_allclose(codes["mean"], q.mean, atol=1e-6)
        np.testing.assert_allclose(codes["std"], np.exp(q.log_std), rtol=1e-5)
        np.testing.assert_array_equal(codes["labels"], labels)
        kl = jax.vmap(lambda q: q.kl_per_dim(run.model.prior(run.params)).sum())(q)
        np.testing.assert_allclose(codes["kl"], kl, rtol=1e-4)
        np.testing.assert_allclose(codes["elbo"], codes["reconstruction"] - codes["kl"], rtol=1e-6)
        # 64 samples of each of 30 images, and 7 of each in the summary.
        np.testing.assert_allclose(codes["elbo"].mean(), run.summary["test_elbo"], rtol=0.05)
        with open(command.folder / "codes.csv") as file:
            rows = list(csv.DictReader(file))
        assert list(rows[0]) == [
            *("mean_0", "mean_1", "std_0", "std_1"),
            *("elbo", "reconstruction", "kl", "labels"),
        ]
        for name, values in (("mean_1", codes["mean"][:, 1]), ("elbo", codes["elbo"])):
            np.testing.assert_allclose([float(row[name]) for row in rows], values, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("finished")
def test_a_run_of_a_command_is_one_of_the_library_and_the_other_way_round(command, vae_jax):
    """The folder that one wrote is finished for the other, and its flags make the same run."""
    finished = command.folder / "finished"
    run = vj.load(finished)
    # In a process of its own: these tests are compiled with less optimisation, and so other bits.
    fit = "import vae_jax as vj; vj.fit(vj.load('finished').config, workdir='fitted')"
    fitted = command.python("-c", fit)
    assert fitted.code == 0, fitted.err
    assert_same_run(command.folder / "fitted", finished)
    flags = f"--flagfile={command.folder / 'fitted' / 'flags.cfg'}"
    result = vae_jax("train", flags, "--workdir=fitted")
    assert result.code == 0, result.err
    assert "The run in fitted is finished; another workdir= makes a new one." in result.out
    assert str(run.summary).splitlines()[1] in result.out
    joined = vae_jax("table", "--runs=finished,fitted")
    assert "fitted is the same run as finished and is left out." in joined.out


BAD = {
    ("sample", "nowhere", "3"): "run=nowhere holds no flags.cfg",
    ("sample", "finished"): "NUMBER is missing",
    ("sample", "finished", "few"): "NUMBER is 'few' and must be a positive whole number",
    ("sample", "finished", "0"): "must be a positive whole number",
    ("sample", "finished", "3", "4"): "'4' is not a flag",
    ("sample", "finished", "3", "--out=x.gif"): "--out=x.gif must be FILE.npz or FILE.csv or",
    ("sample", "finished", "500", "--out=x.png"): "for at most 400 samples and not 500",
    ("sample", "finished", "3", "--out=/proc/x/y.npz"): "--out=/proc/x cannot be written",
    ("sample", "finished", "3", "--seed=-1"): "--seed=-1 must be at least 0",
    ("encode", "finished", "nothing.npz"): "nothing.npz does not exist",
    ("encode", "finished", "wide.npz"): "x has the shape (2, 4, 9, 1), but a batch of examples",
    ("encode", "finished", "mnist_5k", "--split=all"): "--split=all is unknown; it is one of",
    ("train", "--epoch=3"): "epochs",
    ("train", "--logger=paper"): "--logger=paper is unknown; it is one of none, tensorboard",
    ("table",): "--runs=FOLDER,FOLDER names folders",
    ("trian",): "there is no command 'trian', only train, sweep",
}


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize("arguments", BAD, ids=" ".join)
def test_bad_input_is_one_sentence(command, vae_jax, arguments):
    wide = np.zeros((20, 4, 9), np.uint8)
    wide[:, 0] = 255
    np.savez(command.folder / "wide.npz", x_train=wide)
    result = vae_jax(*arguments)
    assert result.code == 2, result
    assert BAD[arguments] in result.err
    assert result.err.startswith("Error: ")
    assert result.err.count("\n") == 1
    assert result.err.rstrip().endswith((".", "?"))


@pytest.mark.usefixtures("finished")
def test_compressed_examples_come_back_and_damaged_files_are_one_sentence(command, vae_jax):
    result = vae_jax("compress", "finished", "small.npz", "--out=small.vae")
    assert result.code == 0, result.err
    assert "minus the ELBO" in result.out
    result = vae_jax("decompress", "finished", "small.vae", "--out=back.npz")
    assert result.code == 0, result.err
    run = vj.load(command.folder / "finished")
    x = run.as_evaluated(vj.data.load(str(command.data)).test.x)
    with np.load(command.folder / "back.npz") as back:
        assert back["x"].dtype == np.uint8
        np.testing.assert_array_equal(back["x"], x)
    assert vae_jax("decompress", "finished", "small.vae", "--out=back/").code == 0
    with Image.open(command.folder / "back" / "00.png") as image:
        np.testing.assert_array_equal(np.asarray(image), 255 * x[0, ..., 0])
    content = (command.folder / "small.vae").read_bytes()
    (command.folder / "cut.vae").write_bytes(content[:-5])
    result = vae_jax("decompress", "finished", "cut.vae")
    assert result.code == 2
    assert result.err.count("\n") == 1
    assert "cut.vae is cut off" in result.err
    result = vae_jax("compress", "finished", "small.npz", "--split=all", "--out=all.vae")
    assert result.code == 0, result.err
    assert "150 examples" in result.out


def test_help_and_version(vae_jax):
    assert vae_jax("--version").out.strip() == vj.__version__
    for name in ("train", "sweep", "table", "sample", "encode"):
        assert f"vae-jax {name}" in vae_jax().out
    short = vae_jax("sample", "--help")
    assert short.code == 0
    assert "--out=NAME" in short.out


def test_loggers_are_given_each_epoch_and_the_result(tmp_path, monkeypatch):
    """With packages that are none: what they are called with is what counts."""
    logged = []

    class Writer:
        def __init__(self, folder):
            self.folder = folder

        def add_scalar(self, name, value, global_step):
            logged.append((name, value, global_step))

        def close(self):
            logged.append("closed")

    class Logged:
        def __init__(self):
            self.summary = {}

        def log(self, row, step):
            logged.append((row, step))

        def finish(self):
            logged.append(dict(self.summary))

    packages = {
        "tensorboardX": type("tensorboardX", (), {"SummaryWriter": Writer}),
        "wandb": type("wandb", (), {"init": staticmethod(lambda **options: Logged())}),
    }
    config = vj.Config(epochs=2).settled()
    happened = [
        events.Began(("a",), config, 0, 2),
        events.EpochDone(1, 2, {"a": {"epoch": 1, "train_elbo": -3.0}}, 1),
        events.Finished("a", {"test_nll": 2.0, "epochs": 2, "dataset": "x"}),
        events.Ended(),
    ]
    expected = {
        "tensorboardX": [("epoch", 1, 1), ("train_elbo", -3.0, 1), ("test_nll", 2.0, 2), "closed"],
        "wandb": [({"epoch": 1, "train_elbo": -3.0}, 1), {"test_nll": 2.0}],
    }
    for name, make in (
        ("tensorboardX", lambda: listeners.TensorBoard(tmp_path)),
        ("wandb", listeners.WandB),
    ):
        monkeypatch.setitem(__import__("sys").modules, name, packages[name])
        logged.clear()
        listener = make()
        for event in happened:
            listener(event)
        assert logged == expected[name]
        monkeypatch.setitem(__import__("sys").modules, name, None)
        with pytest.raises(vj.errors.BadInputError, match=f"needs the package {name}"):
            make()


def test_every_field_can_be_written_and_read():
    config = vj.Config(hidden=(3, 4), stratified=True, objective="beta_tc", learning_rate=1e-9)
    texts = vj.config.written(config)
    assert vj.config.read(vj.Config, texts) == config
    for field in dataclasses.fields(vj.Config):
        known = vj.Config.OPTIONS[field.name]
        assert known.help.endswith(".")
        assert known.check(known.default) == known.default


@pytest.mark.slow
@pytest.mark.usefixtures("finished")
def test_a_new_prior_by_its_command_is_a_run_beside_the_old_one(command, vae_jax):
    flags = ("--prior=gmm:3", "--out=gmm", "--epochs=2")
    result = vae_jax("prior", "finished", *flags)
    assert result.code == 0, result.err
    old, new = (vj.load(command.folder / name) for name in ("finished", "gmm"))
    difference = new.summary["test_nll"] - old.summary["test_nll"]
    assert f"{new.summary['test_nll']:.3f}" in result.out
    assert f"{difference:+.3f}" in result.out
    jax.tree.map(np.testing.assert_array_equal, new.params["decoder"], old.params["decoder"])
    with Image.open(command.folder / "gmm" / "figures" / "priors.png") as image:
        assert len(np.unique(np.asarray(image))) > 10
    assert vae_jax("sample", "gmm", "5", "--out=of_gmm.npz").code == 0
    result = vae_jax("encode", "gmm", str(command.data), "--out=moved.npz", "--hmc_steps=2")
    assert result.code == 0, result.err
    with np.load(command.folder / "moved.npz") as codes:
        assert codes["z"].shape == codes["mean"].shape
        assert np.all(np.abs(codes["z"] - codes["mean"]) < 20 * codes["std"] + 5.0)


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("finished",), "--out is missing: name the folder of the new run"),
        (("finished", "--out=new", "--prior=gmm:none"), "--prior=gmm:none: after the colon"),
        (("nowhere", "--out=new"), "holds no flags.cfg"),
        (("finished", "--out=new", "--epochs=0"), "--epochs=0 must be at least 1"),
        (("finished", "--out=new", "--prior=autoregressive"), "is for discrete latents"),
    ],
)
def test_what_is_no_new_prior_is_one_sentence(vae_jax, given, message):
    result = vae_jax("prior", *given)
    assert result.code == 2
    assert message in result.err
    assert result.err.count("\n") == 1
