"""The cases of experiments.gradients: bounds and estimators by name, on a model and examples."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vae_jax.errors import BadInputError
from vae_jax.evidence import rainforth
from vae_jax.models import Batch, Model, Params, given
from vae_jax.objectives import Bound, Estimator, bounds, by_name
from vae_jax.runs import Run
from vae_jax.runs.finished import require_examples

PARTS: dict[str, Callable[[Params], Any]] = {
    "encoder": lambda params: params["encoder"],
    "decoder": lambda params: {name: part for name, part in params.items() if name != "encoder"},
}

# name -> function that makes it from a number, and the default of the number
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
    for name, estimator in by_name.ESTIMATORS.items()
}


class Case(NamedTuple):
    """A model, its parameters and the examples over which gradients are averaged."""

    name: str
    model: Model
    params: Params
    x: Batch  # B examples
    exact_elbo: Callable[[Params, jax.Array], jax.Array] | None  # for one example, if known

    @property
    def num_parameters(self) -> int:
        return sum(leaf.size for leaf in jax.tree.leaves(self.params))

    @property
    def is_reparameterised(self) -> bool:
        """Whether the model has pathwise gradients."""
        one = self.x[0]
        posterior = given(self.model, one.c).posterior
        return jax.eval_shape(posterior, self.params, one.x).is_reparameterised

    def exact_gradient(self, bound: str, num_samples: int) -> Params | None:
        """The exact gradient, if it is known. With one sample every bound is the ELBO."""
        if self.exact_elbo is None or (bound != "elbo" and num_samples > 1):
            return None
        over_examples = jax.vmap(self.exact_elbo, (None, 0))
        return jax.grad(lambda params: jnp.mean(over_examples(params, self.x.x)))(self.params)

    def default_estimators(self) -> list[str]:
        """All estimators that the posterior allows, except the biased one with a temperature."""
        pathwise = ["pathwise", "stl", "dreg"] if self.is_reparameterised else []
        return [*pathwise, "score_function", "vimco"]

    def reference(self, num_samples: int) -> tuple[str, Estimator]:
        """The estimator that the others are compared with. It is unbiased by construction."""
        several = "vimco" if num_samples > 1 else "score_function"
        name = "pathwise" if self.is_reparameterised else several
        return name, by_name.ESTIMATORS[name]


def linear_gaussian(
    key: jax.Array, num_examples: int, num_dims: int = 20, num_data: int = 1024
) -> Case:
    """The setting of Rainforth et al. 2018, section 4: D = 20, near the optimum for 1024 points."""
    data_key, perturb_key = jax.random.split(key)
    x = rainforth.examples(data_key, max(num_data, num_examples), num_dims)
    return Case(
        name=f"linear-Gaussian model, D={num_dims} (Rainforth et al. 2018)",
        model=rainforth.model(),
        params=rainforth.perturb(perturb_key, rainforth.optimum(x)),
        x=Batch(x[:num_examples]),
        exact_elbo=rainforth.elbo,
    )


def of_run(run: Run, num_examples: int) -> Case:
    """The model of a finished run, with its averaged parameters, on its first test images.

    Raises:
      BadInputError: the run has fewer test images.
    """
    require_examples(num_examples, run, "test")
    # Evaluation draws nothing, so the key has no effect.
    stored = jax.tree.map(jnp.asarray, run.loaded_examples.test[:num_examples])
    x = Batch(run.loaded_examples.test_binarise(jax.random.key(0), stored.x), stored.c)
    return Case(f"run in {run.folder.path}", run.model, run.params, x, exact_elbo=None)


def named_bounds(names: list[str]) -> dict[str, Bound]:
    """The bounds of these names, such as iwae or renyi:0.5."""
    return {name: _named("bounds", name, _BOUNDS) for name in names}


def named_estimators(names: list[str]) -> dict[str, Estimator]:
    """The estimators of these names, such as pathwise or concrete:0.5."""
    return {name: _named("estimators", name, _ESTIMATORS) for name in names}


def is_unbiased(part: str, bound: str, estimator: str) -> bool:
    """Whether the expectation of an estimator is the gradient of a bound of these names."""
    if part == "decoder" or estimator not in ("stl", "dreg"):
        return not estimator.startswith("concrete")
    # The gradients of the largest and of the smallest weight jump.
    jumps = math.isinf(float(bound.partition(":")[2] or 0))
    return bound == "elbo" if estimator == "stl" else not jumps


def _named(flag: str, text: str, table: dict[str, tuple[Any, float | None]]) -> Any:
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
        number = type(default)(number) if colon else default
    except ValueError as error:
        kind = "whole number" if isinstance(default, int) else "number"
        raise BadInputError(f"{flag}={text}: {number or 'nothing'} is no {kind}.") from error
    try:
        return make(number)
    except ValueError as error:
        raise BadInputError(f"{flag}={text}: {error}") from error
