"""Options of the objective and of the estimator of its gradient."""

import dataclasses
from typing import Any

from vae_jax.config.option import option
from vae_jax.objectives import by_name, layers
from vae_jax.objectives.codes import CODEBOOKS

_RISING = ", ".join(f"{c.annealed} of {n}" for n, c in by_name.OBJECTIVES.items() if c.annealed)


def _of_objectives(name: str, meaning: str, kind: str | None = "number", **known: Any) -> Any:
    """An option of some objectives, whose help text names them with their defaults."""
    users = ", ".join(
        user + ("" if default is None else f" ({default})")
        for user, default in by_name.users_of(name).items()
    )
    return option(None, f"For {users}: {meaning}.", group="objective", swept=kind, **known)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ObjectiveOptions:
    """The objective, and the estimator of its gradient."""

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
        "score; score_function, vimco: for any latents; concrete: for discrete ones, relaxed; "
        "straight_through: for discrete ones and codes, the gradient of what was rounded; "
        "rotation: for the codes of a codebook, the same turned.",
        group="objective",
        choices=tuple(by_name.ESTIMATORS),
        swept="shape",
    )
    num_samples: int | None = option(
        None,
        "Posterior samples per example in training. Default: 1, or 8 for bounds of several samples "
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
    label_weight: float | None = _of_objectives(
        "label_weight", "weight of the mean log-probability that the classifier gives known labels"
    )
    layer_weights: str | None = _of_objectives(
        "layer_weights",
        "which layers of a hierarchy have their KL term first",
        "shape",
        choices=tuple(layers.LAYER_WEIGHTS),
    )
    commitment: float | None = _of_objectives(
        "commitment", "weight of the squared distance of the encoder's outputs from their codes"
    )
    codebook: str | None = _of_objectives(
        "codebook",
        "whether the entries of a codebook are moving averages or have a gradient",
        "shape",
        choices=CODEBOOKS,
    )
    codebook_decay: float | None = _of_objectives(
        "codebook_decay", "decay per step of these averages, and of the frequencies of the entries"
    )
    restart_share: float | None = _of_objectives(
        "restart_share",
        "share of the mean frequency below which an entry restarts at an output of the batch",
    )
    entropy_weight: float | None = _of_objectives(
        "entropy_weight", "weight of the entropies of the bits of latents=lfq"
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
