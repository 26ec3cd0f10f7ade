"""Part "start": the time until training begins, and the time of imports.

Training is a process of its own, `python -m experiments.mnist`, which begins with an empty cache of
compiled programs (cold) or with the cache of the process before it (warm).
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.benchmark import cases
from experiments.benchmark.cases import Case
from experiments.benchmark.rounds import Row
from vae_jax.errors import BadInputError
from vae_jax.runs.folder import RunFolder

PART = "start"
_ROOT = Path(__file__).parent.parent.parent
_NUM_IMAGES = 5_000
_POLL = 0.02  # seconds
_MEBIBYTE = 2**20

# Prints the seconds of each import.
_IMPORTS = """
import time
begin = time.perf_counter()
import flax.linen, jax, optax
libraries = time.perf_counter()
import vae_jax
library = time.perf_counter()
import experiments.mnist
print(libraries - begin, library - libraries, time.perf_counter() - library)
"""
_IMPORTED = (
    "jax, flax.linen and optax",
    "then vae_jax",
    "then experiments.mnist",
)


class Started(NamedTuple):
    """A process that has trained for an epoch."""

    seconds: float  # seconds from its start, without those of the epoch itself
    peak_mebibytes: float | None  # None where the system does not tell


def measure(rounds: int) -> list[Row]:
    """Measures the time until the first training step, peak memory and imports."""
    case = cases.CASES[0]
    cold, warm, imports = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images.npz"
        pixels = case._replace(num_images=_NUM_IMAGES).pixels()
        np.savez(images, x_train=pixels, x_test=pixels[:100])
        for number in range(rounds):
            flags = flags_of(case, str(images))
            cache = Path(folder) / f"cache-{number}"
            cold.append(until_trained(RunFolder(Path(folder) / f"cold-{number}"), cache, flags))
            warm.append(until_trained(RunFolder(Path(folder) / f"warm-{number}"), cache, flags))
            imports.append(_import_seconds())
    until = "until the first training step"
    described = f"experiments.mnist, {_NUM_IMAGES:,} images, {case.network}"
    return [
        Row(PART, described, f"{until}, cold", "s", [one.seconds for one in cold]),
        Row(PART, described, f"{until}, warm", "s", [one.seconds for one in warm]),
        *(
            Row(PART, described, f"peak memory, {how}", "MiB", peaks)
            for how, started in (("cold", cold), ("warm", warm))
            if (peaks := [one.peak_mebibytes for one in started if one.peak_mebibytes])
        ),
        *(
            Row(PART, "import", what, "s", [seconds[index] for seconds in imports])
            for index, what in enumerate(_IMPORTED)
        ),
    ]


def flags_of(case: Case, dataset: str) -> tuple[str, ...]:
    """The flags with which experiments.mnist trains the network of `case` at its batch size."""
    return (
        f"--dataset={dataset}",
        "--network=mlp",
        f"--hidden={','.join(map(str, case.hidden))}",
        f"--activation={case.activation}",
        f"--latent_dim={case.latent_dim}",
        f"--batch_size={case.batch_size}",
    )


def peak_mebibytes(pid: int) -> float | None:
    """The peak memory of a running process; None if it has ended, or if there is no /proc.

    (The number of `wait4` includes the memory of the process that started it.)
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    found = re.search(r"VmHWM:\s*(\d+)", status)  # no such line for a process that has ended
    return int(found[1]) / 1024 if found else None


def mebibytes(max_resident: int) -> float:
    """MiB, from what the system reports as peak memory: bytes on macOS, else kibibytes."""
    return max_resident / (_MEBIBYTE if sys.platform == "darwin" else 1024)


def until_trained(folder: RunFolder, cache: Path, flags: tuple[str, ...]) -> Started:
    """Starts training, and ends it after its first epoch.

    An epoch is reported after its validation, so compiling the validation counts, too.

    Raises:
      BadInputError: training ends before its first epoch does.
    """
    arguments = (f"--workdir={folder.path}", "--epochs=1000", *flags)
    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "experiments.mnist", *arguments],
            env=environment() | {"JAX_COMPILATION_CACHE_DIR": str(cache)},
            stdout=said,
            stderr=said,
        )
        ended = False
        try:
            while not (rows := folder.metrics()) and not ended:
                time.sleep(_POLL)
                ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            seconds = time.perf_counter() - start
            peak = peak_mebibytes(process.pid)
        finally:
            process.kill()
            process.wait()
        if not rows:
            said.seek(0)
            last = (said.read().decode(errors="replace").split("\n") or [""])[-2:]
            raise BadInputError(f"python -m experiments.mnist failed: {' '.join(last).strip()}")
    return Started(seconds - rows[0]["seconds"], peak)


def _import_seconds() -> list[float]:
    """The seconds of the imports in _IMPORTED, in a new process."""
    command = [sys.executable, "-c", _IMPORTS]
    finished = subprocess.run(
        command, env=environment(), capture_output=True, text=True, check=True
    )
    return [float(seconds) for seconds in finished.stdout.split()]


def environment() -> dict[str, str]:
    """The environment of this process, with experiments/ and without its choice of devices."""
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}
