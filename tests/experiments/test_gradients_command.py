"""The gradient laboratory by its command, and its numbers against theory."""

import functools
import json
import math
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

import vae_jax
from experiments import gradient_cases, gradient_report, gradients
from experiments.gradient_report import Result
from vae_jax import data
from vae_jax.diagnostics.gradients import largest_by_chance
from vae_jax.runs.finished import finished_run

TINY = ("--ks=1,2", "--num_keys=20", "--num_examples=3")


@pytest.fixture
def measure(command):
    """Runs `python -m experiments.gradients`, as a user would."""
    return functools.partial(command.call, "gradients")


BAD_FLAGS = {
    "unknown bound": (("--bounds=iwea",), "--bounds=iwea is unknown; there are elbo, iwae, renyi"),
    "unknown estimator": (("--estimators=reinforce",), "--estimators=reinforce is unknown"),
    "number without use": (("--bounds=iwae:2",), "iwae takes no number"),
    "no number": (("--bounds=renyi:half",), "--bounds=renyi:half: half is no number"),
    "no whole number": (("--bounds=miwae:1.5",), "--bounds=miwae:1.5: 1.5 is no whole number"),
    "number outside": (("--bounds=ciwae:2",), "--bounds=ciwae:2: The beta of CIWAE must lie in"),
    "zero temperature": (("--estimators=concrete:0",), "The temperature must lie in [1e-6, 1e6]"),
    "no bounds": (("--bounds=",), "--bounds"),
    "no estimators": (("--estimators=",), "--estimators"),
    "zero samples": (("--ks=0",), "--ks"),
    "no samples": (("--ks=",), "--ks"),
    "half a sample": (("--ks=1,2.5",), "--ks"),
    "very many samples": (("--ks=1000000000",), "K=1000000000 is too large for the memory"),
    "one key": (("--num_keys=1",), "--num_keys=1"),
    "no examples": (("--num_examples=0",), "--num_examples=0"),
    "groups that do not divide": (
        ("--bounds=miwae:2", "--ks=1,3"),
        "no gradient by pathwise of miwae:2, K=1: num_groups=2 must divide the 1 samples",
    ),
    "a baseline of one": (("--estimators=vimco", "--ks=1"), "VIMCO needs num_samples of at least"),
    "relaxed normals": (("--estimators=concrete",), "is not discrete"),
    "flag of training": (("--latent_dim=3",), "Unknown command line flag 'latent_dim'"),
    "data without a run": (("--data_dir=here",), "--data_dir says where the examples of a run are"),
    "no run": (("--run=nowhere",), "--run=nowhere holds no flags.cfg"),
    "unwritable folder": (
        ("--output=/proc/lab", "--ks=1", "--estimators=stl"),
        "--output=/proc/lab cannot be written",
    ),
}


def assert_refused(result, message):
    assert result.code == 2, result
    assert message in result.err
    assert result.err.startswith("Error: ")
    assert result.err.count("\n") == 1
    assert result.err.rstrip().endswith(".")
    assert "Measuring" not in result.out


@pytest.mark.parametrize("case", BAD_FLAGS)
def test_bad_flags_are_one_sentence(command, measure, case):
    given, message = BAD_FLAGS[case]
    assert_refused(measure(*given), message)
    assert not (command.folder / "runs").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("finished")
def test_a_run_that_cannot_be_measured_is_one_sentence(command, measure):
    finished, copy = command.folder / "finished", command.folder / "copy"
    copy.mkdir()
    recorded = (finished / "flags.cfg").read_text()
    (copy / "flags.cfg").write_text(recorded)
    assert_refused(measure("--run=copy"), "The run in copy is not finished")
    shutil.copy(finished / "summary.json", copy)
    assert_refused(measure("--run=copy"), "There is no checkpoint in copy/checkpoints")
    few = measure("--run=finished", "--num_examples=31")
    assert_refused(few, "--num_examples=31 is more than the 30 test examples")
    shutil.copytree(finished / "checkpoints", copy / "checkpoints")
    images = dict(np.load(command.data))
    images["x_test"][0, 0, 0] ^= 255
    np.savez(copy / "changed.npz", **images)
    (copy / "flags.cfg").write_text(recorded.replace(str(command.data), f"{copy}/changed.npz"))
    assert_refused(measure("--run=copy"), "has other data than the run in copy was trained on")


