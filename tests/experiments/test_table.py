"""experiments.table: runs joined into one table."""

import json

import numpy as np
import pytest
import scipy.stats

from vae_jax.runs import table
from vae_jax.runs.folder import RunFolder
from vae_jax.runs.table import Result, rows, statistics

SUMMARY = {
    "dataset": "mnist",
    "binarisation": "dynamic",
    "test_images": 500,
    "nll_samples": 10,
    "test_elbo": -102.0,
    "test_kl": 20.0,
}


def test_statistics_are_those_of_student():
    values = np.array([87.0, 88.0, 90.5])
    found = statistics(values, min)
    lower, upper = scipy.stats.t.interval(
        0.95, df=2, loc=values.mean(), scale=scipy.stats.sem(values)
    )
    assert found["best"] == 87.0
    np.testing.assert_allclose(found["mean"] - found["interval"], lower)
    np.testing.assert_allclose(found["mean"] + found["interval"], upper)
    assert statistics(values[:1], max) == {"mean": 87.0, "interval": None, "best": 87.0}
    assert "best" not in statistics(values)


def test_the_interval_covers_the_mean_95_times_in_100():
    draws = np.random.default_rng(0).normal(3.0, 2.0, (4000, 4))
    found = [statistics(draw) for draw in draws]
    covered = np.mean([abs(f["mean"] - 3.0) < f["interval"] for f in found])
    assert abs(covered - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 4000)


def result(beta, nll):
    return Result((("beta", beta),), None, {**SUMMARY, "test_nll": nll})


def test_rows_group_seeds_and_name_the_best():
    table_rows = rows([result("1", 90.0), result("4", 95.0), result("1", 92.0)])
    assert [(row.setting, len(row.results)) for row in table_rows] == [
        ({"beta": "1"}, 2),
        ({"beta": "4"}, 1),
    ]
    text = table.in_words(table_rows)
    header, _, one, four = text.splitlines()
    assert header.split("|")[1:4] == [" beta ", " n   ", " NLL, mean ± 95 %  "]
    assert "**91.00 ± 12.71**" in one
    assert " 90.00 " in one
    assert "| 95.00 " in four
    assert "±" not in four


def run_folder(path, seed, nll, **flags):
    folder = RunFolder(path)
    path.mkdir(parents=True)
    folder.record({"seed": str(seed), "beta": "1.0", **flags})
    folder.finish({**SUMMARY, "test_nll": nll})


def test_the_command_joins_runs_and_sweeps(command, tmp_path):
    run_folder(tmp_path / "one", 0, 90.0, latent_dim="2")
    (tmp_path / "swept").mkdir()
    RunFolder(tmp_path / "swept").record({"sweep": "seed=1,2"})
    for seed, nll in ((1, 92.0), (2, 94.0)):
        run_folder(tmp_path / "swept" / f"seed={seed}", seed, nll, latent_dim="3")
    runs = f"--runs={tmp_path / 'one'},{tmp_path / 'swept'}"
    finished = command.call("table", runs, f"--output={tmp_path / 'joined'}")
    assert finished.code == 0, finished.err
    found = json.loads((tmp_path / "joined" / "table.json").read_text())
    assert [(row["setting"], row["n"], row["test_nll"]["mean"]) for row in found] == [
        ({"latent_dim": "2"}, 1, 90.0),
        ({"latent_dim": "3"}, 2, 93.0),
    ]
    assert (tmp_path / "joined" / "table.md").read_text() == finished.out


def test_the_same_run_counts_once(command, tmp_path):
    run_folder(tmp_path / "one", 0, 90.0, stream="false")
    run_folder(tmp_path / "again", 0, 90.0, stream="true")
    run_folder(tmp_path / "other", 1, 92.0)
    runs = ",".join(str(tmp_path / name) for name in ("one", "again", "one", "other"))
    finished = command.call("table", f"--runs={runs}", f"--output={tmp_path / 'joined'}")
    assert finished.code == 0, finished.err
    assert f"{tmp_path / 'again'} is the same run as {tmp_path / 'one'} and is left" in finished.out
    (row,) = json.loads((tmp_path / "joined" / "table.json").read_text())
    assert (row["setting"], row["n"], row["test_nll"]["mean"]) == ({}, 2, 91.0)


@pytest.mark.parametrize("given", [["nowhere"], ["other", "one"], ["unfinished"]])
def test_what_cannot_be_joined_is_one_sentence(command, tmp_path, given):
    run_folder(tmp_path / "one", 0, 90.0)
    run_folder(tmp_path / "other", 0, 90.0)
    RunFolder(tmp_path / "other").finish({**SUMMARY, "test_nll": 1.0, "nll_samples": 5000})
    (tmp_path / "unfinished").mkdir()
    RunFolder(tmp_path / "unfinished").record({"seed": "0"})
    finished = command.call("table", "--runs=" + ",".join(str(tmp_path / name) for name in given))
    assert finished.code == 2
    assert finished.err.startswith("Error: --runs=")
    assert finished.err.count("\n") == 1
