"""From a configuration to the model, the objective and the optimiser."""

from typing import Any, cast

import jax
import jax.numpy as jnp
import optax

from vae_jax import data, training
from vae_jax.config import Config
from vae_jax.config.code_options import CodeOptions
from vae_jax.config.latent_options import LatentOptions
from vae_jax.errors import BadInputError
from vae_jax.models import Batch, Model, ModelSpec
from vae_jax.objectives import Objective, by_name
from vae_jax.runs.facts import Facts

OF_THE_MODEL = [name for name, known in Config.OPTIONS.items() if known.group == "model"]

_OF_THE_LATENTS = ["latent_dim", "latents", "num_categories"] + [
    name
    for name in OF_THE_MODEL
    if name in LatentOptions.__annotations__
    or (name in CodeOptions.__annotations__ and not name.startswith("pixel"))
]


# train_only -> the names of the parameters that are trained; None for all
_TRAINED = {"all": None, "prior": ("prior",), "encoder": ("encoder", "posterior", "chain")}


def model_spec(config: Config, facts: Facts) -> ModelSpec:
    """The model of a configuration without `auto`, for data with these facts."""
    chosen = {name: getattr(config, name) for name in OF_THE_MODEL}
    return ModelSpec(**chosen, **facts._asdict())


def numbers_of(config: Config) -> dict[str, float]:
    """The numbers that a training step takes from its state, which a sweep varies in one program.

    config: settled configuration.
    """
    return {
        name: getattr(config, name)
        for name, known in Config.OPTIONS.items()
        if known.swept == "number" and getattr(config, name) is not None
    }


def objective_of(
    config: Config,
    num_examples: int,
    steps_per_epoch: int,
    numbers: dict[str, jax.Array] | None = None,
    labels: by_name.Labels | None = None,
) -> Objective:
    """The objective of a settled configuration.

    Args:
      config: settled configuration.
      num_examples: size of the training data.
      steps_per_epoch: number of steps in an epoch, the unit of `anneal_epochs`.
      numbers: field -> value that replaces the field.
      labels: labels of the training data, if some are missing.

    Raises:
      ValueError: an option is out of its range.
    """
    numbers = numbers or {}
    epochs = config.anneal_epochs or 0
    return by_name.build(
        config.objective,
        {name: numbers.get(name, getattr(config, name)) for name in config.choice.options},
        estimator=config.estimator,
        num_examples=num_examples,
        temperature=numbers.get("temperature", config.temperature),
        annealing=config.anneal,
        annealing_steps=round(epochs * steps_per_epoch),
        labels=labels,
    )


def make_trainer(
    config: Config,
    model: Model,
    num_examples: int,
    binarise: data.Binarise,
    labels: by_name.Labels | None = None,
) -> training.Trainer:
    """The training of a settled configuration, with its `numbers_of` in the state."""
    steps_per_epoch = num_examples // config.batch_size
    num_steps = config.epochs * steps_per_epoch

    def recipe(numbers):
        return training.Recipe(
            objective=objective_of(config, num_examples, steps_per_epoch, numbers, labels),
            optimiser=training.adam(
                numbers["learning_rate"],
                num_steps,
                warmup_steps=training.warmup_length(config.warmup_steps, num_steps),
                weight_decay=numbers["weight_decay"],
                eps=config.adam_eps,
            ),
            clip_norm=numbers["clip_norm"],
            average_decay=numbers["ema_decay"],
            skip_norm=numbers.get("skip_norm"),
        )

    return training.make_swept_trainer(
        model,
        recipe,
        num_samples=cast(int, config.num_samples),
        binarise=binarise,
        trained=_TRAINED[config.train_only],
        condition_dropout=config.condition_dropout,
    )


def check(config: Config, model: Model | None = None, example: Batch | None = None) -> None:
    """Traces, without compiling, one training step of a settled configuration.

    So an error in the choice of objective, estimator and numbers is found before any long work.

    Args:
      config: settled configuration.
      model: model of the user's own; None for a small model with the latents of `config`.
      example: an example of that model, without the axis N; None for the small model.

    Raises:
      BadInputError: the step cannot be traced.
    """
    one = Batch(jnp.zeros((1,))) if example is None else example
    if model is None:
        tiny: dict[str, Any] = {name: getattr(config, name) for name in _OF_THE_LATENTS}
        if config.prior == "conditional":
            tiny["condition_shape"], one = (1,), Batch(one.x, jnp.zeros((1,)))
        if config.condition == "partial_labels":
            tiny["condition_shape"], one = (2,), Batch(one.x, jnp.zeros((2,)))
            tiny["num_classes"] = 2
        model = ModelSpec(event_shape=(1,), network="mlp", hidden=(), **tiny).build()
    try:
        trainer = training.make_trainer(
            model,
            objective_of(config, num_examples=10 * config.batch_size, steps_per_epoch=10),
            optax.sgd(0.1),
            num_samples=cast(int, config.num_samples),
        )
        state = jax.eval_shape(trainer.init, jax.random.key(0), one)
        batch = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((config.batch_size, *leaf.shape), jnp.float32), one
        )
        jax.eval_shape(trainer.step, state, batch)
    except (ValueError, TypeError) as error:
        raise BadInputError(
            f"objective={config.objective} with estimator={config.estimator}: {error}"
        ) from error
