"""The groups of checks, by name."""

import jax

from vae_jax.errors import BadInputError
from vae_jax.verify import bounds, densities, devices, evidence, gradients, oracles, penalties
from vae_jax.verify.check import Check, Group

#: All groups of checks, by name.
GROUPS: dict[str, Group] = {
    "densities": densities.checks,
    "oracles": oracles.checks,
    "bounds": bounds.checks,
    "gradients": gradients.checks,
    "penalties": penalties.checks,
    "evidence": evidence.checks,
    "devices": devices.checks,
}


def run_group(name: str, key: jax.Array) -> list[Check]:
    """Runs the checks of one group, with matrix products in full precision.

    Args:
      name: one of `GROUPS`.
      key: key of all groups. Each group folds it, so that its samples do not depend on which other
        groups are run.

    Raises:
      BadInputError: there is no group of this name.
    """
    if name not in GROUPS:
        raise BadInputError(f"name={name!r} is no group of checks; there are {', '.join(GROUPS)}.")
    with jax.default_matmul_precision("highest"):
        return GROUPS[name](jax.random.fold_in(key, list(GROUPS).index(name)))
