"""The training examples that a prior starts at or holds."""

import numpy as np

from vae_jax.config import Config
from vae_jax.errors import BadInputError
from vae_jax.models import Model, ModelSpec
from vae_jax.runs.examples import Examples, mean_of

_SPREAD = 0.1  # of random pseudo-inputs around the mean example, relative to its largest value


def build(spec: ModelSpec, config: Config, examples: Examples) -> Model:
    """The model of a run, with the training examples that its prior starts at or holds.

    Raises:
      BadInputError: the same as for `held_examples`.
    """
    return spec.build(held_examples(spec, config, examples))


def held_examples(spec: ModelSpec, config: Config, examples: Examples) -> np.ndarray | None:
    """Random training examples as intensities or as they are, or random pseudo-inputs, [K, *event].

    The choice depends on `split_seed` alone, so that all runs of a sweep have the same. Returns
    None for priors that need none.

    Raises:
      BadInputError: there are fewer training examples than are asked for.
    """
    number = spec.num_held
    if number == 0:
        return None
    if number > len(examples.train):
        raise BadInputError(
            f"prior_components={number} of prior={spec.prior} is more than the "
            f"{len(examples.train):,} training examples of {examples.name}."
        )
    rng = np.random.default_rng(config.split_seed)
    if spec.prior == "vamp" and config.pseudo_inputs == "random":
        mean = np.asarray(mean_of(examples).x, np.float32)
        noise = rng.standard_normal((number, *mean.shape)).astype(np.float32)
        return mean + _SPREAD * np.abs(mean).max() * noise
    rows = np.sort(rng.choice(len(examples.train), number, replace=False))
    stored = np.asarray(examples.train.x[rows])
    scale = 255.0 if stored.dtype == np.uint8 else 1.0
    return (stored.astype(np.float32) / np.float32(scale)).astype(np.float32)
