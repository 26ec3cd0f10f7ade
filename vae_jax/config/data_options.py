"""Options of the data."""

import dataclasses

from vae_jax.config.option import option

BINARISATIONS = ("auto", "dynamic", "static", "threshold", "none")
HALVES = ("top", "bottom", "left", "right")
CONDITIONS = ("auto", "none", "labels", "partial_labels", *HALVES)
CLASS_WEIGHTS = ("equal", "balanced")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataOptions:
    """The data, their binarisation and their splits."""

    dataset: str = option(
        "auto",
        "What to train on: mnist, fashion_mnist, kmnist, cifar10, binarized_mnist, omniglot, "
        "tfds:NAME for another image data set of TensorFlow Datasets; mnist_5k for 5,000 MNIST "
        "digits that need no download; shapes for drawn shapes of known factors; digits, photos, "
        "breast_cancer, wine or diabetes, which scikit-learn ships; a file PATH.npz with x_train "
        "[N, ...] and perhaps x_test, PATH.npy, PATH.csv with a row for each example, or PATH.h5ad "
        "with counts of cells; a folder FOLDER/ with pictures, or with files train-*.npy [N, "
        "height, width] and perhaps test-*.npy; or auto: mnist if it can be had, else mnist_5k.",
        group="data",
        first=True,
    )
    data_dir: str | None = option(
        None,
        "Folder in which TensorFlow Datasets keeps its data. Default: TFDS_DATA_DIR, or "
        "~/tensorflow_datasets.",
        group="data",
        changes_numbers=False,
    )
    kind: str = option(
        "auto",
        "What the numbers of a file are: pixels, real or count, or mixed for a .csv file whose "
        "columns are of several types. auto: found from their shapes and values, and said.",
        group="data",
        choices=("auto", "pixels", "real", "count", "mixed"),
    )
    schema: str | None = option(
        None,
        "File with the types of the columns of a .csv file, a line for each under type,dim,nclass: "
        "real, pos (positive), count, cat (categorical), ordinal or binary. Default: found from "
        "the values, if there are columns of texts or kind=mixed, and said.",
        group="data",
    )
    missing: str | None = option(
        None,
        "Values that are hidden from the model: a rate such as 0.2, with which each is hidden at "
        "random, or for a .csv file a file with the row and the column of each, from 1. vae-jax "
        "impute compares its estimates with them. Default: only what is missing in the data.",
        group="data",
    )
    missing_seed: int = option(0, "Seed of the values that a rate hides.", group="data", low=0)
    image_size: tuple[int, ...] | None = option(
        None,
        "Height and width, or one number for both, to which the pictures of a folder are cropped "
        "and scaled. Default: all have one size.",
        group="data",
    )
    label_column: str | None = option(
        None,
        "Column of a .csv or .h5ad file that holds the labels. Default: there are none.",
        group="data",
    )
    covariates: str | None = option(
        None,
        "Columns of obs of an .h5ad file that are the condition, with commas, the batch first: "
        "categories one-hot, numbers standardised. Default: there are none.",
        group="data",
    )
    condition: str = option(
        "auto",
        "What a model of p(x|c) is given as c. auto: the condition that the data set has, if any; "
        "labels: the label, one-hot; partial_labels: the label, which is a latent variable where "
        "it is missing (-1), for objective=m2; top, bottom, left, right: that half of an image, "
        "whose other half is then x (inpainting); none: nothing.",
        group="data",
        choices=CONDITIONS,
    )
    num_labelled: int | None = option(
        None,
        "Training examples that keep their label with condition=partial_labels, about as many of "
        "each class, chosen by split_seed. Default: all that have one.",
        group="data",
        low=0,
    )
    labelled_share: float = option(
        0.1,
        "Share of labelled examples in a batch with condition=partial_labels: they are repeated "
        "if they are fewer, and their bound counts less in return.",
        group="data",
        above=0,
        below=1,
    )
    class_weights: str = option(
        "equal",
        "Weights of the classes in the classifier's term of objective=m2: equal, or balanced, "
        "which are inverse to the numbers of their labelled examples.",
        group="data",
        choices=CLASS_WEIGHTS,
    )
    binarisation: str = option(
        "auto",
        "How grey pixels become black or white. dynamic: drawn anew at every use, white with "
        "probability equal to the intensity; static: drawn once in that way; threshold: white from "
        "1/2 on; none: left as they are. auto: dynamic for grey images, unless the likelihood is "
        "not for black and white; else none. Results compare only within one kind.",
        group="data",
        choices=BINARISATIONS,
        first=True,
    )
    num_validation: int | None = option(
        None,
        "Number of training examples that are set aside for validation. Default: one in twelve.",
        group="data",
        low=1,
    )
    split_seed: int = option(0, "Seed of the choice of validation examples.", group="data", low=0)
    stream: bool = option(
        False,
        "Read training examples from their files while training, in blocks, for data larger than "
        "memory: no number changes. Several processes always do.",
        group="data",
        changes_numbers=False,
    )
