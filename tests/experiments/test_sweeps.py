"""Sweeps by the command: every run as if by itself, resumed to the bit, in one table."""

import json
import shutil
import signal
import time

import numpy as np
import pytest

from tests.experiments.run_files import assert_same_run, numbers_of, rows_of
from vae_jax.config import Config, Grid
from vae_jax.config.grid import points

SWEEP = ("--num_seeds=2", "--sweep=beta=1,4")
NAMES = [f"beta={beta},seed={seed}" for beta in (1, 4) for seed in (0, 1)]


@pytest.mark.slow
def test_runs_of_a_sweep_are_solo_runs_to_the_bit_and_its_table_is_theirs(command):
    finished = command.run("swept", *SWEEP)
    assert finished.code == 0, finished.err
    assert "A swept option chooses objective=beta." in finished.out
    assert "4 runs on 2 cpu devices, 1 at once on each." in finished.out
    for beta, seed in ((1, 0), (4, 1)):
        by_itself = command.run(
            f"solo{beta}", "--objective=beta", f"--beta={beta}", f"--seed={seed}"
        )
        assert by_itself.code == 0, by_itself.err
        assert_same_run(
            command.folder / "swept" / f"beta={beta},seed={seed}", command.folder / f"solo{beta}"
        )
    found = json.loads((command.folder / "swept" / "sweep.json").read_text())
    assert [run["folder"] for run in found["runs"]] == NAMES
    for row, beta in zip(found["table"], (1, 4), strict=True):
        nll = [
            numbers_of(command.folder / "swept" / f"beta={beta},seed={seed}")["test_nll"]
            for seed in (0, 1)
        ]
        assert row["setting"] == {"beta": str(beta)}
        assert row["n"] == 2
        np.testing.assert_allclose(row["test_nll"]["mean"], np.mean(nll))
        # The 97.5 % quantile of Student's t of one degree of freedom is 12.706.
        np.testing.assert_allclose(
            row["test_nll"]["interval"], 12.7062 * abs(nll[0] - nll[1]) / 2, rtol=1e-4
        )
        assert row["test_nll"]["best"] == min(nll)
    figures = {path.name for path in (command.folder / "swept" / "figures").iterdir()}
    assert figures == {"validation_elbo.png", "nll_against_beta.png"}

    again = command.run("swept", *SWEEP)
    assert again.code == 0
    assert "Training" not in again.out
    assert again.out.splitlines()[-4:] == finished.out.splitlines()[-4:]
    # A run of it is one that loads and resumes by itself.
    lane = command.folder / "swept" / NAMES[0]
    alone = command.run(f"swept/{NAMES[0]}", f"--flagfile={lane / 'flags.cfg'}", defaults=False)
    assert alone.code == 0
    assert "is finished" in alone.out


@pytest.mark.slow
def test_a_killed_sweep_goes_on_to_the_bit(command):
    flags = (*SWEEP, "--epochs=30")
    assert command.run("whole", *flags).code == 0
    killed = 0
    while killed < 3:
        process = command.start("killed_sweep", *flags)
        newest = command.folder / "killed_sweep" / NAMES[-1] / "metrics.jsonl"
        before = len(newest.read_text().splitlines()) if newest.exists() else 0
        while process.poll() is None:
            lines = len(newest.read_text().splitlines()) if newest.exists() else 0
            if lines > before + 4:
                process.send_signal(signal.SIGKILL)
                killed += 1
                break
            time.sleep(0.005)
        process.communicate()
        if process.returncode != -signal.SIGKILL:
            assert process.returncode == 0
            break
    assert killed >= 1
    assert command.run("killed_sweep", *flags).code == 0
    for name in NAMES:
        assert_same_run(command.folder / "whole" / name, command.folder / "killed_sweep" / name)


@pytest.mark.slow
def test_runs_that_are_ahead_go_back_to_the_others(command):
    assert command.run("ahead", *SWEEP, "--epochs=6").code == 0
    folder = command.folder / "behind"
    shutil.copytree(command.folder / "ahead", folder)
    for path in (folder / "sweep.json", *folder.glob("*/summary.json")):
        path.unlink()
    # The last checkpoint of one run is missing, as after power loss.
    (folder / NAMES[2] / "checkpoints" / "epoch-000006.npz").unlink()
    finished = command.run("behind", *SWEEP, "--epochs=6")
    assert finished.code == 0, finished.err
    assert "Going on after epoch 5 of 6." in finished.out
    for name in NAMES:
        assert_same_run(command.folder / "ahead" / name, folder / name)


