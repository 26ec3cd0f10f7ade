"""Joins runs into one table: mean, 95 % interval, best value and number of runs of each setting.

vae-jax table --runs=runs/beta
vae-jax table --runs=runs/mnist,runs/other --output=runs/joined

The folder of a sweep stands for its runs. Runs that differ only in the seed are one setting.
"""

import os
from pathlib import Path

from vae_jax.commands import flags
from vae_jax.errors import BadInputError
from vae_jax.runs import table
from vae_jax.runs.files import output_folder, replace, write_json
from vae_jax.runs.stop import StopSignal


def define_flags() -> None:
    """Defines the flags of the command."""
    flags.define_one(
        "runs",
        str,
        None,
        "Folders of runs or sweeps, with commas between them; a comma between NAME=VALUE pairs of "
        "one folder's name is a part of it.",
        "table",
        first=True,
    )
    flags.define_one(
        "output",
        str,
        None,
        "Where to write table.json and table.md, if anywhere.",
        "table",
        first=True,
    )


def main(stop: StopSignal) -> None:
    del stop
    runs, output = flags.value_of("runs"), flags.value_of("output")
    if not runs:
        raise BadInputError("runs is missing: --runs=FOLDER,FOLDER names folders of runs.")
    found = table.found_in(folders_in(runs), say=lambda text: print(text, flush=True))
    rows = table.rows(found)
    text = table.in_words(rows)
    print(text)
    if output is not None:
        folder = output_folder(output)
        write_json(folder / "table.json", [row.as_dict() for row in rows])
        replace(folder / "table.md", text + "\n")


def folders_in(text: str) -> list[Path]:
    """The folders of a list with commas. The name of a run of a sweep may itself hold commas.

    A part that is not a folder is joined with the parts after it, until they name one.
    """
    parts, found = text.split(","), []
    while parts:
        for length in range(len(parts), 0, -1):
            path = Path(os.path.expanduser(",".join(parts[:length])))
            if length == 1 or path.is_dir():
                break
        found.append(path)
        parts = parts[length:]
    return found
