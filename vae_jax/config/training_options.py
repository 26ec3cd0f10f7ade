"""Options of the optimisation, and of the evaluation after it."""

import dataclasses

from vae_jax.config.option import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """The optimisation of the objective, and the evaluation of the result."""

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
        "How often to go through the training examples. A larger number extends a finished run, "
        "whose learning rate then follows the schedule of the new number.",
        group="optimisation",
        low=1,
        swept="shape",
        first=True,
    )
    batch_size: int = option(
        200,
        "Examples in a training step.",
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
    adam_eps: float = option(
        1e-8,
        "Number that Adam adds to the root of the average square of a gradient, below which steps "
        "are smaller. That of scVI is 0.01, which keeps a model of few cells from fitting noise.",
        group="optimisation",
        above=0,
        swept="shape",
    )
    clip_norm: float = option(
        200.0,
        "Largest norm of a gradient; longer ones are scaled to it.",
        group="optimisation",
        above=0,
        swept="number",
    )
    skip_norm: float | None = option(
        None,
        "Norm of a gradient beyond which its step is left out, against rare bad steps of very deep "
        "models; clip_norm is then usually smaller. Default: no step is left out.",
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
        "Epochs without a better validation ELBO, or bound where that has several samples, after "
        "which training ends. Default: it never ends early.",
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

    start: str | None = option(
        None,
        "Folder of a finished run, with whose parameters training starts. A prior with other "
        "options starts anew, and so does an encoder with another posterior.",
        group="optimisation",
    )
    train_only: str = option(
        "all",
        "What is trained: all parameters; those of the prior alone; or those of the encoder alone, "
        "the posterior of whose family is then fitted to the decoder. The others stay those of "
        "--start.",
        group="optimisation",
        choices=("all", "prior", "encoder"),
    )

    keep: str = option(
        "last",
        "Which parameters are evaluated and loaded: those after the last epoch, or those of the "
        "epoch with the best validation ELBO, or bound where that has several samples.",
        group="evaluation",
        choices=("last", "best"),
    )
    nll_samples: int = option(
        1000,
        "Samples for the negative log-likelihood (NLL) of a test example; more is tighter, slower. "
        "Another number evaluates a finished run again.",
        group="evaluation",
        low=1,
    )
