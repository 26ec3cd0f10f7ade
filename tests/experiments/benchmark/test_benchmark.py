"""The benchmark multiplies what training multiplies, and its arithmetic is right. No times."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments.benchmark import cost, lanes, matrix_products, report, start, training_step
from experiments.benchmark.cases import NUM_PIXELS, SIDE, Case
from experiments.benchmark.rounds import Row, interleaved, ratios, rows_of
from vae_jax import data, errors, training
from vae_jax.runs.folder import RunFolder

SMALL = Case((40, 30), 6, "tanh", batch_size=20, num_images=100)
CASES = [SMALL, SMALL._replace(num_samples=5), SMALL._replace(hidden=(50,), activation="relu")]


def flops(function, *arguments):
    return jax.jit(function).lower(*arguments).compile().cost_analysis()["flops"]


def closed_form(case):
    """2 * rows * inputs * outputs for each product, all counted by hand."""
    encoder = list(zip((784, *case.hidden), (*case.hidden, 2 * case.latent_dim), strict=True))
    decoder = list(
        zip((case.latent_dim, *case.hidden[::-1]), (*case.hidden[::-1], 784), strict=True)
    )
    forward_and_weights = 2 * sum(a * b for a, b in encoder)
    inputs = sum(a * b for a, b in encoder[1:])  # not of the images
    of_decoder = 3 * sum(a * b for a, b in decoder) * case.num_samples
    return 2 * case.batch_size * (forward_and_weights + inputs + of_decoder)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_products_are_those_of_a_step(case):
    encoder, decoder = matrix_products.weights(case)
    x = jnp.ones((case.batch_size, NUM_PIXELS))
    found = flops(
        lambda *given: matrix_products.of_step(*given, case.num_samples), encoder, decoder, x
    )
    assert matrix_products.step_flops(case) == closed_form(case)
    np.testing.assert_allclose(found, closed_form(case), rtol=0.01)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_training_step_multiplies_at_least_as_much(case):
    trainer = training.make_trainer(
        case.model(),
        case.objective(),
        training.adam(1e-3, 100),
        num_samples=case.num_samples,
        binarise=data.dynamic,
    )
    pixels = jnp.asarray(case.pixels()[: case.batch_size])
    state = jax.eval_shape(trainer.init, jax.random.key(0), jnp.ones((SIDE, SIDE, 1)))
    found = flops(trainer.step, state, pixels)
    assert closed_form(case) < found < 2 * closed_form(case)


@pytest.mark.parametrize("num_samples", [1, 3])
def test_the_products_are_the_gradients_of_a_linear_network(num_samples):
    """Without activations, products alone are what differentiation makes of half a squared norm."""
    case = SMALL._replace(num_samples=num_samples)
    encoder, decoder = matrix_products.weights(case)
    x = jax.random.normal(jax.random.key(0), (case.batch_size, NUM_PIXELS))

    def half_squared_norm(encoder, decoder):
        outputs = x
        for matrix in encoder:
            outputs = outputs @ matrix
        mean, other = jnp.split(outputs, 2, axis=1)
        # The products give both halves of the outputs the gradient of the first.
        z = mean + other - jax.lax.stop_gradient(other)
        for matrix in decoder:
            z = z @ matrix
        return num_samples * 0.5 * jnp.sum(z**2)

    of_encoder, of_decoder = jax.grad(half_squared_norm, (0, 1))(encoder, decoder)
    found = matrix_products.of_step(encoder, decoder, x, num_samples)
    for one, expected in zip(found, of_encoder + of_decoder, strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_programs_run_to_their_end():
    matrix_products.training(SMALL)()
    matrix_products.evaluation(SMALL._replace(num_samples=10), samples_at_once=5)()


def test_rounds_are_interleaved_and_the_first_is_not_timed():
    ticks = iter([0.0, 9.0, 9.0, 9.5, 10.0, 11.0, 20.0, 23.0, 30.0, 31.5, 40.0, 46.0])
    order = []
    seconds = interleaved(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2, lambda: next(ticks)
    )
    assert order == ["a", "b"] * 3
    assert seconds == {"a": [1.0, 1.5], "b": [3.0, 6.0]}


def rows():
    seconds = {"products": [1.0, 2.0, 4.0], "vae_jax": [1.5, 2.4, 10.0]}
    return rows_of(
        part="training",
        case="784-400-20, batch 128",
        unit="ms/step",
        seconds=seconds,
        units=100,
        images=128,
        reference="products",
    )


def test_ratios_are_those_of_each_round():
    products, ours = rows()
    assert ratios([3.0, 8.0], [2.0, 4.0]) == [1.5, 2.0]
    assert products.ratios == [1.0, 1.0, 1.0]
    np.testing.assert_allclose(ours.ratios, [1.5, 1.2, 2.5])
    np.testing.assert_allclose(ours.values, [15.0, 24.0, 100.0])
    np.testing.assert_allclose(ours.images_per_second, 1000 * 128 / 24)


def test_the_table_says_medians_and_extremes():
    lines = report.table([*rows(), Row("start", "imports", "jax", "s", [0.1234])]).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[3] == [
        *("784-400-20, batch 128", "vae_jax", "24.0", "15.0 .. 100", "ms/step", "5,333", "1.50")
    ]
    assert cells[4] == ["imports", "jax", "0.123", "", "s", "", ""]
    assert len(set(map(len, lines))) == 1


def test_files_hold_the_rows(tmp_path):
    written = report.write(tmp_path, rows(), {"rounds": 3})
    assert sorted(written) == sorted(path.name for path in tmp_path.iterdir())
    found = json.loads((tmp_path / "benchmark.json").read_text())
    assert found["rounds"] == 3
    assert found["rows"][1]["median"] == 24.0
    assert found["rows"][1]["median_ratio"] == 1.5
    assert (tmp_path / "benchmark.md").read_text() == report.table(rows()) + "\n"
    imports = [Row("start", "imports", "jax", "s", [0.1])]
    assert "benchmark.png" not in report.write(tmp_path, imports, {})


def test_every_reference_begins_a_group():
    """One case of two references, as that of devices and processes; a sweep is left out."""

    def row(what, ratios, part="devices", case="divided"):
        return Row(part, case, what, "ms/step", [3.0] * len(ratios), ratios)

    given = [
        row("products", [1.0, 1.0], "training", "small"),
        row("ours", [1.0, 1.5], "training", "small"),
        Row("training", "small", "compiling", "s", [2.0]),
        row("one device", [1.0, 1.0]),
        row("two devices", [0.6, 0.7]),
        row("one process", [1.0, 1.0]),
        row("two processes", [0.9, 0.8]),
        row("lanes", [1.0, 1.0], lanes.PART),
    ]
    assert [(group.case, list(group.bars)) for group in report.times_by_case(given)] == [
        ("small", ["products", "ours"]),
        ("divided", ["one device", "two devices"]),
        ("divided", ["one process", "two processes"]),
    ]


def test_a_start_that_fails_says_why(tmp_path):
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(errors.BadInputError, match=r"failed: Error: .*missing\.npz"):
        start.until_trained(folder, tmp_path / "cache", ("--dataset=missing.npz",))


BAD_FLAGS = {
    "unknown part": (("--only=training,fun",), "--only=fun is unknown; there are training,"),
    "no part": (("--only=",), "--only= names no part"),
    "no rounds": (("--rounds=0",), "--rounds=0"),
    "peers of no training": (
        ("--peers", "--only=start"),
        "--peers is of the parts training and convolutional",
    ),
    "estimators and peers": (("--estimators", "--peers"), "--estimators goes without --peers"),
    "cost of a part": (("--cost", "--only=start"), "--cost goes without --peers and --only"),
    "unwritable folder": (("--output=/proc/lab",), "--output=/proc/lab cannot be written"),
}


@pytest.mark.parametrize("case", BAD_FLAGS)
def test_bad_flags_are_one_sentence(command, case):
    given, message = BAD_FLAGS[case]
    result = command.call("benchmark", *given)
    assert result.code == 2, result
    assert message in result.err
    assert result.err.startswith("Error: ")
    assert result.err.count("\n") == 1
    assert "Measuring" not in result.out


# The command, of small networks.
TINY = """
from vae_jax.commands import command
from experiments.benchmark import cases, convolutional, lanes, latents, sampling
from experiments.benchmark.__main__ import main
tiny = cases.Case((8,), 2, "relu", batch_size=10, num_images=40)
cases.CASES = (tiny, tiny._replace(num_samples=3))
cases.EVALUATION = tiny._replace(num_images=10, num_samples=100)
cases.SWEPT = cases.DIVIDED = (tiny,)
cases.CASES = (*cases.CASES, tiny)
cases.COST_IMAGES = cases.COST_BATCHES = (20, 40)
cases.COST_SAMPLES = cases.COST_LANES = (1, 2)
small = convolutional.CASES[0]._replace(event_shape=(8, 8, 1), channels=(2,), batch_size=4)
convolutional.CASES = (small._replace(num_images=8),)
latents.CASES = tuple(case._replace(batch_size=4, num_images=8) for case in latents.CASES)
sampling.SIDE, sampling.IMAGES = 8, 2
lanes.NUM_LANES = (1, 2, 3)
command.run(main)
"""


@pytest.mark.slow
def test_all_parts_are_measured(command):
    result = command.python("-c", TINY, "--rounds=1", "--output=speed")
    assert result.code == 0, result.err
    assert result.err == ""
    folder = command.folder / "speed"
    found = json.loads((folder / "benchmark.json").read_text())
    assert {"jax", "vae_jax", "commit"} <= set(found["versions"])
    assert found["num_cores"] >= 1
    assert found["peak_memory_mebibytes"] > 0
    assert list(dict.fromkeys(row["part"] for row in found["rows"])) == [
        *("training", "convolutional", "latents", "sampling", "evaluation", "sweep"),
        *("devices", "start"),
    ]
    timed = [row for row in found["rows"] if row["what"] != "added to the plain step"]
    assert all(value > 0 for row in timed for value in row["values"])
    assert len([row for row in found["rows"] if row["ratios"]]) == 34
    assert (folder / "benchmark.md").read_text() in result.out
    with Image.open(folder / "benchmark.png") as image:
        assert len(np.unique(np.asarray(image))) > 10  # drawn on


def test_a_line_is_the_one_that_was_measured():
    at = [20, 100, 400]
    found = cost.line(at, [3.0 + 0.25 * value for value in at])
    np.testing.assert_allclose(found, (3.0, 0.25, 0.0), atol=1e-9)
    # Relative errors of 10 % each way, with which no line agrees better than the level one.
    found = cost.line([1, 2, 3, 4], [0.9, 1.1, 1.1, 0.9])
    assert abs(found.slope) < 1e-9
    np.testing.assert_allclose(found.error, abs(found.fixed / 1.1 - 1.0))


@pytest.mark.parametrize(("donated", "mebibytes"), [((), 2.0), (0, 1.0)])
def test_memory_is_that_of_arguments_and_of_what_is_made(donated, mebibytes):
    x = jax.ShapeDtypeStruct((2**18,), jnp.float32)  # a mebibyte
    program = jax.jit(lambda x: 2.0 * x, donate_argnums=donated).lower(x).compile()
    np.testing.assert_allclose(training_step.mebibytes_of(program), mebibytes, rtol=1e-3)


def test_the_cost_table_says_lines_and_their_errors():
    growth = cost.Growth(
        of="batch size B",
        case="784-8-2",
        unit="ms/step",
        at=[10, 20, 40],
        milliseconds=[[1.5, 9.0, 1.0], [2.5, 2.5, 2.5], [4.5, 4.4, 4.6]],
        mebibytes=[4.0, 6.0, 10.0],
    )
    assert cost.table([growth]).splitlines()[-1] == (
        "| batch size B = 10 .. 40 | 784-8-2 | 0.5 + 0.1 B ms/step | 0% | 2 + 0.2 B MiB | 0% |"
    )


@pytest.mark.parametrize("largest", [None, 2e7])
def test_the_optimiser_alone_does_to_parameters_what_a_step_does(largest):
    """Adam's updates by the same gradient c in all steps are c / (|c| + 1e-8).

    A largest entry of 2e7, which is clipped to 200, takes the others to about 1e-8.
    """
    case = SMALL._replace(num_images=1000)
    run_epoch, (params, gradient) = lanes.optimiser_program(case)
    if largest is not None:
        gradient["biases"][0] = gradient["biases"][0].at[0].set(largest)
    end, average, _ = jax.jit(run_epoch)(params, gradient)
    norm = np.sqrt(sum(np.sum(np.square(leaf, dtype=float)) for leaf in jax.tree.leaves(gradient)))
    scale = min(1.0, training_step.CLIP_NORM / norm)
    assert (scale < 1.0) == (largest is not None)
    moved = moved_average = 0.0  # in units of an update
    for step in range(case.num_steps):
        moved += 1e-5 * step  # the learning rate rises by a hundredth of 1e-3 in each step
        moved_average += 0.001 * (moved - moved_average)
    for after, length in ((end, moved), (average, moved_average)):

        def check(leaf, start, slope, length=length):
            clipped = scale * np.asarray(slope, float)
            expected = -length * clipped / (np.abs(clipped) + 1e-8)
            found = np.asarray(leaf, float) - np.asarray(start, float)
            np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-2 * length)

        jax.tree.map(check, after, params, gradient)


@pytest.mark.slow
def test_how_cost_grows_is_measured(command):
    result = command.python("-c", TINY, "--rounds=1", "--cost", "--output=cost")
    assert result.code == 0, result.err
    folder = command.folder / "cost"
    found = json.loads((folder / "cost.json").read_text())["growths"]
    assert [growth["at"] for growth in found] == [[20, 40], [20, 40], [1, 2], [1, 2]]
    for growth in found:
        assert min(growth["mebibytes"]) > 0
        assert min(min(times) for times in growth["milliseconds"]) > 0
    assert (folder / "cost.md").read_text() in result.out
    with Image.open(folder / "cost.png") as image:
        assert len(np.unique(np.asarray(image))) > 10


@pytest.mark.slow
def test_pytorch_beside_it(command):
    pytest.importorskip("torch", reason="a peer, not a requirement")
    result = command.python(
        "-c", TINY, "--rounds=1", "--only=training", "--peers", "--output=peers"
    )
    assert result.code == 0, result.err
    found = json.loads((command.folder / "peers" / "benchmark.json").read_text())
    eager = [row for row in found["rows"] if row["what"] == "PyTorch, eager"]
    assert len(eager) == 3
    assert "torch" in found["versions"]
