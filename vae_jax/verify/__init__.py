"""The self-test that ships: every estimator of the library against exact truth, on this machine.

    found = {name: verify.run_group(name, jax.random.key(0)) for name in verify.GROUPS}
    print(verify.table(found))
    verify.require_all(found)

`import vae_jax` does not import this package: that takes time which other programs do not need.
"""

from vae_jax.verify.check import (
    Check,
    Group,
    equal,
    largest_z,
    mean_is,
    mean_is_at_most,
    not_above,
)
from vae_jax.verify.groups import GROUPS, run_group
from vae_jax.verify.report import header, require_all, table

__all__ = [
    "GROUPS",
    "Check",
    "Group",
    "equal",
    "header",
    "largest_z",
    "mean_is",
    "mean_is_at_most",
    "not_above",
    "require_all",
    "run_group",
    "table",
]
