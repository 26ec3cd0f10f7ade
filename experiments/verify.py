"""Checks every estimator of the installed library on this machine, against exact truth.

python -m experiments.verify
python -m experiments.verify --only=bounds,gradients --seed=1

A table is printed: the largest z-score, residual or excess of each check beside what is tolerated.
The exit code is 1 if a check does not hold. The tolerances are such that a right library fails for
one seed in a thousand.
"""

import time

import jax
from absl import flags

from experiments import verify_evidence, verify_objectives
from experiments.verify_checks import Check, Group, densities, devices, oracles
from vae_jax.commands import command
from vae_jax.errors import DoesNotHoldError, Stopped
from vae_jax.runs.progress import Progress
from vae_jax.runs.stop import StopSignal

FLAGS = flags.FLAGS

GROUPS: dict[str, Group] = {
    "densities": densities,
    "oracles": oracles,
    "bounds": verify_objectives.bounds_of_log_evidence,
    "gradients": verify_objectives.gradients,
    "penalties": verify_objectives.penalties,
    "evidence": verify_evidence.estimates,
    "devices": devices,
}

flags.DEFINE_integer("seed", 0, "Seed of all samples.", 0, 2**32 - 1)
flags.DEFINE_list("only", list(GROUPS), "Groups of checks.")
flags.register_validator(
    "only",
    lambda names: names and set(names) <= set(GROUPS),
    f"groups are {', '.join(GROUPS)}, with commas between them",
)


def main(stop: StopSignal) -> None:
    command.use_compile_cache()
    print(header(), flush=True)
    start = time.perf_counter()
    found: dict[str, list[Check]] = {}
    names = [name for name in GROUPS if name in FLAGS.only]
    with Progress("Verifying", len(names), 0, unit="group") as progress:
        for done, name in enumerate(names):
            progress.update(done, name)
            work = lambda name=name: run_group(name, jax.random.key(FLAGS.seed))  # noqa: E731
            found[name] = stop.wait_for(work, until="this group is verified")
            if stop.requested:
                raise Stopped("Stopped.")
        progress.update(len(names))
    print(table(found))
    checks = [check for group in found.values() for check in group]
    print(f"{time.perf_counter() - start:.0f} s, seed {FLAGS.seed}.", flush=True)
    failed = [f"{group}: {c.what}" for group in found for c in found[group] if not c.holds]
    if failed:
        raise DoesNotHoldError(
            f"{len(failed)} of {len(checks)} checks do not hold: {'; '.join(failed)}."
        )
    print(f"{len(checks)} checks, all hold.")


def run_group(name: str, key: jax.Array) -> list[Check]:
    """The checks of a group, multiplied in full precision; keys do not depend on the others."""
    with jax.default_matmul_precision("highest"):
        return GROUPS[name](jax.random.fold_in(key, list(GROUPS).index(name)))


def header() -> str:
    """What the numbers are made by."""
    device = jax.devices()[0]
    return (
        f"jax {jax.__version__}, {jax.default_backend()}, {device.device_kind}, "
        f"{jax.device_count()} device(s), default matmul precision "
        f"{jax.config.jax_default_matmul_precision or 'that of the device'} (here: highest)."
    )


def table(found: dict[str, list[Check]]) -> str:
    """One line for each check."""
    lines = ["", f"{'group':<10} {'check':<42} {'truth':<28} {'found':>8} {'limit':>8}"]
    for group, checks in found.items():
        for check in checks:
            kind = {"z": "z", "residual": "d", "excess": ">"}[check.kind]
            lines.append(
                f"{group:<10} {check.what:<42} {check.oracle:<28} {kind} {check.value:>6.2g} "
                f"{check.tolerance:>8.2g}{'' if check.holds else '  FAILS'}"
            )
    lines += [
        "z: in standard errors; d: relative difference; >: above what it should be below.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    command.run(main)
