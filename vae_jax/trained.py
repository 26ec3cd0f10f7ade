"""A trained VAE, loaded from a run folder, with methods to sample, encode and decode."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from vae_jax import processes
from vae_jax.distributions import Distribution, point_of, without_parameters
from vae_jax.errors import BadInputError
from vae_jax.models import Model, ModelSpec, Params, given, require_examples
from vae_jax.models.batch import Batch
from vae_jax.models.checks import accepted, given_first, parts, require_shape_of_batch
from vae_jax.training import checkpoint
from vae_jax.training.checkpoint import CheckpointError


class TrainedVAE(NamedTuple):
    """A model with its trained parameters.

    The methods of a conditional model p(x|c) need the conditions c of all N examples, a pytree of
    arrays [N, ...]. Without them, and with conditions for a model that has none, they raise a
    BadInputError.
    """

    model: Model
    params: Params
    metadata: dict[str, Any]  # what training has stored beside the parameters

    def sample(self, key: jax.Array, num_samples: int, c: Any = None) -> jax.Array:
        """Generates: z ~ p(z), then the mean of p(x|z). Returns [num_samples, *event]."""
        return self.decode(self.sample_prior(key, num_samples, c), c)

    def sample_prior(self, key: jax.Array, num_samples: int, c: Any = None) -> Any:
        """Samples z ~ p(z), [num_samples, *latent]."""
        return _sample_prior(self.model, self.params, jax.random.split(key, num_samples), c)

    def encode(self, x: Any, c: Any = None) -> Distribution:
        """The posteriors q(z|x) of x [N, *event], stacked over N.

        Where the posteriors are annealed, these are the distributions where the chains start; and
        in a hierarchy those of each layer given the means of the layers drawn before it.

        Raises:
          TypeError: x has integers, which are stored pixels: binarise or scale them first.
          BadInputError: x does not have the shape [N, *event], or its values are outside the
            support of the likelihood. Inside a function that is jitted only the shape is checked.
        """
        batch = x if isinstance(x, Batch) else Batch(x, c)
        require_examples(self.model, self.params, batch)
        return _encode(self.model, self.params, batch)

    def decode(self, z: Any, c: Any = None) -> jax.Array:
        """The means of p(x|z) of z [N, *latent], or a pytree of arrays. Returns [N, *event].

        Where pixels depend on those before them, it is a sample that a fixed key draws.

        Raises:
          BadInputError: z does not have the shape [N, *latent].
        """
        wanted = accepted(given_first(self.model, Batch(z, c)), self.params)
        for name, part, of in parts(z, wanted.z, "z", "a latent code of this model"):
            require_shape_of_batch(name, "latent code", part, of.shape)
        return _decode(self.model, self.params, z, c)

    def reconstruct(self, key: jax.Array, x: Any, c: Any = None) -> jax.Array:
        """z ~ q(z|x), then the mean of p(x|z), for x [N, *event]. Returns [N, *event].

        Raises:
          TypeError, BadInputError: the same as for `encode`.
        """
        batch = x if isinstance(x, Batch) else Batch(x, c)
        require_examples(self.model, self.params, batch)
        keys = jax.random.split(key, len(batch))
        return self.decode(_sample_posteriors(self.model, self.params, batch, keys), batch.c)


def load(
    run: str | Path,
    *,
    model: Model | None = None,
    which: Literal["last", "best"] | None = None,
    report: Callable[[str], None] = lambda message: None,
) -> TrainedVAE:
    """Loads the averaged parameters of a run from its checkpoints.

    If there are several processes, all of them must call it; the first one reads the files.

    Args:
      run: folder of the run.
      model: model of the run, if it was trained with the user's own model; None otherwise.
      which: "last" for the parameters after the last saved epoch, "best" for those of the epoch
        that was the best in validation; None for the choice of the run's `keep`.
      report: function that receives one sentence if the newest checkpoint is damaged and an older
        one is used.

    Raises:
      CheckpointError: the folder holds no checkpoint that can be used.
      BadInputError: the run was trained with the user's own model, and none is given.
    """
    folder = Path(os.path.expanduser(run)) / "checkpoints"
    read: list[Any] = []  # in the first process, the parameters

    def template(metadata):
        return {"average_params": _shapes(model or _built(metadata, folder), metadata)}

    def on_first():
        state, metadata = _restored(folder, template, which, report)
        read.append(state["average_params"])
        return metadata

    metadata = processes.on_first(on_first)
    built = model or _built(metadata, folder)
    if not read:
        shapes = _shapes(built, metadata)
        read.append(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes))
    return TrainedVAE(built, processes.of_first(read[0]), metadata)


def _restored(
    folder: Path,
    template: Callable[[dict[str, Any]], Any],
    which: Literal["last", "best"] | None,
    report: Callable[[str], None],
) -> tuple[Any, dict[str, Any]]:
    """The part of the tree that a checkpoint holds, and its metadata. Arguments as in `load`."""
    best = checkpoint.restore_best(folder, template) if which != "last" else None
    if which is None and best is not None and best[1].get("config", {}).get("keep") != "best":
        best = None
    restored = best or checkpoint.restore(folder, template, report=report)
    if which == "best" and best is None:
        raise CheckpointError(
            f"There are no parameters of the best epoch in {folder}: keep=best must be asked for "
            "before training."
        )
    if restored is None:
        raise CheckpointError(f"There is no checkpoint in {folder}.")
    return restored


def _shapes(model: Model, metadata: dict[str, Any]) -> Params:
    """The parameters of a model, as shapes."""
    x = jax.ShapeDtypeStruct(event_shape_of(metadata), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), x)


def event_shape_of(metadata: dict[str, Any]) -> tuple[int, ...]:
    """The shape of one example, from the metadata of a checkpoint."""
    return tuple(metadata.get("event_shape") or metadata["model"]["event_shape"])


def _built(metadata: dict[str, Any], folder: Path) -> Model:
    if "model" in metadata and metadata["model"] is None:
        raise BadInputError(
            f"The run in {folder.parent} has a model of the user's own, which no file holds: give "
            "it as load(..., model=model)."
        )
    try:
        return ModelSpec(**metadata["model"]).build()
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"The checkpoints in {folder} are of another version of vae_jax ({error})."
        ) from error


@functools.partial(jax.jit, static_argnums=0)
@jax.default_matmul_precision("highest")
def _sample_prior(model: Model, params: Params, keys: jax.Array, c: Any) -> Any:
    def sample(key, c):
        return given(model, c).prior(params).sample(key)

    return jax.vmap(sample)(keys, c)


@functools.partial(jax.jit, static_argnums=0)
@jax.default_matmul_precision("highest")
def _encode(model: Model, params: Params, batch: Batch) -> Distribution:
    def of_one(one):
        return without_parameters(given(model, one.c).posterior(params, one.x))

    return jax.vmap(of_one)(batch)


@functools.partial(jax.jit, static_argnums=0)
@jax.default_matmul_precision("highest")
def _sample_posteriors(model: Model, params: Params, batch: Batch, keys: jax.Array) -> Any:
    def sample(one, key):
        return given(model, one.c).posterior(params, one.x).sample(key)

    return jax.vmap(sample)(batch, keys)


@functools.partial(jax.jit, static_argnums=0)
@jax.default_matmul_precision("highest")
def _decode(model: Model, params: Params, z: Any, c: Any) -> jax.Array:
    def mean(z, c):
        return point_of(given(model, c).likelihood(params, z))

    return jax.vmap(mean)(z, c)
