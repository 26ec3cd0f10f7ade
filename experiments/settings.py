"""The settings of a training run: its flags, the names they take, and what a run folder fixes."""

import os
from collections.abc import Mapping
from types import MappingProxyType

from absl import flags

from experiments import hosts, objectives
from experiments.run_folder import RunFolder
from vae_jax import data, training
from vae_jax.errors import BadInputError
from vae_jax.models import Model, ModelSpec, spec

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(objectives)

# What a step does with pixels, and what evaluation does; 'dynamic' and 'static' are evaluated on
# images that were drawn once, with the same seed for every run.
BINARISATIONS = {
    "dynamic": (data.dynamic, data.grey),
    "static": (data.grey, data.grey),
    "threshold": (data.threshold, data.threshold),
    "none": (data.grey, data.grey),
}
flags.DEFINE_string(
    "dataset",
    "auto",
    "What to train on: mnist, fashion_mnist, kmnist, tfds:NAME for another image data set of "
    "TensorFlow Datasets, mnist_5k for 5,000 MNIST digits that need no download, shapes for drawn "
    "shapes of known factors, a file PATH.npz with x_train [N, height, width] and perhaps x_test, "
    "a folder FOLDER/ with files train-*.npy [N, height, width] and perhaps test-*.npy, or auto: "
    "mnist if it can be had, else mnist_5k.",
)
flags.DEFINE_string(
    "data_dir",
    None,
    "Where TensorFlow Datasets keeps its data. Default: TFDS_DATA_DIR, or ~/tensorflow_datasets.",
)
flags.DEFINE_enum(
    "binarisation",
    "dynamic",
    list(BINARISATIONS),
    "How grey pixels become black or white. dynamic: drawn anew at every use, white with "
    "probability equal to the intensity; static: so drawn once; threshold: white from 1/2 on; "
    "none: left grey. Results compare only within one kind.",
)
flags.DEFINE_integer(
    "num_validation",
    None,
    "How many training images to set aside for validation. Default: one in twelve.",
    lower_bound=1,
)
flags.DEFINE_integer("split_seed", 0, "Seed of the choice of validation images.", lower_bound=0)
flags.DEFINE_boolean(
    "stream",
    False,
    "Read training images from their files while training, in blocks, for data larger than memory: "
    "no number changes. Several processes always do.",
)
flags.DEFINE_string("workdir", "runs/mnist", "The run folder, for everything that is written.")
flags.DEFINE_integer("seed", 0, "Seed of initial parameters and all noise.", 0, 2**32 - 1)
flags.DEFINE_integer("epochs", 50, "How often to go through the training images.", lower_bound=1)
flags.DEFINE_integer("batch_size", 200, "Images in a training step.", lower_bound=1)
flags.DEFINE_float("learning_rate", 2e-3, "Highest learning rate of Adam.")
flags.DEFINE_integer(
    "warmup_steps",
    100,
    "Steps in which the learning rate rises to its highest value, before it falls to zero as a "
    "cosine; at most half of all steps.",
    lower_bound=0,
)
flags.DEFINE_float(
    "weight_decay", 0.0, "What of itself a parameter loses in a step, times the learning rate."
)
flags.DEFINE_float("clip_norm", 200.0, "Longer gradients are scaled to this norm.")
flags.DEFINE_enum(
    "network", "gated_mlp", list(spec.NETWORKS), "Kind of network of encoder and decoder."
)
flags.DEFINE_list(
    "hidden", ["300", "300"], "Widths of the encoder's hidden layers; the decoder mirrors them."
)
flags.DEFINE_enum(
    "activation",
    None,
    list(spec.ACTIVATIONS),
    "Between layers. Default: relu for mlp, none beside the gates of gated_mlp.",
)
flags.DEFINE_integer("latent_dim", 40, "Number of latent variables.", lower_bound=1)
flags.DEFINE_enum(
    "latents",
    "normal",
    list(spec.LATENTS),
    "Kind of latent variables. bernoulli and categorical are trained with --estimator=vimco or "
    "concrete.",
)
flags.DEFINE_integer(
    "num_categories", 10, "Values of each latent of --latents=categorical.", lower_bound=2
)
flags.DEFINE_enum(
    "likelihood",
    "bernoulli",
    list(spec.LIKELIHOODS),
    "Distribution of pixels given latents. bernoulli: for black and white; gaussian: for grey "
    "(--binarisation=none), with --likelihood_std; gaussian_learned: for grey, with one learned "
    "standard deviation; "
    "bernoulli_unnormalised: the Bernoulli formula on grey pixels, which is no likelihood.",
)
flags.DEFINE_float(
    "likelihood_std",
    0.1,
    "Standard deviation of --likelihood=gaussian, for intensities in [0, 1].",
)
flags.DEFINE_float(
    "ema_decay",
    0.999,
    "Decay per step of the moving average of the parameters, which is what is evaluated; 0 for "
    "none.",
)
flags.DEFINE_integer(
    "nll_samples",
    1000,
    "Samples per test image for its negative log-likelihood (NLL); more is tighter and slower.",
    lower_bound=1,
)
flags.DEFINE_integer("checkpoint_every", 1, "Epochs from checkpoint to checkpoint.", lower_bound=1)


flags.register_validator(
    "hidden",
    lambda widths: all(width.isdecimal() and int(width) > 0 for width in widths),
    "widths are positive whole numbers with commas between them, such as 300,300",
)
for _name in ("learning_rate", "clip_norm", "likelihood_std"):
    flags.register_validator(_name, lambda value: 0 < value < float("inf"), "must be positive")
