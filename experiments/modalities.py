"""Trains a VAE of images and their labels as two modalities, and says what each tells of the other.

python -m experiments.modalities --flagfile=experiments/configs/jmvae.cfg
python -m experiments.modalities --joining=product --subset_rate=0.5 --seed=1

An example is an image and its label, one-hot, either of which may be missing (models.multimodal).
The joining is that of q(z|image, label): a product of experts (MVAE), a mixture (MMVAE), a mixture
of products (MoPoE), or a joint encoder (JMVAE). With --subset_rate that share of the examples of a
step lose one of their two modalities at random, so that q of one alone is trained, too.

It prints log p(image, label), log p(image|label) and log p(label|image) of the test examples, by
importance sampling; how often the label that p(label|z) gives at the mean of q(z|image) is right;
and how often a classifier of the data, a multi-layer perceptron of scikit-learn, finds the label in
images that are generated from it, and finds the generated label in generated pairs (coherence). It
writes modalities.json and generated.png to --output.
"""

import functools
import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax import data, evidence, figures, objectives, training
from vae_jax.commands import command, flags
from vae_jax.distributions import Observed, modalities
from vae_jax.errors import BadInputError
from vae_jax.models import JOININGS, Batch, Modality, heads, multimodal
from vae_jax.networks import gated_mlp, mlp
from vae_jax.runs.files import output_folder, write_json
from vae_jax.runs.stop import StopSignal

_SHOWN = 10  # generated images of each class


class Pairs(NamedTuple):
    """Stored images [N, H, W, C] and their labels, one-hot [N, classes]."""

    image: np.ndarray
    label: np.ndarray


def define_flags() -> None:
    """Defines the flags of the command."""
    number = functools.partial(flags.define_one, first=True)
    number("dataset", str, "auto", "Images with labels, as of vae-jax train.", "data")
    number("data_dir", str, None, "Folder of TensorFlow Datasets.", "data")
    number("joining", str, "joint", "How q(z|image, label) joins them.", "model", choices=JOININGS)
    number("latent_dim", int, 64, "Number of latent variables.", "model", low=1)
    number("hidden", int, 512, "Width of the two hidden layers of each network.", "model", low=1)
    number("gated", bool, False, "Whether the layers are gated.", "model")
    number("alpha", float, 0.1, "Weight of the KL divergences of joining=joint.", "model", low=0)
    number("subset_rate", float, 0.0, "Share of examples that lose a modality.", "training", low=0)
    number("epochs", int, 100, "Epochs.", "training", low=1)
    number("batch_size", int, 200, "Examples of a step.", "training", low=1)
    number("learning_rate", float, 1e-3, "Highest learning rate of Adam.", "training", above=0)
    number("weight_decay", float, 0.0, "Decay rate of the parameters (AdamW).", "training", low=0)
    number("seed", int, 0, "Seed of everything.", "training", low=0)
    number("num_samples", int, 1000, "Samples of importance sampling.", "evaluation", low=1)
    number("output", str, None, "Folder of what is written.", "evaluation")


def main(stop: StopSignal) -> None:
    """Runs the command."""
    dataset = data.load(
        flags.value_of("dataset"), data_dir=flags.value_of("data_dir"), report=print
    )
    splits = (dataset.train, dataset.test)
    if dataset.kind not in ("8-bit", "intensities", "binary") or any(
        split.labels is None or split.labels.ndim != 1 or split.labels.min() < 0 for split in splits
    ):
        raise BadInputError(f"{dataset.name} must be images with a label each.")
    if not 0.0 <= flags.value_of("subset_rate") < 1.0:
        raise BadInputError(f"subset_rate={flags.value_of('subset_rate')} must be below 1.")
    output = flags.value_of("output")
    folder = None if output is None else output_folder(output)
    command.use_compile_cache()
    number = int(max(split.labels.max() for split in splits)) + 1  # type: ignore[union-attr]
    train, test = (pairs_of(split, number) for split in splits)
    shapes = {"image": train.image.shape[1:], "label": (number,)}
    width = flags.value_of("hidden")
    network = (gated_mlp if flags.value_of("gated") else mlp)((width, width))
    model = multimodal(
        {
            "image": Modality(shapes["image"], heads.bernoulli(), network, network),
            "label": Modality(shapes["label"], heads.categorical(), mlp((width,)), mlp((width,))),
        },
        flags.value_of("latent_dim"),
        joining=flags.value_of("joining"),
        joint_encoder=network,
    )
    params = trained(model, train, stop)
    found, drawn = measured(model, params, train, test, shapes)
    print("\n".join(f"{name:34} {value:10.4f}" for name, value in found.items()))
    if folder is not None:
        config = {name: flags.value_of(name) for name in ("joining", "alpha", "epochs", "seed")}
        write_json(folder / "modalities.json", config | {"dataset": dataset.name} | found)
        rows = {f"label {label}": images for label, images in enumerate(drawn)}
        figures.save(figures.labelled_rows(rows), folder / "generated.png")


def pairs_of(split: data.Split, number: int) -> Pairs:
    """The images and one-hot labels of a split."""
    labels: Any = split.labels
    return Pairs(np.asarray(split.x[:]), np.eye(number, dtype=np.float32)[labels])


