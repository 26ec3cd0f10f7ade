"""The size of an evaluation: numbers of images, chains and samples."""

import dataclasses

from vae_jax.config.option import Configuration, check_all, configuration, option


@configuration
@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget(Configuration):
    """The size of an evaluation. Each field is an option of `vae-jax evaluate`.

    Raises:
      BadInputError: a field is unknown, of another type or out of its range.
    """

    num_examples: int = option(
        100, "Test, training and simulated examples each.", group="evaluation", low=2, first=True
    )
    chains: int = option(
        16, "Annealed chains for each example.", group="evaluation", low=2, first=True
    )
    temperatures: int = option(
        200, "Of annealing; more is tighter and slower.", group="evaluation", low=1, first=True
    )
    iwae_samples: int = option(
        5000,
        "Samples of importance sampling for each example.",
        group="evaluation",
        low=1,
        first=True,
    )
    quadrature: bool | None = option(
        None,
        "Whether to compute log p(x) by quadrature, too. Default: if there are one or two latents.",
        group="evaluation",
        first=True,
    )
    outliers: str | None = option(
        None,
        "Another data set, whose examples are scored beside the run's.",
        group="evaluation",
        first=True,
    )
    seed: int = option(
        0, "Seed of all samples.", group="evaluation", low=0, high=2**32 - 1, first=True
    )

    def __post_init__(self):
        check_all(self)
