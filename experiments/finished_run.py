"""A finished run, loaded with its images, for what measures it."""

from collections.abc import Callable
from typing import NamedTuple

from absl import flags

from experiments import objectives, settings
from experiments.images import Images, fingerprints, load_images
from experiments.run_folder import RunFolder
from vae_jax import TrainedVAE, load
from vae_jax.errors import BadInputError

FLAGS = flags.FLAGS

_OF_THE_IMAGES = (  # the flags that `load_images` reads
    *("dataset", "data_dir", "num_validation", "split_seed", "binarisation"),
    *("batch_size", "likelihood", "stream"),
)


class FinishedRun(NamedTuple):
    """A trained VAE, with its averaged parameters, and the images that it was trained on."""

    folder: RunFolder
    vae: TrainedVAE
    images: Images


def load_run(path: str, require: Callable[[TrainedVAE], object] = lambda vae: None) -> FinishedRun:
    """Loads a finished run, and its images as its flags say.

    Args:
      path: the run folder.
      require: is given the trained VAE before the images are loaded, to refuse it.

    Raises:
      BadInputError: there is no finished run in this folder, it is of another version, or its
        images are others now.
      CheckpointError: it holds no checkpoint that can be used.
      DataError: its images cannot be had; --data_dir may say where they are now.
    """
    folder = RunFolder(path)
    recorded = folder.recorded_flags()
    if recorded is None:
        raise BadInputError(f"--run={path} holds no flags.cfg, as the folder of a run does.")
    if folder.summary() is None:
        raise BadInputError(
            f"The run in {path} is not finished: its own command goes on with it; or name another "
            "--run."
        )
    vae = load(folder.path, report=print)
    require(vae)
    try:
        for name in _OF_THE_IMAGES:
            if name in recorded and not FLAGS[name].present:
                FLAGS[name].parse(recorded[name])
        recorded_crcs = vae.metadata["data_crc32"]
    except (KeyError, flags.Error) as error:
        raise BadInputError(
            f"--run={path} is of another version of vae_jax ({error}): measure it with the version "
            "that trained it."
        ) from error
    images = load_images()
    if fingerprints(images) != recorded_crcs:
        raise BadInputError(
            f"{images.name} has other images than the run in {path} was trained on: --data_dir "
            "may say where those are."
        )
    return FinishedRun(folder, vae, images)


def require_examples(num_examples: int, images: Images, *splits: str) -> None:
    """Raises a BadInputError if a split has fewer images than --num_examples."""
    for split in splits:
        available = len(getattr(images, split))
        if num_examples > available:
            raise BadInputError(
                f"--num_examples={num_examples} is more than the {available} {split} images of "
                f"{images.name}."
            )


def refuse_flags_of_training(allowed: set[str]) -> None:
    """Raises a BadInputError for a flag of training that is not allowed: a run folder fixes it.

    Where --data_dir may say where the images of a --run are, --stream may say how they are read.
    """
    if "data_dir" in allowed:
        allowed = allowed | {"stream"}
    by_module = FLAGS.flags_by_module_dict()
    for flag in [*by_module[settings.__name__], *by_module[objectives.__name__]]:
        if flag.present and flag.name not in allowed:
            raise BadInputError(
                f"--{flag.name} is a flag of training and has no effect here: a --run is measured "
                "with the flags that it was trained with."
            )
