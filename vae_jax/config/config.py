"""The configuration of a run: the only source of what can be asked for, its defaults and ranges."""

import dataclasses
from typing import Any

from vae_jax.config.option import check_all, configuration, option
from vae_jax.errors import BadInputError
from vae_jax.models import spec
from vae_jax.objectives import by_name

BINARISATIONS = ("dynamic", "static", "threshold", "none")
_RISING = ", ".join(f"{c.annealed} of {n}" for n, c in by_name.OBJECTIVES.items() if c.annealed)


def _of_objectives(name: str, meaning: str, kind: str | None = "number", **known: Any) -> Any:
    """An option of some objectives, whose help text names them with their defaults."""
    users = ", ".join(
        user + ("" if default is None else f" ({default})")
        for user, default in by_name.users_of(name).items()
    )
    return option(None, f"For {users}: {meaning}.", group="objective", swept=kind, **known)


@configuration
class Config:
    """What is trained on what, how, and how it is evaluated.

    Fields that are None have a default that depends on others; `settled` fills them in. `OPTIONS`
    has the help text and the range of each.

    Raises:
      BadInputError: a field is unknown, of another type or out of its range, or fields contradict
        each other; the message names what is allowed.
    """

    dataset: str = option(
        "auto",
        "What to train on: mnist, fashion_mnist, kmnist, tfds:NAME for another image data set of "
        "TensorFlow Datasets, mnist_5k for 5,000 MNIST digits that need no download, shapes for "
        "drawn shapes of known factors, a file PATH.npz with x_train [N, height, width] and "
        "perhaps x_test, a folder FOLDER/ with files train-*.npy [N, height, width] and perhaps "
        "test-*.npy, or auto: mnist if it can be had, else mnist_5k.",
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
    binarisation: str = option(
        "dynamic",
        "How grey pixels become black or white. dynamic: drawn anew at every use, white with "
        "probability equal to the intensity; static: so drawn once; threshold: white from 1/2 on; "
        "none: left grey. Results compare only within one kind.",
        group="data",
        choices=BINARISATIONS,
        first=True,
    )
    num_validation: int | None = option(
        None,
        "Number of training images to set aside for validation. Default: one in twelve.",
        group="data",
        low=1,
    )
    split_seed: int = option(0, "Seed of the choice of validation images.", group="data", low=0)
    stream: bool = option(
        False,
        "Read training images from their files while training, in blocks, for data larger than "
        "memory: no number changes. Several processes always do.",
        group="data",
        changes_numbers=False,
    )

    latent_dim: int = option(
        40, "Number of latent variables.", group="model", low=1, swept="shape", first=True
    )
    latents: str = option(
        "normal",
        "Kind of latent variables. bernoulli and categorical are trained with the estimators vimco "
        "and concrete.",
        group="model",
        choices=tuple(spec.LATENTS),
        swept="shape",
    )
    num_categories: int = option(
        10, "Values of each categorical latent.", group="model", low=2, swept="shape"
    )
    network: str = option(
        "gated_mlp",
        "Kind of network of encoder and decoder.",
        group="model",
        choices=tuple(spec.NETWORKS),
        swept="shape",
        first=True,
    )
    hidden: tuple[int, ...] = option(
        (300, 300),
        "Widths of the encoder's hidden layers; the decoder mirrors them.",
        group="model",
        swept="shape",
        first=True,
    )
    activation: str | None = option(
        None,
        "Function between layers. Default: relu for mlp, none beside the gates of gated_mlp.",
        group="model",
        choices=tuple(spec.ACTIVATIONS),
        swept="shape",
    )
    likelihood: str = option(
        "bernoulli",
        "Distribution of pixels given latents. bernoulli: for black and white; gaussian: for grey "
        "pixels (binarisation=none), with likelihood_std; gaussian_learned: for grey pixels, with "
        "one learned standard deviation; bernoulli_unnormalised: the Bernoulli formula on grey "
        "pixels, which is no likelihood.",
        group="model",
        choices=tuple(spec.LIKELIHOODS),
        first=True,
    )
    likelihood_std: float = option(
        0.1,
        "Standard deviation of the gaussian likelihood, for intensities in [0, 1].",
        group="model",
        above=0,
    )

    objective: str = option(
        "elbo",
        "What to train for; docs/objectives.md has the equations. Its options are refused for "
        "others.",
        group="objective",
        choices=tuple(by_name.OBJECTIVES),
        swept="shape",
        first=True,
    )
    estimator: str = option(
        "pathwise",
        "How the gradient is estimated. pathwise: through samples; stl, dreg: pathwise without the "
        "score; score_function, vimco: for any latents; concrete: for discrete ones, relaxed.",
        group="objective",
        choices=tuple(by_name.ESTIMATORS),
        swept="shape",
    )
    num_samples: int | None = option(
        None,
        "Posterior samples per image in training. Default: 1, or 8 for bounds of several samples "
        "and for vimco.",
        group="objective",
        low=1,
        swept="shape",
    )
    alpha: float | None = _of_objectives(
        "alpha", "order of the Renyi bound; 1 is the ELBO, 0 IWAE, -inf the largest weight"
    )
    beta: float | None = _of_objectives(
        "beta", "weight of the KL term, of the ELBO in ciwae, or of the total correlation"
    )
    gamma: float | None = _of_objectives(
        "gamma", "weight of the distance to target_kl, or of the total correlation"
    )
    target_kl: float | None = _of_objectives("target_kl", "nats that the KL term is held at")
    free_nats: float | None = _of_objectives(
        "free_nats", "nats of each group below which its KL term is free"
    )
    target_reconstruction: float | None = _of_objectives(
        "target_reconstruction", "least log p(x|z) in nats"
    )
    off_diagonal: float | None = _of_objectives(
        "off_diagonal", "weight of the covariances of latents"
    )
    diagonal: float | None = _of_objectives(
        "diagonal", "weight of the distance of their variances from 1"
    )
    mmd_weight: float | None = _of_objectives(
        "mmd_weight", "weight of the squared maximum mean discrepancy"
    )
    kl_weight: float | None = _of_objectives("kl_weight", "weight of the KL term")
    num_groups: int | None = _of_objectives(
        "num_groups", "groups of samples; for free_bits of latents, one each if not given", "shape"
    )
    num_intervals: int | None = _of_objectives(
        "num_intervals", "intervals of the integral over inverse temperatures", "shape"
    )
    stratified: bool | None = _of_objectives(
        "stratified", "stratified instead of weighted minibatches", None
    )
    kernel: str | None = _of_objectives(
        "kernel", "kernel of the discrepancy", "shape", choices=tuple(by_name.KERNELS)
    )
    temperature: float | None = option(
        None,
        "For the estimator concrete (0.5): a lower temperature has less bias.",
        group="objective",
        swept="number",
    )
    anneal: str | None = option(
        None,
        f"How a coefficient rises from 0 to its value: {_RISING}. Default: linear for capacity, "
        "else none.",
        group="objective",
        choices=tuple(by_name.ANNEALING),
    )
    anneal_epochs: float | None = option(
        None,
        "Epochs until the coefficient has its value. Default: half of all; all for cyclical.",
        group="objective",
    )

    seed: int = option(
        0,
        "Seed of initial parameters and all noise.",
        group="optimisation",
        low=0,
        high=2**32 - 1,
        first=True,
    )
    epochs: int = option(
        50,
        "How often to go through the training images. A larger number extends a finished run, "
        "whose learning rate then follows the schedule of the new number.",
        group="optimisation",
        low=1,
        swept="shape",
        first=True,
    )
    batch_size: int = option(
        200,
        "Images in a training step.",
        group="optimisation",
        low=1,
        swept="shape",
        first=True,
    )
    learning_rate: float = option(
        2e-3,
        "Highest learning rate of Adam.",
        group="optimisation",
        above=0,
        swept="number",
        first=True,
    )
    warmup_steps: int = option(
        100,
        "Steps in which the learning rate rises to its highest value, before it falls to zero as a "
        "cosine; in short runs at most a part of all steps.",
        group="optimisation",
        low=0,
        swept="shape",
    )
    weight_decay: float = option(
        0.0,
        "Decay rate of the parameters, multiplied by the learning rate (AdamW).",
        group="optimisation",
        low=0,
        swept="number",
    )
    clip_norm: float = option(
        200.0,
        "Largest norm of a gradient; longer ones are scaled to it.",
        group="optimisation",
        above=0,
        swept="number",
    )
    ema_decay: float = option(
        0.999,
        "Decay per step of the moving average of the parameters, which is what is evaluated; 0 for "
        "none.",
        group="optimisation",
        low=0,
        below=1,
        swept="number",
    )
    patience: int | None = option(
        None,
        "Epochs without a better validation ELBO after which training ends. Default: it never ends "
        "early.",
        group="optimisation",
        low=1,
    )
    checkpoint_every: int = option(
        1,
        "Epochs from checkpoint to checkpoint.",
        group="optimisation",
        low=1,
        changes_numbers=False,
    )

    keep: str = option(
        "last",
        "Which parameters are evaluated and loaded: those after the last epoch, or those of the "
        "epoch with the best validation ELBO.",
        group="evaluation",
        choices=("last", "best"),
    )
    nll_samples: int = option(
        1000,
        "Samples per test image for its negative log-likelihood (NLL); more is tighter and slower. "
        "Another number evaluates a finished run again.",
        group="evaluation",
        low=1,
    )

    def __post_init__(self):
        check_all(self)
        _check_together(self)

    @property
    def choice(self) -> by_name.Choice:
        """What is known of the objective."""
        return by_name.OBJECTIVES[self.objective]

    def settled(self) -> "Config":
        """The same configuration with the defaults that depend on other fields filled in.

        Two configurations that ask for the same are equal once they are settled.
        """
        choice, filled = self.choice, {}
        for name, default in choice.options.items():
            if getattr(self, name) is None:
                filled[name] = default
        if self.estimator == "concrete" and self.temperature is None:
            filled["temperature"] = by_name.DEFAULT_TEMPERATURE
        if self.num_samples is None:
            several = self.estimator == "vimco"
            filled["num_samples"] = by_name.SEVERAL if several else choice.num_samples
        if choice.annealed is not None:
            annealing = filled["anneal"] = self.anneal or choice.annealing
            if annealing != "none" and self.anneal_epochs is None:
                filled["anneal_epochs"] = self.epochs / (1 if annealing == "cyclical" else 2)
        return dataclasses.replace(self, **filled)


def _check_together(config: Config) -> None:
    """Raises a BadInputError for fields that contradict each other."""
    choice = config.choice
    for name in by_name.OPTIONS:
        value = getattr(config, name)
        if value is not None and name not in choice.options:
            raise BadInputError(
                f"{name}={config.OPTIONS[name].write(value)} is not for "
                f"objective={config.objective} but for {', '.join(by_name.users_of(name))}."
            )
    if problem := by_name.conflict(
        config.objective,
        config.estimator,
        discrete_latents=config.latents != "normal",
        alpha=config.alpha,
    ):
        raise BadInputError(problem)
    if config.temperature is not None and config.estimator != "concrete":
        raise BadInputError(
            f"temperature={config.temperature} is for estimator=concrete, not for "
            f"estimator={config.estimator}."
        )
    if "gaussian" in config.likelihood and config.binarisation != "none":
        raise BadInputError(
            f"likelihood={config.likelihood} is a density, which has no bound on black and white "
            "pixels: leave them grey with binarisation=none, or use likelihood=bernoulli."
        )
    _check_annealing(config, choice)


def _check_annealing(config: Config, choice: by_name.Choice) -> None:
    given = [name for name in ("anneal", "anneal_epochs") if getattr(config, name) is not None]
    if choice.annealed is None and given:
        users = [name for name, c in by_name.OBJECTIVES.items() if c.annealed]
        raise BadInputError(
            f"{given[0]}={getattr(config, given[0])} is not for objective={config.objective} but "
            f"for {', '.join(users)}; to anneal the KL term of the ELBO use objective=beta with "
            "beta=1."
        )
    if choice.annealed is None or config.anneal_epochs is None:
        return
    if (config.anneal or choice.annealing) == "none":
        raise BadInputError(
            f"anneal_epochs={config.anneal_epochs} needs anneal=linear, sigmoid or cyclical."
        )
    if not 0 < config.anneal_epochs <= config.epochs:
        raise BadInputError(
            f"anneal_epochs={config.anneal_epochs} must be above 0 and at most "
            f"epochs={config.epochs}."
        )
