"""Checks every estimator of the installed library on this machine, against exact truth.

vae-jax verify
vae-jax verify --only=bounds,gradients --seed=1

It prints a table with the largest z-score, residual or excess of each check and its tolerance. The
exit code is 1 if a check does not hold. With these tolerances a correct library fails for one seed
in a thousand.
"""

import time
from functools import partial

import jax

from vae_jax import verify
from vae_jax.commands import command, flags
from vae_jax.errors import BadInputError, Stopped
from vae_jax.runs.progress import Progress
from vae_jax.runs.stop import StopSignal


def define_flags() -> None:
    """Defines the flags of the command."""
    groups = ", ".join(verify.GROUPS)
    flags.define_one(
        "only", str, None, f"Groups of checks, of {groups}. Default: all.", "checks", first=True
    )
    flags.define_one(
        "seed", int, 0, "Seed of all samples.", "checks", low=0, high=2**32 - 1, first=True
    )


def main(stop: StopSignal) -> None:
    names, seed = _groups(flags.value_of("only")), flags.value_of("seed")
    command.use_compile_cache()
    print(verify.header(), flush=True)
    start = time.perf_counter()
    found: dict[str, list[verify.Check]] = {}
    with Progress("Verifying", len(names), 0, unit="group") as progress:
        for done, name in enumerate(names):
            progress.update(done, name)
            work = partial(verify.run_group, name, jax.random.key(seed))
            found[name] = stop.wait_for(work, until="this group is verified")
            if stop.requested:
                raise Stopped("Stopped.")
        progress.update(len(names))
    print(verify.table(found))
    print(f"{time.perf_counter() - start:.0f} s, seed {seed}.", flush=True)
    verify.require_all(found)
    print(f"{sum(map(len, found.values()))} checks, all hold.")


def _groups(only: str | None) -> list[str]:
    """The groups that --only names, in their own order.

    Raises:
      BadInputError: --only names a group that does not exist.
    """
    wanted = list(verify.GROUPS) if only is None else only.split(",")
    unknown = [name for name in wanted if name not in verify.GROUPS]
    if unknown:
        raise BadInputError(
            f"only={only} names {unknown[0]!r}, which is no group of checks; there are "
            f"{', '.join(verify.GROUPS)}."
        )
    return [name for name in verify.GROUPS if name in wanted]
