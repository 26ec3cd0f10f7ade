"""What an evaluation is of: a run, its budget, and the examples that it is measured on."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vae_jax import data
from vae_jax.distributions import Coded
from vae_jax.errors import BadInputError
from vae_jax.evaluation import memory
from vae_jax.evaluation.budget import Budget
from vae_jax.evaluation.latents import Latents, latents_of
from vae_jax.models import Batch
from vae_jax.models.likelihoods import LIKELIHOODS
from vae_jax.models.posteriors import POSTERIORS
from vae_jax.runs.examples import other_examples
from vae_jax.runs.run import Run


class Keys(NamedTuple):
    """Keys, each for one purpose."""

    binarise: jax.Array
    weights: jax.Array
    tune: jax.Array
    test: jax.Array
    train: jax.Array
    simulate: jax.Array
    forward: jax.Array
    reverse: jax.Array
    best: jax.Array
    surgery: jax.Array
    curve: jax.Array
    outliers: jax.Array


@dataclasses.dataclass(frozen=True)
class Subject:
    """A run with the examples that it is evaluated on."""

    run: Run
    budget: Budget
    keys: Keys
    x: Batch  # N test examples
    outside: Batch | None  # N examples of another data set
    latents: Latents
    examples_at_once: int  # number of examples whose chains run together

    @classmethod
    def of(cls, run: Run, budget: Budget) -> "Subject":
        """The subject of a run with its data.

        Raises:
          BadInputError: the chains of one example do not fit into memory, or the examples of the
            other data set are not of the run's kind.
        """
        keys = Keys(*jax.random.split(jax.random.key(budget.seed), len(Keys._fields)))
        x = images_of(run, "test", keys.binarise, budget.num_examples)
        latents = latents_of(run)
        at_once = memory.examples_at_once(
            run.vae, x[0], budget.num_examples, budget.chains, latents.start
        )
        outside = None
        if budget.outliers is not None:
            other = data.load(budget.outliers, data_dir=run.config.data_dir)
            outside = other_examples(other, run.loaded_examples, run.config)
            outside = jax.tree.map(jnp.asarray, outside[: budget.num_examples])
        return cls(run, budget, keys, x, outside, latents, at_once)

    @property
    def with_quadrature(self) -> bool:
        """Whether log p(x) is computed by quadrature, too."""
        wanted = self.budget.quadrature
        return self.latents.num_latents <= 2 if wanted is None else wanted

    def images(self, split: str, number: int) -> Batch:
        """The first examples of a split, as the model takes them."""
        return images_of(self.run, split, self.keys.binarise, number)


def images_of(run: Run, split: str, key: jax.Array, number: int) -> Batch:
    """The first images of a split, as the model takes them.

    Only training images depend on the key; the others are binarised once.
    """
    examples = run.loaded_examples
    binarise = examples.train_binarise if split == "train" else examples.test_binarise
    stored = jax.tree.map(jnp.asarray, getattr(examples, split)[:number])
    keys = jax.random.split(key, len(stored))
    return Batch(jax.jit(jax.vmap(binarise))(keys, stored.x), stored.c)


def require_evaluable(run: Run, budget: Budget) -> None:
    """Raises a BadInputError for a run that cannot be evaluated, or not as the budget asks."""
    config, path = run.config, run.folder.path
    latents = latents_of(run)
    if isinstance(latents.posterior, Coded):
        if budget.quadrature or budget.outliers is not None:
            raise BadInputError(
                f"The run in run={path} has codes, whose bound is all that an evaluation says of "
                "log p(x): quadrature and outliers are for continuous latents."
            )
        return
    if not latents.posterior.is_reparameterised:
        raise BadInputError(
            f"The latents of the run in run={path} are {type(latents.posterior).__name__}, which "
            "annealing cannot move: train with more nll_samples, or for a few latents use "
            "vae_jax.evidence.enumeration."
        )
    if latents.is_hierarchy and POSTERIORS[config.posterior].is_flow:
        raise BadInputError(
            f"The run in run={path} has posterior={config.posterior} in the layers of a hierarchy, "
            "for which the best posterior is not known: an evaluation takes layers without flows."
        )
    if budget.quadrature and latents.num_latents > 2:
        raise BadInputError(
            "quadrature=true is for one or two latent variables, and this run has "
            f"{latents.num_latents}: annealing gives an interval instead."
        )
    if LIKELIHOODS[config.likelihood].measure == "neither":
        raise BadInputError(
            f"The run in run={path} has likelihood={config.likelihood}, which is no "
            "likelihood, so that there is no log p(x): train one on black and white images."
        )
