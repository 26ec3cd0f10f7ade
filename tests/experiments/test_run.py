"""A whole run by its command: what it writes, says, refuses and repeats."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import vae_jax
from vae_jax import data
from vae_jax.config import Config
from vae_jax.distributions import kl_divergence
from vae_jax.models import draw
from vae_jax.models.likelihoods import LIKELIHOODS
from vae_jax.runs import choices, recipe
from vae_jax.runs import examples as examples_of
from vae_jax.training import make_epoch

SAME_NUMBERS = (
    "test_elbo",
    "test_reconstruction",
    "test_kl",
    "test_nll",
    "test_nll_stderr",
    "bits_per_dim",
)


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text())


def numbers_of(folder):
    summary = summary_of(folder)
    return {name: summary[name] for name in SAME_NUMBERS}


def metrics_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def checkpoint_of(folder):
    newest = max((folder / "checkpoints").glob("*.npz"))
    with np.load(newest, allow_pickle=False) as file:
        return {name: file[name] for name in file}


@pytest.mark.usefixtures("finished")
def test_the_summary_is_complete_and_consistent(command):
    summary = summary_of(command.folder / "finished")
    assert summary["dataset"] == "npz:small"
    assert summary["binarisation"] == "dynamic"
    assert (summary["seed"], summary["epochs"], summary["nll_samples"]) == (0, 4, 7)
    assert summary["test_images"] == 30
    elbo = summary["test_reconstruction"] - summary["test_kl"]
    np.testing.assert_allclose(summary["test_elbo"], elbo, rtol=1e-9)
    assert summary["test_nll"] < -summary["test_elbo"]  # the importance-weighted bound is tighter
    assert 0 < summary["test_nll_stderr"] < summary["test_nll"]
    bits = summary["test_nll"] / (64 * math.log(2))
    np.testing.assert_allclose(summary["bits_per_dim"], bits, rtol=1e-9)
    assert summary["train_seconds"] > 0
    assert summary["images_per_second"] > 0
    assert {"jax", "flax", "optax", "vae_jax", "commit"} <= set(summary["versions"])


@pytest.mark.usefixtures("finished")
def test_there_is_a_row_of_metrics_for_each_epoch_and_they_improve(command):
    rows = metrics_of(command.folder / "finished")
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert [row["step"] for row in rows] == [5, 10, 15, 20]  # 110 training images, batch 20
    for row in rows:
        elbo = row["train_reconstruction"] - row["train_kl"]
        np.testing.assert_allclose(row["train_elbo"], elbo, rtol=1e-5)
        elbo = row["validation_reconstruction"] - row["validation_kl"]
        np.testing.assert_allclose(row["validation_elbo"], elbo, rtol=1e-9)
    assert rows[-1]["train_elbo"] > rows[0]["train_elbo"]


@pytest.mark.usefixtures("finished")
def test_the_figures_are_pictures(command):
    folder = command.folder / "finished" / "figures"
    names = {path.stem for path in folder.glob("*.png")}
    assert names == {"codes", "reconstructions", "samples", "training_curves", "manifold"}
    for path in folder.glob("*.png"):
        with Image.open(path) as image:
            assert len(np.unique(np.asarray(image))) > 10  # drawn on


def test_the_output_is_a_few_lines_that_end_in_the_result(command, finished):
    nll = summary_of(command.folder / "finished")["test_nll"]
    assert f"test NLL            {nll:9.3f} nats" in finished.out
    assert "npz:small, dynamic binarisation: 110 training, 10 validation" in finished.out
    assert finished.out.count("\n") < 20
    assert "\r" not in finished.out + finished.err
    assert finished.err == ""


@pytest.mark.usefixtures("finished")
def test_a_run_folder_is_loaded_in_two_lines(command):
    vae = vae_jax.load(command.folder / "finished")
    samples = vae.sample(jax.random.key(0), 5)
    assert samples.shape == (5, 8, 8, 1)
    x = np.asarray(data.grey(jax.random.key(0), data.load(str(command.data)).test.x))
    # Even a few steps keep the mean intensity, where the decoder started.
    assert abs(float(np.mean(samples)) - float(np.mean(x))) < 0.1
    black_and_white = data.threshold(jax.random.key(0), x)
    assert vae.reconstruct(jax.random.key(1), black_and_white).shape == x.shape
    assert vae.encode(black_and_white).mean.shape == (30, 2)


@pytest.mark.usefixtures("finished")
def test_the_same_command_again_says_that_it_is_finished_and_changes_nothing(command):
    folder = command.folder / "finished"
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    result = command.run("finished")
    assert result.code == 0
    assert "is finished" in result.out
    assert "test NLL" in result.out
    assert before == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.usefixtures("finished")
def test_other_flags_are_refused_by_name_and_change_nothing(command):
    folder = command.folder / "finished"
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    result = command.run("finished", "--epochs=3", "--seed=1", "--activation=tanh")
    assert result.code == 2
    assert "--epochs=4 there, --epochs=3 here" in result.err
    assert "--seed=0 there, --seed=1 here" in result.err
    assert "--activation=default there, --activation=tanh here" in result.err
    assert result.err.count("\n") == 1
    assert before == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.slow
@pytest.mark.usefixtures("finished")
def test_the_numbers_are_those_of_the_averaged_parameters_on_the_test_images(command):
    """Computed again with the library alone, by another way through it."""
    folder = command.folder / "finished"
    vae = vae_jax.load(folder)
    dataset = data.load(str(command.data))
    keys = jax.random.split(jax.random.key(0), 5)
    for split, seed, key, num_samples in (("validation", 1, keys[1], 1), ("test", 2, keys[2], 7)):
        x = jnp.asarray(data.draw_once(getattr(dataset, split).x, seed) / 255.0, jnp.float32)
        log_w, reconstruction, kl = [], [], []
        for i in range(len(x)):
            _, noise_key = jax.random.split(jax.random.fold_in(key, i))
            noise_keys = jnp.stack([jax.random.fold_in(noise_key, k) for k in range(num_samples)])
            one = draw(vae.model, vae.params, x[i], noise_keys)
            log_w.append(np.asarray(one.log_w, np.float64))
            reconstruction.append(float(one.log_likelihood.mean()))
            kl.append(float(kl_divergence(one.posterior, one.prior)))
        elbo = np.mean(reconstruction) - np.mean(kl)
        if split == "validation":
            row = metrics_of(folder)[-1]
            np.testing.assert_allclose(row["validation_elbo"], elbo, rtol=1e-5)
        else:
            summary = summary_of(folder)
            log_evidence = np.log(np.mean(np.exp(np.stack(log_w)), axis=1))
            error = np.std(log_evidence, ddof=1) / np.sqrt(len(x))
            np.testing.assert_allclose(summary["test_elbo"], elbo, rtol=1e-5)
            np.testing.assert_allclose(summary["test_kl"], np.mean(kl), rtol=1e-5)
            np.testing.assert_allclose(summary["test_nll"], -np.mean(log_evidence), rtol=1e-5)
            np.testing.assert_allclose(summary["test_nll_stderr"], error, rtol=1e-4)


@pytest.mark.slow
def test_every_option_of_training_changes_what_is_trained(command):
    def trained(**options):
        config = Config(
            dataset=str(command.data), hidden=(16,), latent_dim=2, batch_size=20, **options
        ).settled()
        dataset = examples_of.load_dataset(config)
        config = choices.chosen(config, dataset).settled()
        examples = examples_of.prepare(dataset, config)
        model = recipe.model_spec(config, examples.facts).build()
        trainer = recipe.make_trainer(config, model, len(examples.train), examples.train_binarise)
        numbers = {name: jnp.float32(value) for name, value in recipe.numbers_of(config).items()}
        mean = examples_of.mean_of(examples)
        state = jax.jit(trainer.init)(jax.random.key(config.seed), mean, numbers)
        state, _ = make_epoch(trainer, config.batch_size)(state, jnp.asarray(examples.train.x))
        return state.average_params["decoder"]["output"]["bias"].tobytes()

    options = [
        {"seed": 1},
        {"learning_rate": 0.01},
        {"warmup_steps": 0},
        {"clip_norm": 0.1},
        {"ema_decay": 0.01},
        {"num_samples": 3},
        {"activation": "tanh"},
        {"network": "mlp"},
        {"split_seed": 1},
        {"num_validation": 9},
        {"binarisation": "static"},
    ]
    assert len({trained(), *(trained(**option) for option in options)}) == 1 + len(options)


@pytest.mark.slow
@pytest.mark.usefixtures("finished")
def test_flags_cfg_replays_the_run_to_the_bit(command):
    flagfile = command.folder / "finished" / "flags.cfg"
    result = command.run("replayed", f"--flagfile={flagfile}", defaults=False)
    assert result.code == 0, result.err
    folders = [command.folder / name for name in ("finished", "replayed")]
    assert numbers_of(folders[0]) == numbers_of(folders[1])
    first, second = (checkpoint_of(folder) for folder in folders)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


@pytest.mark.slow
@pytest.mark.usefixtures("finished")
def test_a_folder_of_shards_is_trained_on_as_its_images_in_one_file(command, shards):
    result = command.run("of_shards", "--dataset=squares/")
    assert result.code == 0, result.err
    assert numbers_of(command.folder / "of_shards") == numbers_of(command.folder / "finished")
    assert summary_of(command.folder / "of_shards")["dataset"] == "shards:squares"
    assert f"--dataset={shards}/\n" in (command.folder / "of_shards" / "flags.cfg").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        ("--binarisation=static", "--objective=iwae", "--num_samples=3"),
        ("--binarisation=threshold", "--objective=sampled_elbo", "--network=gated_mlp"),
        ("--binarisation=none", "--likelihood=gaussian_learned", "--latent_dim=3"),
        ("--binarisation=none", "--likelihood=gaussian", "--likelihood_std=0.3"),
        ("--binarisation=none", "--likelihood=bernoulli_unnormalised", "--ema_decay=0"),
        ("--binarisation=none", "--likelihood=logistic_mixture", "--num_logistics=3"),
        ("--binarisation=none", "--likelihood=student_t", "--network=conv", "--channels=4"),
    ],
)
def test_every_kind_of_data_likelihood_and_objective_trains(command, flags, request):
    name = f"kind-{request.node.callspec.indices['flags']}"
    result = command.run(name, *flags)
    assert result.code == 0, result.err
    folder = command.folder / name
    rows = metrics_of(folder)
    assert rows[-1]["validation_elbo"] > rows[0]["validation_elbo"]
    summary = summary_of(folder)
    assert summary["binarisation"] in flags[0]
    is_mass = LIKELIHOODS[summary["likelihood"]].measure == "mass"
    assert (summary["bits_per_dim"] is not None) == is_mass == ("bits per dim" in result.out)
    assert summary["kl_term"] == "closed form"
    assert ("no normalised likelihood" in result.out) == (
        "--likelihood=bernoulli_unnormalised" in flags
    )
    if "--latent_dim=3" in flags:
        assert (folder / "figures" / "interpolation.png").exists()
