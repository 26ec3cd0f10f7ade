"""What experiments.gradients measures: bounds and estimators by name, on a model and examples."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from absl import flags

from experiments import objectives, settings
from experiments.command import BadInputError
from experiments.images import load_images
from experiments.run_folder import RunFolder
from vae_jax import load
from vae_jax.evidence import rainforth
from vae_jax.models import Model, Params, draw_batch
from vae_jax.objectives import Bound, Estimator, bounds

FLAGS = flags.FLAGS

# name -> how to make it of a number, and the number that is taken if none is given
_BOUNDS = {
    "elbo": (bounds.elbo, None),
    "iwae": (bounds.iwae, None),
    "renyi": (bounds.renyi, 0.5),
    "miwae": (bounds.miwae, 2),
    "ciwae": (bounds.ciwae, 0.5),
    "tvo": (bounds.tvo, 5),
    "cubo": (bounds.cubo, 2.0),
}
_ESTIMATORS = {
    name: (estimator, 0.5 if name == "concrete" else None)
    for name, estimator in objectives.ESTIMATORS.items()
}
# Flags of a run on which its images depend, and the checks of its images.
_OF_THE_IMAGES = (
    "dataset",
    "data_dir",
    "binarisation",
    "num_validation",
    "split_seed",
    "batch_size",
    "likelihood",
)


class Case(NamedTuple):
    """A model, its parameters and the examples over which gradients are averaged."""

    name: str
    model: Model
    params: Params
    x: jax.Array  # [B, *event]
    exact_elbo: Callable[[Params, jax.Array], jax.Array] | None  # of one example, if it is known

    @property
    def is_reparameterised(self) -> bool:
        """Whether there are pathwise gradients."""
        return jax.eval_shape(self.model.posterior, self.params, self.x[0]).is_reparameterised

    @property
    def num_parameters(self) -> int:
        return sum(leaf.size for leaf in jax.tree.leaves(self.params))


def linear_gaussian(
    key: jax.Array, num_examples: int, num_dims: int = 20, num_data: int = 1024
) -> Case:
    """The setting of Rainforth et al. 2018, section 4: near the optimum of 1024 points, D = 20."""
    data_key, perturb_key = jax.random.split(key)
    x = rainforth.examples(data_key, max(num_data, num_examples), num_dims)
    return Case(
        name=f"linear-Gaussian model, D={num_dims} (Rainforth et al. 2018)",
        model=rainforth.model(),
        params=rainforth.perturb(perturb_key, rainforth.optimum(x)),
        x=x[:num_examples],
        exact_elbo=rainforth.elbo,
    )


def from_run(path: str, num_examples: int) -> Case:
    """The model of a finished run, with its averaged parameters, on its first test images.

    Raises:
      BadInputError: there is no finished run in this folder, or it has fewer test images.
      CheckpointError: it holds no checkpoint that can be used.
      DataError: its images cannot be had; --data_dir may say where they are now.
    """
    folder = RunFolder(path)
    recorded = folder.recorded_flags()
    if recorded is None:
        raise BadInputError(f"--run={path} holds no flags.cfg, as the folder of a run does.")
    if folder.summary() is None:
        raise BadInputError(f"The run in {path} is not finished: its own command goes on with it.")
    vae = load(folder.path, report=print)
    for name in _OF_THE_IMAGES:
        if name in recorded and not FLAGS[name].present:
            FLAGS[name].parse(recorded[name])
    images = load_images()
    if num_examples > len(images.test):
        raise BadInputError(
            f"--num_examples={num_examples} is more than the {len(images.test)} test images of "
            f"{images.name}."
        )
    # Evaluation draws nothing: the key has no effect.
    x = images.test_binarise(jax.random.key(0), jnp.asarray(images.test[:num_examples]))
    return Case(f"the run in {path}", vae.model, vae.params, x, exact_elbo=None)


def refuse_flags_of_training(*shared: str) -> None:
    """Raises a BadInputError for a flag of training, which the run folder fixes, but for some."""
    by_module = FLAGS.flags_by_module_dict()
    for module in (settings, objectives):
        for flag in by_module[module.__name__]:
            if flag.present and flag.name not in shared:
                raise BadInputError(
                    f"--{flag.name} is a flag of training; what is measured here is a finished "
                    "--run, with the flags that it was trained with."
                )


def named_bounds(names: list[str]) -> dict[str, Bound]:
    """The bounds of these names, such as iwae or renyi:0.5."""
    return {name: _named("--bounds", name, _BOUNDS) for name in names}


def named_estimators(names: list[str]) -> dict[str, Estimator]:
    """The estimators of these names, such as pathwise or concrete:0.5."""
    return {name: _named("--estimators", name, _ESTIMATORS) for name in names}


def default_estimators(case: Case) -> dict[str, Estimator]:
    """All that the posterior allows, but the biased one that depends on a temperature."""
    pathwise = ["pathwise", "stl", "dreg"] if case.is_reparameterised else []
    return named_estimators([*pathwise, "score_function", "vimco"])


def _named(flag: str, text: str, table: dict[str, tuple[Any, Any]]) -> Any:
    name, colon, number = text.partition(":")
    if name not in table:
        names = [
            name if default is None else f"{name}:{default}" for name, (_, default) in table.items()
        ]
        raise BadInputError(f"{flag}={text} is unknown; there are {', '.join(names)}.")
    make, default = table[name]
    if default is None:
        if colon:
            raise BadInputError(f"{flag}={text}: {name} takes no number.")
        return make
    try:
        return make(type(default)(number) if colon else default)
    except ValueError as error:
        raise BadInputError(f"{flag}={text}: {error}") from error


def why_not(case: Case, bound: Bound, estimator: Estimator, num_samples: int) -> str | None:
    """Why this estimator has no gradient of this bound of K samples; None if it has one.

    Raises:
      BadInputError: nor of any other K, as its samples have no gradient.
    """

    def value(params, key):
        noise_keys = jax.random.split(key, (num_samples, len(case.x)))
        return estimator(bound, partial(draw_batch, case.model, params, case.x, noise_keys))[0]

    try:
        jax.eval_shape(value, case.params, jax.random.key(0))
    except TypeError as error:
        raise BadInputError(f"{case.name}: {error}") from error
    except ValueError as error:
        return str(error)
    return None
