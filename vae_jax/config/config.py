"""The configuration of a run: the only source of what can be asked for, its defaults and ranges."""

import dataclasses

from vae_jax.config import dependent
from vae_jax.config.data_options import DataOptions
from vae_jax.config.model_options import ModelOptions
from vae_jax.config.objective_options import ObjectiveOptions
from vae_jax.config.option import Configuration, check_all, configuration
from vae_jax.config.training_options import TrainingOptions
from vae_jax.objectives import by_name


@configuration
@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainingOptions, ObjectiveOptions, ModelOptions, DataOptions, Configuration):
    """What is trained on what, how, and how it is evaluated.

    Fields that are None have a default that depends on others; `settled` fills them in. `OPTIONS`
    has the help text and the range of each.

    Raises:
      BadInputError: a field is unknown, of another type or out of its range, or fields contradict
        each other; the message names what is allowed.
    """

    def __post_init__(self):
        check_all(self)
        dependent.require_no_contradiction(self)

    @property
    def choice(self) -> by_name.Choice:
        """What is known of the objective."""
        return by_name.OBJECTIVES[self.objective]

    def settled(self) -> "Config":
        """The same configuration with the defaults that depend on other fields filled in.

        Two configurations that ask for the same are equal once they are settled.
        """
        return dataclasses.replace(self, **dependent.defaults(self))