@pytest.mark.slow
def test_groups_and_runs_that_diverge(command):
    flags = ("--sweep=learning_rate=1e-3,1e30", "--sweep=hidden=8,4x4", "--epochs=2")
    finished = command.run("groups", *flags)
    assert finished.code == 1
    assert finished.err.startswith(
        "Error: 2 runs of 4 diverged: learning_rate=1e30,hidden=8,seed=0"
    )
    assert finished.err.count("\n") == 1
    assert "Program 2 of 2: 2 runs." in finished.out
    found = json.loads((command.folder / "groups" / "sweep.json").read_text())
    good = {run["folder"]: run["summary"] is not None for run in found["runs"]}
    assert good == {
        "learning_rate=1e-3,hidden=8,seed=0": True,
        "learning_rate=1e-3,hidden=4x4,seed=0": True,
        "learning_rate=1e30,hidden=8,seed=0": False,
        "learning_rate=1e30,hidden=4x4,seed=0": False,
    }
    assert command.run("alone", "--hidden=4,4", "--learning_rate=1e-3", "--epochs=2").code == 0
    assert_same_run(
        command.folder / "alone", command.folder / "groups" / "learning_rate=1e-3,hidden=4x4,seed=0"
    )
    again = command.run("groups", *flags)
    assert again.code == 1
    assert "Training: epoch" not in again.out


@pytest.mark.slow
def test_what_is_left_of_a_sweep_keeps_its_bits(command):
    flags = ("--sweep=learning_rate=1e-3,1e30", "--epochs=3", "--num_devices=2")
    assert command.run("left", *flags).code == 1
    lane = command.folder / "left" / "learning_rate=1e-3,seed=0"
    shutil.copytree(lane, command.folder / "before")
    for path in (lane / "summary.json", *(lane / "checkpoints").iterdir()):
        path.unlink()
    finished = command.run("left", *flags)
    assert finished.code == 1, finished.err
    assert "Training: epoch 1/3" in finished.out
    assert_same_run(command.folder / "before", lane)
    (command.folder / "left" / "diverged.json").write_text("{")
    finished = command.run("left", *flags)
    assert finished.code == 2
    assert "diverged.json is damaged" in finished.err
    assert finished.err.count("\n") == 1


@pytest.mark.parametrize(
    "swept", [[], ["beta=1,2"], ["learning_rate=1e-3, 3e-4", "beta=1,2", "hidden=8x8,4"]]
)
def test_the_recorded_flags_of_a_sweep_make_its_grid(swept):
    config, grid = Config(objective="beta"), Grid(2, swept)
    found, recorded = points(config, grid), grid.written()
    assert len(found) == 2 * 2 ** len(swept)
    again = Grid(int(recorded["num_seeds"]), [recorded["sweep"]])
    assert points(config, again) == found
    assert not again.is_single
    assert again.written() == recorded
    assert Grid(1, [""]).is_single


BAD_INPUT = [
    (("--sweep=speed=1,2",), "'speed' cannot be swept; what can: latent_dim, "),
    (("--sweep=learning_rate=fast",), "--learning_rate=fast must be a number"),
    (("--num_seeds=3", "--num_devices=2"), "--num_devices=2 must divide the 3 runs"),
    (("--num_devices=3",), "--num_devices=3 must divide the batch of 20"),
]
MORE_BAD_INPUT = [
    (("--sweep=learning_rate=-1",), "--learning_rate=-1.0 must be above 0"),
    (("--sweep=beta=1,1.0",), "'beta=1,seed=0' and 'beta=1.0,seed=0' are the same run"),
    (("--sweep=learning_rate",), "must be different values with commas between them"),
    (("--sweep=epochs=1,1",), "must be different values"),
    (("--sweep=epochs=1", "--sweep=epochs=2"), "--sweep=epochs is given twice"),
    (("--sweep=seed=1,2", "--num_seeds=2"), "both choose seeds"),
    (("--sweep=latents=normal,cats",), "--latents=cats is unknown"),
    (("--num_seeds=0",), "num_seeds"),
    (("--sweep=alpha=0.5", "--objective=elbo"), "--alpha=0.5 is not for --objective=elbo"),
]


@pytest.mark.parametrize(
    ("flags", "words"),
    [*BAD_INPUT, *(pytest.param(*case, marks=pytest.mark.slow) for case in MORE_BAD_INPUT)],
)
def test_bad_input_is_one_sentence_before_anything_is_written(command, flags, words):
    finished = command.run("bad_grid", *flags)
    assert finished.code == 2
    assert finished.err.startswith("Error: ")
    assert finished.err.count("\n") == 1
    assert words in finished.err
    assert not (command.folder / "bad_grid").exists()


