"""The results of the checks, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax

from vae_jax.errors import DoesNotHoldError
from vae_jax.verify.check import Check


def header() -> str:
    """The version of JAX, the devices and the precision of this process."""
    device = jax.devices()[0]
    settings: Any = jax.config
    return (
        f"jax {jax.__version__}, {jax.default_backend()}, {device.device_kind}, "
        f"{jax.device_count()} device(s), default matmul precision "
        f"{settings.jax_default_matmul_precision or 'that of the device'} (here: highest)."
    )


def table(found: Mapping[str, Sequence[Check]]) -> str:
    """One line for each check. found: name of the group -> its checks."""
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


def require_all(found: Mapping[str, Sequence[Check]]) -> None:
    """Raises an error unless every check holds. found: name of the group -> its checks.

    Raises:
      DoesNotHoldError: some checks do not hold; the message names them.
    """
    checks = [(group, check) for group in found for check in found[group]]
    failed = [f"{group}: {check.what}" for group, check in checks if not check.holds]
    if failed:
        raise DoesNotHoldError(
            f"{len(failed)} of {len(checks)} checks do not hold: {'; '.join(failed)}."
        )
