"""What validation says of an epoch, and which epoch is the best."""

from typing import Any

from vae_jax.config import Config
from vae_jax.objectives import by_name

_BOUND, _ELBO = "validation_bound", "validation_elbo"


def num_samples(config: Config) -> int:
    """The posterior samples of each validation example: one, or as many as the bound has.

    config: settled configuration.
    """
    of_several = by_name.OBJECTIVES[config.objective].num_samples > 1
    return int(config.num_samples or 1) if of_several else 1


def score_of(row: dict[str, Any]) -> tuple[str, float]:
    """The name and the value, in nats, of what is higher in a better epoch.

    It is the validation ELBO, or the importance-weighted bound of as many samples as a bound of
    several samples is trained with: the ELBO of such a model may fall while its bound rises, since
    its q(z|x) is wider than the best for the ELBO (Rainforth et al. 2018).

    row: row of metrics.jsonl.
    """
    name = _BOUND if _BOUND in row else _ELBO
    return name, row[name]


def best_epoch(rows: list[dict[str, Any]]) -> int:
    """The first epoch with the highest score. rows: one or more rows of metrics.jsonl."""
    return max(rows, key=lambda row: score_of(row)[1])["epoch"]


def has_ended(config: Config, rows: list[dict[str, Any]]) -> bool:
    """Whether the score has not risen for `patience` epochs."""
    return bool(
        config.patience and rows and rows[-1]["epoch"] - best_epoch(rows) >= config.patience
    )
