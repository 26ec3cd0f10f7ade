"""The evaluation of a run by its command, on images whose evidence quadrature knows."""

import functools
import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from vae_jax import data
from vae_jax.runs.finished import finished_run

SMALL = (
    *("--run=finished", "--num_examples=30", "--chains=8", "--temperatures=40"),
    *("--iwae_samples=500", "--outliers=other.npz"),
)


@pytest.fixture(scope="module")
def evaluate(command):
    """Runs `python -m experiments.evaluate`, as a user would."""
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, (130, 8, 8), dtype=np.uint8)
    np.savez(command.folder / "other.npz", x_train=noise[:100], x_test=noise[100:])
    np.savez(command.folder / "larger.npz", x_train=np.zeros((50, 9, 9), np.uint8))
    return functools.partial(command.call, "evaluate")


@pytest.fixture(scope="module")
def evaluated(command, finished, evaluate):
    """The folder and the output of a whole evaluation."""
    result = evaluate(*SMALL)
    assert result.code == 0, result.err
    assert result.err == ""
    return command.folder / "finished" / "evidence", result.out


def numbers_of(folder):
    return json.loads((folder / "evidence.json").read_text())


@pytest.mark.slow
def test_annealing_brackets_what_quadrature_knows(evaluated):
    """Mean over images; each bound is on its side but for its own standard error."""
    known = numbers_of(evaluated[0])["log_evidence"]
    assert known["exact_error"] < 1e-3
    noise = 4 * known["interval_errors"][0]
    assert 0 < noise < 0.3
    assert -0.1 - noise < known["annealed_minus_exact"][0] < noise
    low, high = known["interval"]
    assert low - noise <= known["exact"][0] <= high + noise
    assert high - low < 0.2
    gap, gap_error = known["simulated_gap"]
    assert -4 * gap_error < gap < 0.2
    assert abs(known["importance"][0] - known["exact"][0]) < 0.1


@pytest.mark.slow
def test_gaps_and_surgery_add_up_and_have_their_signs(evaluated):
    numbers = numbers_of(evaluated[0])
    for split in ("test", "train"):
        gaps = {name: mean for name, (mean, _) in numbers["gaps"][split].items()}
        errors = {name: error for name, (_, error) in numbers["gaps"][split].items()}
        assert gaps["amortisation"] > -2 * errors["amortisation"]
        assert gaps["approximation"] > -2 * errors["approximation"]
        assert gaps["inference"] == pytest.approx(gaps["log_evidence"] - gaps["elbo"])
    latents = numbers["latent_space"]
    parts = latents["mutual_information"] + latents["marginal_kl"]
    assert parts == pytest.approx(latents["sampled_kl"])
    assert latents["mutual_information"] < np.log(30)
    assert sum(latents["unit_kl"]) == pytest.approx(latents["kl"])
    # No channel does better than the decoder's own curve, nor than log p(x) in all.
    curve, exact = numbers["rate_distortion"], numbers["log_evidence"]["exact"][0]
    assert min(np.add(curve["rate"], curve["distortion"])) > -exact - 3.0
    assert 0 < curve["vae_rate"] < 5
    assert 0.0 < curve["vae_rate"] + curve["vae_distortion"] + exact < 5.0  # its inference gap
    assert numbers["outliers"]["elbo"]["auroc"] > 0.95


@pytest.mark.slow
def test_the_page_says_the_numbers_and_shows_the_figures(evaluated):
    folder, out = evaluated
    numbers, page = numbers_of(folder), (folder / "evidence.md").read_text()
    assert page in out
    low, high = numbers["log_evidence"]["interval"]
    assert f"lies between {low:.2f} and {high:.2f} nats" in page
    assert "First of all" in page
    for line in page.splitlines():
        if line.startswith("!["):
            assert (folder / line.split("](")[1][:-1]).stat().st_size > 5_000


