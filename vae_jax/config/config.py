"""The configuration of a run: the only source of what can be asked for, its defaults and ranges."""

import dataclasses

from vae_jax.config import dependent
from vae_jax.config.code_options import CodeOptions
from vae_jax.config.data_options import DataOptions
from vae_jax.config.latent_options import LatentOptions
from vae_jax.config.model_options import ModelOptions
from vae_jax.config.objective_options import ObjectiveOptions
from vae_jax.config.option import Configuration, check_all, configuration
from vae_jax.config.training_options import TrainingOptions
from vae_jax.objectives import by_name


@configuration
@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(
    TrainingOptions,
    ObjectiveOptions,
    CodeOptions,
    LatentOptions,
    ModelOptions,
    DataOptions,
    Configuration,
):
    """The configuration of a run: data, model, objective, optimisation and evaluation.

    A field that is None has a default that depends on other fields; `settled` fills it in.
    `OPTIONS` has the help text and the range of each field.

    Raises:
      BadInputError: a field is unknown, of another type or out of its range, or fields contradict
        each other; the message says what is allowed.
    """

    def __post_init__(self):
        check_all(self)
        dependent.require_no_contradiction(self)

    @property
    def choice(self) -> by_name.Choice:
        """The objective with its options."""
        return by_name.OBJECTIVES[self.objective]

    @property
    def missing_rate(self) -> float | None:
        """The rate with which values are hidden; None if a file says which, or none are."""
        return dependent.rate_of(self.missing)

    def settled(self) -> "Config":
        """The same configuration, with values for the fields whose default depends on others.

        Two configurations that describe the same run are equal once they are settled.
        """
        return dataclasses.replace(self, **dependent.defaults(self))