@pytest.mark.slow
@pytest.mark.usefixtures("finished_discrete")
def test_pathwise_gradients_of_discrete_latents_are_refused(measure):
    for name in ("pathwise", "stl", "dreg"):
        result = measure("--run=discrete", f"--estimators={name}")
        assert_refused(result, f"--estimators={name} of the run in discrete: ")
        assert "use vimco, concrete or straight_through" in result.err


def found_in(folder):
    return json.loads((folder / "gradients.json").read_text())


def assert_consistent(result, folder, estimators, ks=(1, 2)):
    """The exit code, the table beside gradients.json, and the picture."""
    assert result.code == 0, result.err
    assert result.err == ""
    found = found_in(folder)
    rows = found["rows"]
    measured = {(row["part"], row["estimator"], row["num_samples"]) for row in rows}
    expected = {
        (part, estimator, k)
        for part in ("encoder", "decoder")
        for estimator in estimators
        for k in ks
        if estimator != "vimco" or k > 1
    }
    assert measured == expected
    lines = result.out.splitlines()
    assert max(map(len, lines)) <= 100
    for row in rows:
        quality = row["quality"]
        assert quality["num_parameters"] > 0
        always = ("bias", "bias_by_chance", "rms_t", "largest_t", "variance", "noise_floor")
        assert all(math.isfinite(quality[name]) for name in always)
        assert quality["rms_t"] <= quality["largest_t"]
    # The encoder's rows of the table are those of the file, in its order.
    start = next(i for i, line in enumerate(lines) if line.startswith("encoder:")) + 3
    of_encoder = [row for row in rows if row["part"] == "encoder"]
    order = list(dict.fromkeys(row["estimator"] for row in of_encoder))
    of_encoder.sort(key=lambda row: order.index(row["estimator"]))
    for line, row in zip(lines[start:], of_encoder, strict=False):
        k, _, _, rms_t, largest_t, variance, _, _ = line[30:].split()
        assert int(k) == row["num_samples"]
        for text, name in ((rms_t, "rms_t"), (largest_t, "largest_t"), (variance, "variance")):
            np.testing.assert_allclose(float(text), row["quality"][name], rtol=0.06)
    with Image.open(folder / "gradients.png") as image:
        assert len(np.unique(np.asarray(image))) > 10  # drawn on
    assert {"jax", "vae_jax", "commit"} <= set(found["versions"])
    return found


@pytest.mark.slow
def test_the_linear_gaussian_model_is_measured(command, measure):
    result = measure(*TINY, "--output=lab")
    estimators = ["pathwise", "stl", "dreg", "score_function", "vimco"]
    found = assert_consistent(result, command.folder / "lab", estimators)
    assert "Left out: vimco of iwae, K=1: VIMCO needs" in result.out
    assert "Bias is the distance from: exact at K=1; pathwise at K=2." in result.out
    assert "all estimators" in result.out.partition("decoder:")[2]  # are the same there
    assert (found["num_keys"], found["num_examples"], found["fit_from"]) == (20, 3, 2)
    for row in found["rows"]:
        assert row["reference"] == ("exact" if row["num_samples"] == 1 else "pathwise")
        # Each parameter is in the file, and the summary is of these.
        parameters, quality = row["parameters"], row["quality"]
        for name in ("t", "variance", "bias", "signal_to_noise"):
            parameters[name] = np.array(jax.tree.leaves(parameters[name]))
            assert parameters[name].size == (420 if row["part"] == "encoder" else 20)
        t, variance = parameters["t"], parameters["variance"]
        np.testing.assert_allclose(np.max(np.abs(t)), quality["largest_t"], rtol=1e-3)
        np.testing.assert_allclose(np.sqrt(np.mean(t**2)), quality["rms_t"], rtol=1e-3)
        np.testing.assert_allclose(np.mean(variance), quality["variance"], rtol=1e-3)
        bias = np.sqrt(np.mean(parameters["bias"] ** 2))
        np.testing.assert_allclose(bias, quality["bias"], rtol=1e-3)
    # A measurement depends neither on the other measurements nor on chunks.
    again = measure(*TINY, "--ks=2", "--estimators=dreg", "--output=again")
    assert again.code == 0, again.err
    (row,) = (row for row in found_in(command.folder / "again")["rows"] if row["part"] == "encoder")
    (same,) = (
        row
        for row in found["rows"]
        if (row["part"], row["estimator"], row["num_samples"]) == ("encoder", "dreg", 2)
    )
    np.testing.assert_allclose(row["quality"]["variance"], same["quality"]["variance"], rtol=1e-3)


