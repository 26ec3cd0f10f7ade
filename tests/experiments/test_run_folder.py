"""The files that a kill between any two writes may leave behind."""

import pytest

from vae_jax.errors import BadInputError
from vae_jax.runs.folder import RunFolder


def test_a_half_written_flags_file_does_not_make_the_folder_foreign(tmp_path):
    (tmp_path / "flags.cfg.partial").write_text("--see")
    folder = RunFolder(tmp_path)
    with folder.claimed():
        assert folder.recorded() is None
        folder.record({"seed": "1", "hidden": "3,3"})
    assert folder.recorded() == {"seed": "1", "hidden": "3,3"}


def test_a_last_line_cut_short_is_passed_over_and_rows_can_be_taken_back(tmp_path):
    folder = RunFolder(tmp_path)
    for epoch in (1, 2, 3):
        folder.add_metrics({"epoch": epoch})
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text() + '{"epoch": 4, "tr')
    assert [row["epoch"] for row in folder.metrics()] == [1, 2, 3]
    folder.keep_metrics(2)
    folder.add_metrics({"epoch": 3})
    assert [row["epoch"] for row in folder.metrics()] == [1, 2, 3]


@pytest.mark.parametrize(
    ("name", "text", "read"),
    [
        ("flags.cfg", "--seed=1\n--epo", RunFolder.recorded),
        ("flags.cfg", "", RunFolder.recorded),
        ("summary.json", "", RunFolder.summary),
        ("summary.json", "[]", RunFolder.summary),
    ],
)
def test_damaged_files_are_named(tmp_path, name, text, read):
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInputError, match=f"{name} is damaged"):
        read(RunFolder(tmp_path))
    (tmp_path / name).write_bytes(b"\xff\xfe\n")
    with pytest.raises(BadInputError, match=f"{name} is damaged"):
        read(RunFolder(tmp_path))


@pytest.mark.parametrize(
    ("text", "epochs"),
    [
        ('{"epoch": 1}\n{"epo\n{"epoch": 3}\n', [1]),
        ('{"epoch": 1}\n{"epoch": 3}\n{"epoch": 2}\n', [1, 3]),
        ('{"loss": 1}\n', []),
        ("[]\n", []),
        ("\xff\xfe\n", []),
    ],
)
def test_a_lost_end_of_the_metrics_is_left_out_and_said(tmp_path, text, epochs):
    """So power loss leaves it: the checkpoints, which are whole, go on without it."""
    said = []
    folder = RunFolder(tmp_path, say=said.append)
    (tmp_path / "metrics.jsonl").write_text(text)
    assert [row["epoch"] for row in folder.metrics()] == epochs
    assert "is damaged and left out" in said.pop()
    folder.keep_metrics(4)
    assert f"has lost {4 - len(epochs)} of the 4 epochs" in said[-1]
    folder.add_metrics({"epoch": 5})
    assert [row["epoch"] for row in folder.metrics()] == [*epochs, 5]


def test_a_run_without_summary_is_not_finished(tmp_path):
    folder = RunFolder(tmp_path)
    (tmp_path / "summary.json.partial").write_text("{")
    assert folder.summary() is None
    folder.finish({"test_nll": 87.0})
    assert folder.summary() == {"test_nll": 87.0}


def test_a_claimed_folder_cannot_be_claimed_again_until_it_is_let_go(tmp_path):
    first, second, third = (RunFolder(tmp_path).claimed() for _ in range(3))
    with first, pytest.raises(BadInputError, match="in use by another process"):
        second.__enter__()
    with third:
        pass