@pytest.mark.slow
def test_another_grid_is_refused(command):
    assert command.run("other_grid", "--num_seeds=2", "--epochs=1").code == 0
    before = sorted((command.folder / "other_grid").rglob("*"))
    cases = {
        ("--epochs=1",): "holds a sweep: name another folder",
        ("--num_seeds=2", "--seed=1", "--epochs=1"): "--seed=0 there, --seed=1 here",
        ("--sweep=seed=1,2", "--epochs=1"): "with runs that are not asked for ('seed=0')",
    }
    for flags, words in cases.items():
        finished = command.run("other_grid", *flags)
        assert finished.code == 2
        assert words in finished.err
        assert finished.err.count("\n") == 1
    assert sorted((command.folder / "other_grid").rglob("*")) == before


@pytest.mark.slow
def test_more_seeds_and_values_extend_a_sweep(command):
    assert command.run("grown", "--sweep=latent_dim=2", "--epochs=1").code == 0
    before = (command.folder / "grown" / "latent_dim=2,seed=0" / "summary.json").read_bytes()
    finished = command.run("grown", "--sweep=latent_dim=2,3", "--num_seeds=2", "--epochs=1")
    assert finished.code == 0, finished.err
    found = json.loads((command.folder / "grown" / "sweep.json").read_text())
    names = [f"latent_dim={dim},seed={seed}" for dim in (2, 3) for seed in (0, 1)]
    assert [run["folder"] for run in found["runs"]] == names
    assert (command.folder / "grown" / names[0] / "summary.json").read_bytes() == before
    assert command.run("from_the_start", "--latent_dim=3", "--seed=1", "--epochs=1").code == 0
    assert_same_run(command.folder / "grown" / names[3], command.folder / "from_the_start")


@pytest.mark.slow
@pytest.mark.parametrize("num_devices", [2, 8])
def test_devices_that_share_a_batch_give_the_numbers_of_one(command, num_devices):
    if not (command.folder / "one_device").exists():
        assert command.run("one_device", "--batch_size=24").code == 0
    name = f"devices{num_devices}"
    finished = command.run(name, "--batch_size=24", f"--num_devices={num_devices}")
    assert finished.code == 0, finished.err
    assert f"Batches of 24 are divided among {num_devices} cpu devices." in finished.out
    one, several = numbers_of(command.folder / "one_device"), numbers_of(command.folder / name)
    for metric, value in one.items():
        np.testing.assert_allclose(several[metric], value, rtol=1e-3)
    rows = zip(rows_of(command.folder / "one_device"), rows_of(command.folder / name), strict=True)
    for first, second in rows:
        np.testing.assert_allclose(list(first.values()), list(second.values()), rtol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("num_devices", [3, 5])
def test_a_sweep_on_other_devices_is_the_same_to_the_bit(command, num_devices):
    if not (command.folder / "seeds5").exists():
        assert command.run("seeds5", "--num_seeds=5", "--epochs=2").code == 0
    flags = (f"--num_seeds={num_devices}", "--epochs=2")
    several = f"lanes{num_devices}"
    finished = command.run(several, *flags, f"--num_devices={num_devices}")
    assert f"{num_devices} runs on {num_devices} cpu devices, 1 at once on each." in finished.out
    for seed in range(num_devices):
        one, other = (command.folder / name / f"seed={seed}" for name in ("seeds5", several))
        assert_same_run(one, other)


@pytest.mark.slow
def test_lanes_at_once_are_the_same_up_to_rounding_and_sizes_are_drawn(command):
    flags = ("--num_seeds=3", "--sweep=latent_dim=2,3", "--epochs=2")
    assert command.run("in_turn", *flags).code == 0
    finished = command.run("at_once", *flags, "--lanes_at_once=2")
    assert finished.code == 0, finished.err
    # Three runs on two devices: one has nothing to do in the second turn.
    assert "3 runs on 2 cpu devices, 2 at once on each." in finished.out
    for latent_dim in (2, 3):
        for seed in range(3):
            name = f"latent_dim={latent_dim},seed={seed}"
            one, other = (command.folder / runs / name for runs in ("in_turn", "at_once"))
            for metric, value in numbers_of(one).items():
                np.testing.assert_allclose(numbers_of(other)[metric], value, rtol=1e-4)
    figures = {path.name for path in (command.folder / "at_once" / "figures").iterdir()}
    assert figures == {"validation_elbo.png", "nll_against_latent_dim.png"}


@pytest.mark.slow
def test_a_sweep_of_which_all_diverge_says_so_in_its_table(command):
    finished = command.run("lost", "--num_seeds=2", "--learning_rate=1e30", "--epochs=1")
    assert finished.code == 1
    assert finished.err == "Error: 2 runs of 2 diverged: seed=0, seed=1.\n"
    found = json.loads((command.folder / "lost" / "sweep.json").read_text())
    assert found["table"] == []
    assert [bool(run["diverged"]) for run in found["runs"]] == [True, True]
    assert "No run is finished." in (command.folder / "lost" / "sweep.md").read_text()
