"""Trains and evaluates VAEs: one, or many side by side.

vae-jax train --dataset=mnist --latent_dim=20 --workdir=runs/a
vae-jax train --dataset=digits.npz --epochs=20
vae-jax sweep --num_seeds=3 --sweep=objective=beta --sweep=beta=1,2,4 --workdir=runs/b
vae-jax train --coordinator=HOST:1234 --num_processes=2 --process_id=0  # and 1

The same command again resumes an interrupted run; more --epochs train on. The run folder
(--workdir) gets flags.cfg, metrics.jsonl, checkpoints/, figures/ and summary.json. The folder of a
sweep gets such a folder for each run, and sweep.json, sweep.md and figures/.
"""

import os
from pathlib import Path
from typing import Any

from vae_jax import processes
from vae_jax.commands import command, flags, hosts
from vae_jax.config import Config, Hardware, written
from vae_jax.config.grid import most_side_by_side
from vae_jax.runs import fit, sweep
from vae_jax.runs.events import Listener
from vae_jax.runs.listeners import Display, TensorBoard, WandB
from vae_jax.runs.stop import StopSignal

LOGGERS = ("none", "tensorboard", "wandb")


def define_flags(workdir: str | None = None) -> None:
    """Defines the flags of the command. workdir: default of --workdir."""
    flags.define(Config)
    default = "" if workdir else " Default: runs/ and the name of the data set."
    flags.define_one(
        "workdir",
        str,
        workdir,
        f"The run folder, for everything that is written.{default}",
        "output",
        first=True,
    )
    flags.define_one(
        "logger",
        str,
        "none",
        "Where metrics are logged, too: to TensorBoard in WORKDIR/tensorboard, or to Weights & "
        "Biases. The packages tensorboardX and wandb are extras of vae_jax.",
        "output",
        choices=LOGGERS,
    )
    flags.define_grid()
    flags.define(Hardware)


def main(stop: StopSignal) -> None:
    config, grid, hardware = flags.config(), flags.grid(), flags.hardware()
    hardware = hosts.from_environment(hardware)
    command.use_host_devices(
        most_side_by_side(grid), hardware.num_devices, hardware.num_processes or 1
    )
    hosts.join(hardware, stop)
    texts = written(config) | grid.written()
    processes.require_same(
        texts | {name: str(getattr(hardware, name)) for name in ("num_devices", "lanes_at_once")}
    )
    command.use_compile_cache()
    workdir = flags.value_of("workdir") or f"runs/{_stem(config.dataset)}"
    listeners = [Display(), *_loggers(flags.value_of("logger"), workdir)]
    options: dict[str, Any] = {
        "workdir": workdir,
        "hardware": hardware,
        "listeners": listeners,
        "stop": stop,
    }
    if grid.is_single:
        print(fit(config, **options).summary)
    else:
        sweep(config, grid, **options, choose_objective="objective" not in flags.given(Config))


def _stem(dataset: str) -> str:
    """A name of a folder, made from the name of a data set."""
    name = dataset.removeprefix("tfds:").rstrip("/").removesuffix(".npz")
    return os.path.basename(name) or "run"


def _loggers(name: str, workdir: str) -> list[Listener]:
    if name == "tensorboard":
        return [TensorBoard(Path(os.path.expanduser(workdir)) / "tensorboard")]
    if name == "wandb":
        return [WandB(project="vae_jax")]
    return []