@pytest.mark.slow
def test_a_killed_evaluation_goes_on_to_the_same_numbers(command, evaluate, evaluated):
    folder = command.folder / "resumed"
    flags = (*SMALL, "--output=resumed")
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.evaluate", *flags],
        env=command.environment,
        cwd=command.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not list(folder.glob("parts/train_*.npz")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "evidence.json").exists()
    done = {path.name: path.stat().st_mtime_ns for path in folder.glob("parts/*.npz")}
    assert "test_0.npz" in done
    result = evaluate(*flags)
    assert result.code == 0, result.err
    after = {path.name: path.stat().st_mtime_ns for path in folder.glob("parts/*.npz")}
    assert done.items() <= after.items()
    ours, whole = numbers_of(folder), numbers_of(evaluated[0])
    assert ours == whole
    # And once more, from what is there alone.
    again = evaluate(*flags)
    assert again.code == 0, again.err
    assert again.out.split("\n\n")[1:-1] == result.out.split("\n\n")[1:-1]
    assert after == {path.name: path.stat().st_mtime_ns for path in folder.glob("parts/*.npz")}
    other = evaluate(*SMALL, "--output=resumed", "--chains=9")
    assert other.code == 2
    assert "holds an evaluation of other settings (--chains=8 there, --chains=9 here)" in other.err


BAD = {
    "no run": ((), "--run is missing: name the folder of a finished run."),
    "no folder": (("--run=nowhere",), "--run=nowhere holds no flags.cfg"),
    "too many images": (
        ("--run=finished", "--num_examples=31"),
        "--num_examples=31 is more than the 30 test examples",
    ),
    "too many images, streamed": (
        ("--run=finished", "--stream", "--num_examples=31"),
        "--num_examples=31 is more than the 30 test examples",
    ),
    "flag of training": (
        ("--run=finished", "--latent_dim=3"),
        "Unknown command line flag 'latent_dim'",
    ),
    "too many chains": (
        ("--run=finished", "--num_examples=30", "--chains=1000000000"),
        "--chains=1000000000 do not fit into memory: at most",
    ),
    "other images": (
        ("--run=finished", "--num_examples=30", "--outliers=larger.npz"),
        "has examples of (9, 9, 1), and the run's are of (8, 8, 1)",
    ),
    "unwritable": (
        ("--run=finished", "--num_examples=30", "--output=/proc/ev"),
        "--output=/proc/ev cannot be written",
    ),
}


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence(evaluate, case):
    given, message = BAD[case]
    assert_refused(evaluate(*given), message)


@pytest.mark.slow
@pytest.mark.usefixtures("finished_discrete")
def test_discrete_latents_are_refused(evaluate):
    message = "are Bernoulli, which annealing cannot move: train with more nll_samples"
    assert_refused(evaluate("--run=discrete", "--num_examples=30"), message)


def assert_refused(result, message):
    assert result.code == 2, result
    assert message in result.err
    assert result.err.startswith("Error: ")
    assert result.err.count("\n") == 1
    assert "Annealing" not in result.out


@pytest.mark.usefixtures("finished")
def test_unfinished_runs_and_those_of_another_version_are_refused(command, evaluate):
    copy = command.folder / "unfinished"
    shutil.copytree(command.folder / "finished", copy)
    summary = (copy / "summary.json").read_text()
    (copy / "summary.json").unlink()
    assert "The run in unfinished is not finished" in evaluate("--run=unfinished").err
    (copy / "summary.json").write_text(summary)
    for path in (copy / "checkpoints").iterdir():
        with np.load(path) as file:
            arrays = dict(file)
        metadata = arrays["metadata.json"].tobytes().replace(b"latent_dim", b"num_latents")
        np.savez(path, **arrays | {"metadata.json": np.frombuffer(metadata, np.uint8)})
    result = evaluate("--run=unfinished")
    assert result.code == 2
    assert "are of another version of vae_jax" in result.err


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("given", [None, False, True])
def test_images_are_read_as_the_run_did_or_as_a_flag_says(command, recorded, given):
    finished, folder = command.folder / "finished", command.folder / f"read_{recorded}_{given}"
    shutil.copytree(finished, folder)
    text = (folder / "flags.cfg").read_text()
    assert "--stream=false" in text
    text = text.replace("--stream=false", f"--stream={str(recorded).lower()}")
    (folder / "flags.cfg").write_text(text)
    examples = finished_run(folder, stream=given).examples
    streamed = recorded if given is None else given
    assert isinstance(examples.train.x, data.Rows) == streamed
    assert isinstance(examples.train[:5].x, np.ndarray)


@pytest.mark.slow
def test_quadrature_of_more_than_two_latents_is_refused(command, evaluate):
    assert command.run("three", "--latent_dim=3", "--epochs=1").code == 0
    result = evaluate("--run=three", "--num_examples=30", "--quadrature")
    assert result.code == 2
    assert "--quadrature=true is for one or two latent variables, and this run has 3" in result.err