@pytest.mark.slow
@pytest.mark.usefixtures("finished")
def test_a_run_is_its_averaged_parameters_and_first_test_images_as_they_are_evaluated(command):
    folder = command.folder / "finished"
    case = gradient_cases.of_run(finished_run(folder), num_examples=3)
    expected = vae_jax.load(folder).params
    jax.tree.map(np.testing.assert_array_equal, case.params, expected)
    pixels = data.draw_once(data.load(str(command.data)).test.x, seed=2)[:3]
    np.testing.assert_array_equal(case.x.x, pixels / 255.0)
    assert case.exact_gradient("elbo", 1) is None
    assert case.reference(5)[0] == "pathwise"


@pytest.mark.slow
@pytest.mark.usefixtures("finished", "finished_discrete")
def test_runs_are_measured(command, measure):
    result = measure("--run=finished", *TINY, "--bounds=renyi:0.5,elbo", "--estimators=stl,vimco")
    folder = command.folder / "finished" / "gradients"
    assert result.code == 0, result.err
    found = found_in(folder)
    assert found["num_examples"] == 3
    assert "run in finished" in found["case"]
    assert "  renyi:0.5, stl" in result.out
    assert "  elbo, vimco" in result.out
    assert "pathwise (renyi:0.5) at K=1,2; pathwise (elbo) at K=1,2" in result.out
    assert {row["known_best_by"] for row in found["rows"] if row["bound"] == "elbo"} == {"stl"}
    assert not any(row["parameters"] for row in found["rows"])  # too many

    result = measure(
        "--run=discrete",
        *TINY,
        "--estimators=score_function,vimco,concrete",
        "--output=of_discrete",
    )
    estimators = ["score_function", "vimco", "concrete"]
    found = assert_consistent(result, command.folder / "of_discrete", estimators)
    references = {row["num_samples"]: row["reference"] for row in found["rows"]}
    assert references == {1: "score_function", 2: "vimco"}
    assert all(row["variance_ratio"] is None for row in found["rows"])
    assert not (command.folder / "discrete" / "gradients").exists()


@pytest.mark.slow
def test_snr_grows_as_theory_says_and_the_bias_of_stl_is_found():
    """Rainforth et al. 2018 and Tucker et al. 2018, at K for which K is large: within 0.05."""
    case = gradient_cases.linear_gaussian(jax.random.key(0), num_examples=8)
    names = ["pathwise", "stl", "dreg"]
    estimators = gradient_cases.named_estimators(names)
    bounds = gradient_cases.named_bounds(["iwae"])
    rows = []
    for step in gradients.plan(case, bounds, [10, 60, 120, 240], estimators):
        rows += gradients.measure(case, step, 200, jax.random.key(1), progress=lambda keys: None)
    result = Result(case.name, 8, 200, 0, fit_from=60, rows=rows)
    slopes = {(found["part"], found["curve"]): found for found in gradient_report.slopes(result)}
    for part, name, exponent in (
        ("encoder", "pathwise", -0.5),
        ("encoder", "dreg", 0.5),
        ("decoder", "all estimators", 0.5),
    ):
        found = slopes[part, name]
        assert found["theory"] == exponent
        assert abs(found["slope"] - exponent) < 0.05, (part, name, found)
    of_encoder = {row.estimator: row for row in rows if row.part == "encoder"}  # K = 240
    assert of_encoder["dreg"].variance_ratio < 1e-3
    for row in rows:
        is_biased = row.part == "encoder" and row.estimator == "stl"
        by_chance = largest_by_chance(4 * row.quality.num_parameters, 0.99)
        assert (row.quality.largest_t > max(4.0, by_chance)) == is_biased, row[:4]
        assert is_biased or 0.5 < row.quality.rms_t < 1.5, row[:4]
        assert (row.reference, row.known_best_by) == ("pathwise", "dreg")
