"""The files in the folder of a run, and whether those of two runs are equal."""

import json

import numpy as np

from vae_jax.training import checkpoint

TIMES = {"seconds", "images_per_second"}


def rows_of(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines]


def numbers_of(folder):
    summary = json.loads((folder / "summary.json").read_text())
    return {name: value for name, value in summary.items() if name.startswith("test_")}


def arrays_of(folder):
    newest = max((folder / "checkpoints").glob("*.npz"))
    with np.load(newest) as members:
        return {name: members[name] for name in members if name != checkpoint._METADATA}


def assert_same_run(one, other):
    assert rows_of(one) == rows_of(other)
    assert numbers_of(one) == numbers_of(other)
    first, second = arrays_of(one), arrays_of(other)
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)
