"""`--stream`, and data in shards: no number changes."""

import json
import shutil

import pytest

from tests.experiments.run_files import assert_same_run


@pytest.mark.slow
@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize("kind", ["file", "folder", "static"])
def test_streaming_changes_no_number(command, shards, kind):
    flags = {
        "file": (),
        "folder": (f"--dataset={shards}/",),
        "static": ("--binarisation=static", "--epochs=2"),
    }[kind]
    reference, workdir = "finished", f"streamed-{kind}"
    if kind == "static":
        reference = "static"
        assert command.run(reference, *flags).code == 0
    result = command.run(workdir, "--stream", *flags)
    assert result.code == 0, result.err
    assert result.err == ""
    assert "Training examples are read while training, in blocks." in result.out
    folders = [command.folder / name for name in (reference, workdir)]
    assert_same_run(*folders)
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in folders]
    assert [summary["streamed"] for summary in summaries] == [False, True]


@pytest.mark.slow
@pytest.mark.usefixtures("finished")
def test_a_run_may_go_on_streamed(command):
    folder = command.folder / "on_streamed"
    shutil.copytree(command.folder / "finished", folder)
    (folder / "summary.json").unlink()
    max((folder / "checkpoints").glob("*.npz")).unlink()
    result = command.run("on_streamed", "--stream")
    assert result.code == 0, result.err
    assert "Going on after epoch 3 of 4." in result.out
    assert_same_run(folder, command.folder / "finished")
