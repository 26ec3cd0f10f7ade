"""Checks every estimator of the installed library on this machine, against exact truth.

python -m experiments.verify
python -m experiments.verify --only=bounds,gradients --seed=1

A table is printed: the largest z-score, residual or excess of each check beside what is tolerated.
The exit code is 1 if a check does not hold. The tolerances are such that a right library fails for
one seed in a thousand.
"""

import time
from functools import partial

import jax
from absl import flags

from experiments import command
from experiments.command import StopSignal
from experiments.progress import Progress
from vae_jax import verify
from vae_jax.errors import Stopped

FLAGS = flags.FLAGS

flags.DEFINE_integer("seed", 0, "Seed of all samples.", 0, 2**32 - 1)
flags.DEFINE_list("only", list(verify.GROUPS), "Groups of checks.")
flags.register_validator(
    "only",
    lambda names: names and set(names) <= set(verify.GROUPS),
    f"groups are {', '.join(verify.GROUPS)}, with commas between them",
)


def main(stop: StopSignal) -> None:
    command.use_compile_cache()
    print(verify.header(), flush=True)
    start = time.perf_counter()
    found: dict[str, list[verify.Check]] = {}
    names = [name for name in verify.GROUPS if name in FLAGS.only]
    with Progress("Verifying", len(names), 0, unit="group") as progress:
        for done, name in enumerate(names):
            progress.update(done, name)
            work = partial(verify.run_group, name, jax.random.key(FLAGS.seed))
            found[name] = stop.wait_for(work, until="this group is verified")
            if stop.requested:
                raise Stopped("Stopped.")
        progress.update(len(names))
    print(verify.table(found))
    print(f"{time.perf_counter() - start:.0f} s, seed {FLAGS.seed}.", flush=True)
    verify.require_all(found)
    print(f"{sum(map(len, found.values()))} checks, all hold.")


if __name__ == "__main__":
    command.run(main)
