"""What a kill between any two writes may leave behind."""

import pytest

from experiments.run_folder import RunFolder
from vae_jax.errors import BadInputError


def test_a_half_written_flags_file_does_not_make_the_folder_foreign(tmp_path):
    (tmp_path / "flags.cfg.partial").write_text("--see")
    folder = RunFolder(tmp_path)
    with folder.claimed():
        assert folder.recorded_flags() is None
        folder.record_flags({"seed": "1", "hidden": "3,3"})
    assert folder.recorded_flags() == {"seed": "1", "hidden": "3,3"}


def test_a_last_line_cut_short_is_passed_over_and_rows_can_be_taken_back(tmp_path):
    folder = RunFolder(tmp_path)
    for epoch in (1, 2, 3):
        folder.add_metrics({"epoch": epoch})
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text() + '{"epoch": 4, "tr')
    assert [row["epoch"] for row in folder.metrics()] == [1, 2, 3]
    folder.keep_metrics(folder.metrics()[:2])
    folder.add_metrics({"epoch": 3})
    assert [row["epoch"] for row in folder.metrics()] == [1, 2, 3]


@pytest.mark.parametrize(
    ("name", "text", "read"),
    [
        ("flags.cfg", "--seed=1\n--epo", RunFolder.recorded_flags),
        ("flags.cfg", "", RunFolder.recorded_flags),
        ("metrics.jsonl", '{"epoch": 1}\n{"epo\n{"epoch": 3}\n', RunFolder.metrics),
        ("metrics.jsonl", '{"epoch": 1}\n{"epoch": 3}\n', RunFolder.metrics),
        ("metrics.jsonl", '{"loss": 1}\n', RunFolder.metrics),
        ("metrics.jsonl", "[]\n", RunFolder.metrics),
        ("summary.json", "", RunFolder.summary),
    ],
)
def test_damaged_files_are_named(tmp_path, name, text, read):
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInputError, match=f"{name} is damaged"):
        read(RunFolder(tmp_path))
    (tmp_path / name).write_bytes(b"\xff\xfe\n")
    with pytest.raises(BadInputError, match=f"{name} is damaged"):
        read(RunFolder(tmp_path))


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