flags.register_validator(
    "weight_decay", lambda value: 0 <= value < float("inf"), "must not be negative"
)
flags.register_multi_flags_validator(
    ["likelihood", "binarisation"],
    lambda given: given["binarisation"] == "none" or "gaussian" not in given["likelihood"],
    "a gaussian likelihood is a density, which has no bound on black and white pixels: leave them "
    "grey with --binarisation=none, or use --likelihood=bernoulli",
)
flags.register_validator("ema_decay", lambda value: 0 <= value < 1, "must be in [0, 1)")

# Flags that change no number of a run, and so may differ when it is resumed.
_FREE_FLAGS = {"data_dir", "checkpoint_every", "stream"}


# What a sweep varies: numbers in the state of a run, and what needs a program of its own.
NUMBERS = ["learning_rate", "weight_decay", "clip_norm", "ema_decay", *objectives.NUMBERS]
SHAPES = [
    *objectives.SHAPES,
    *("latent_dim", "hidden", "network", "activation", "latents", "num_categories"),
    *("batch_size", "epochs", "warmup_steps"),
]


def numbers() -> dict[str, float]:
    """The numbers that a training step takes from its state, once the flags are settled."""
    own = {name: FLAGS[name].value for name in NUMBERS if name not in objectives.NUMBERS}
    return {**own, **objectives.numbers()}


def model_spec(event_shape: tuple[int, ...]) -> ModelSpec:
    """The model that the flags ask for."""
    return ModelSpec(
        event_shape=event_shape,
        latent_dim=FLAGS.latent_dim,
        network=FLAGS.network,
        hidden=tuple(int(width) for width in FLAGS.hidden),
        activation=FLAGS.activation,
        likelihood=FLAGS.likelihood,
        likelihood_std=FLAGS.likelihood_std,
        latents=FLAGS.latents,
        num_categories=FLAGS.num_categories,
    )


def make_trainer(model: Model, num_examples: int, binarise: data.Binarise) -> training.Trainer:
    """The training that the flags ask for, its `numbers` in the state."""
    steps_per_epoch = num_examples // FLAGS.batch_size
    num_steps = FLAGS.epochs * steps_per_epoch

    def recipe(numbers):
        return training.Recipe(
            objective=objectives.make_objective(num_examples, steps_per_epoch, numbers),
            optimiser=training.adam(
                numbers["learning_rate"],
                num_steps,
                warmup_steps=training.warmup_length(FLAGS.warmup_steps, num_steps),
                weight_decay=numbers["weight_decay"],
            ),
            clip_norm=numbers["clip_norm"],
            average_decay=numbers["ema_decay"],
        )

    return training.make_swept_trainer(
        model, recipe, num_samples=FLAGS.num_samples, binarise=binarise
    )


def flag_names() -> list[str]:
    """The flags of a run, of its objective among them."""
    by_module = FLAGS.flags_by_module_dict()
    return [flag.name for name in (__name__, objectives.__name__) for flag in by_module[name]]


def as_text() -> dict[str, str]:
    """The flags of a run, but for the name of its folder, name -> text as on a command line."""
    given = [FLAGS[name] for name in flag_names() if name != "workdir"]
    given = [flag for flag in given if flag.value is not None]
    return {
        flag.name: str(flag.value).lower() if flag.boolean else flag.serialize().partition("=")[2]
        for flag in given
    }


def settle(folder: RunFolder, more: Mapping[str, str] = MappingProxyType({})) -> None:
    """Settles what the flags leave open, and checks that they are those of the run in the folder.

    A file or folder of images becomes its absolute path, and --dataset=auto what the run in the
    folder once chose.

    Args:
      folder: of the run.
      more: flags that are recorded there beside those of `as_text`, name -> text.

    Raises:
      BadInputError: flags do not go together, or the folder holds a run with other flags; the
        message names how they differ.
    """
    if data.shards.is_folder(FLAGS.dataset):
        # With the / it stays a folder's name where the folder is gone.
        FLAGS.dataset = os.path.join(os.path.abspath(os.path.expanduser(FLAGS.dataset)), "")
    elif FLAGS.dataset.endswith(".npz"):
        FLAGS.dataset = os.path.abspath(os.path.expanduser(FLAGS.dataset))
    if FLAGS.data_dir is not None and "://" not in FLAGS.data_dir:
        FLAGS.data_dir = os.path.abspath(os.path.expanduser(FLAGS.data_dir))
    recorded = folder.recorded_flags()
    if recorded is None:
        return
    if FLAGS.dataset == "auto":
        FLAGS.dataset = recorded.get("dataset", "auto")
    # Paths of other hosts may be others.
    hosts.on_first(lambda: _require_recorded(folder, recorded, {**as_text(), **more}))


def _require_recorded(
    folder: RunFolder, recorded: Mapping[str, str], given: Mapping[str, str]
) -> None:
    differences = [
        f"--{name}={recorded.get(name, 'default')} there, {given.get(name, 'default')} here"
        for name in sorted((recorded.keys() | given.keys()) - _FREE_FLAGS)
        if recorded.get(name) != given.get(name)
    ]
    if differences:
        raise BadInputError(
            f"--workdir={folder.path} holds a run with other flags ({'; '.join(differences)}): "
            "give it those flags to go on with it, name another folder, or delete it."
        )