def trained(model: Any, train: Pairs, stop: StopSignal) -> Any:
    """The averaged parameters after training."""
    rate, batch_size = flags.value_of("subset_rate"), flags.value_of("batch_size")

    def binarise(key, stored):
        image_key, subset_key = jax.random.split(key)
        draws = jax.random.uniform(subset_key, (len(stored.label),))
        # Below rate / 2 without the image, and up to rate without the label.
        without = {"image": draws < 0.5 * rate, "label": (draws >= 0.5 * rate) & (draws < rate)}
        values = {"image": data.dynamic(image_key, stored.image), "label": stored.label}
        return {
            name: Observed(values[name], 1.0 - without[name].astype(jnp.float32)) for name in values
        }

    objective = objectives.closed_form_elbo()
    if flags.value_of("joining") == "joint":
        objective = objectives.jmvae(flags.value_of("alpha"))
    num_steps = flags.value_of("epochs") * (len(train.image) // batch_size)
    optimiser = training.adam(
        flags.value_of("learning_rate"), num_steps, weight_decay=flags.value_of("weight_decay")
    )
    trainer = training.make_trainer(model, objective, optimiser, clip_norm=200.0, binarise=binarise)
    mean = {
        "image": Observed(jnp.asarray(data.mean_example(train.image)), jnp.ones(())),
        "label": Observed(jnp.asarray(train.label.mean(axis=0)), jnp.ones(())),
    }
    state = jax.jit(trainer.init)(jax.random.key(flags.value_of("seed")), Batch(mean))
    epoch = training.make_epoch(trainer, batch_size)
    stored = jax.tree.map(jnp.asarray, train)
    for number in range(1, flags.value_of("epochs") + 1):
        state, info = stop.wait_for(
            lambda state=state: jax.block_until_ready(epoch(state, Batch(stored))),
            until="this epoch is over",
        )
        if number in (1, flags.value_of("epochs")) or number % 10 == 0:
            print(f"Training: epoch {number}  ELBO {float(info.metrics['elbo']):.2f}", flush=True)
    return state.average_params


def measured(
    model: Any, params: Any, train: Pairs, test: Pairs, shapes: dict[str, Any]
) -> tuple[dict[str, float], list[np.ndarray]]:
    """Log-likelihoods in nats and coherence; and images of each label."""
    stored = data.draw_once(test.image, seed=2)
    image = np.float32(stored) / np.float32(255.0)
    labels = test.label.argmax(axis=1)
    estimate = evidence.make_importance_sampler(model, flags.value_of("num_samples"))
    key = jax.random.key(flags.value_of("seed"))

    def log_p(**given):
        x = modalities({"image": None, "label": None} | given, **shapes)
        return estimate(params, Batch(jax.tree.map(np.asarray, x)), key)

    both = log_p(image=image, label=test.label)
    of_image, of_label = log_p(image=image), log_p(label=test.label)
    x = modalities({"image": image, "label": None}, **shapes)

    @jax.jit
    def label_at_mean(x):
        def one(x):
            q = model.posterior(params, x)
            return model.likelihood(params, q.mean).mean["label"].argmax()

        return jax.vmap(one)(x)

    @jax.jit
    def generated(keys, label):
        one_hot = jnp.eye(shapes["label"][0])[label]
        empty = modalities({"image": None, "label": one_hot}, **shapes)

        def one(key):
            z = model.posterior(params, empty).sample(key)
            return model.likelihood(params, z).mean["image"]

        return jax.vmap(one)(keys)

    @jax.jit
    def pairs(keys):
        def one(key):
            mean = model.likelihood(params, model.prior(params).sample(key)).mean
            return mean["image"], mean["label"].argmax()

        return jax.vmap(one)(keys)

    classify = classifier(train)
    from_label = [
        np.asarray(generated(jax.random.split(jax.random.fold_in(key, label), 200), label))
        for label in range(shapes["label"][0])
    ]
    found = [(classify(images) == label).mean() for label, images in enumerate(from_label)]
    drawn, drawn_labels = pairs(jax.random.split(key, 2000))
    return {
        "log p(image, label)": both.log_evidence.mean(),
        "ELBO of (image, label)": both.elbo.mean(),
        "log p(image)": of_image.log_evidence.mean(),
        "log p(image|label)": (both.log_evidence - of_label.log_evidence).mean(),
        "log p(label|image)": (both.log_evidence - of_image.log_evidence).mean(),
        "label of an image is right": float((np.asarray(label_at_mean(x)) == labels).mean()),
        "classifier, test images": float((classify(image) == labels).mean()),
        "coherence, image of a label": float(np.mean(found)),
        "coherence, pairs from the prior": float(
            (classify(np.asarray(drawn)) == np.asarray(drawn_labels)).mean()
        ),
    }, [images[:_SHOWN] for images in from_label]


def classifier(train: Pairs) -> Any:
    """A classifier of images in [0, 1], trained on those of the data."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    scale = 255.0 if train.image.dtype == np.uint8 else 1.0
    x = train.image.reshape(len(train.image), -1) / scale
    fitted = MLPClassifier((256,), max_iter=8, batch_size=200, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # eight epochs are enough here
        fitted.fit(x, train.label.argmax(axis=1))
    return lambda images: fitted.predict(images.reshape(len(images), -1))


if __name__ == "__main__":
    define_flags()
    command.run(main, about=__doc__)
