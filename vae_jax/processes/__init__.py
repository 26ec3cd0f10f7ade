"""Several processes that compute together, on one machine or on many, each with the same command.

All processes go through the same steps. Only the first one reads and writes files and prints; the
others get its results by `on_first`, and `gather` collects arrays of all processes.
"""

from vae_jax.processes.exchange import (
    gather,
    gather_bytes,
    heed,
    introduce,
    is_first,
    of_first,
    on_first,
    require_same,
    several,
    share,
)
from vae_jax.processes.joining import (
    LOST,
    Cluster,
    connect,
    from_environment,
    is_lost_connection,
    leave,
)

__all__ = [
    "LOST",
    "Cluster",
    "connect",
    "from_environment",
    "gather",
    "gather_bytes",
    "heed",
    "introduce",
    "is_first",
    "is_lost_connection",
    "leave",
    "of_first",
    "on_first",
    "require_same",
    "several",
    "share",
]
