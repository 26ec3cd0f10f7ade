"""What `auto` stands for, once the data are known: the likelihood and the binarisation."""

import dataclasses
from typing import Any

from vae_jax import data
from vae_jax.config import Config
from vae_jax.errors import BadInputError
from vae_jax.models.likelihoods import LIKELIHOODS

# kind of data -> what it is called, and the likelihood that `auto` chooses
WORDS = {
    "binary": "black and white pixels",
    "8-bit": "8-bit pixels",
    "intensities": "intensities in [0, 1]",
    "real": "real numbers",
    "count": "counts",
    "mixed": "columns of several types",
}
_USUAL = {
    "binary": "bernoulli",
    "8-bit": "discretised_logistic",
    "intensities": "gaussian_learned",
    "real": "gaussian_learned",
    "count": "negative_binomial",
    "mixed": "columns",
}
_PIXELS = ("binary", "8-bit", "intensities")


def chosen(config: Config, dataset: data.Dataset) -> Config:
    """The configuration with the data set, the binarisation and the likelihood that `auto` chose.

    Grey images are binarised dynamically for the Bernoulli likelihood. Everything else is taken as
    it is, with the usual likelihood of its kind.

    Raises:
      BadInputError: the likelihood or the binarisation is not for these data; the message names one
        that is.
    """
    found: dict[str, Any] = {}
    if config.dataset == "auto":
        found["dataset"] = dataset.name
    binarisation = _binarisation(config, dataset)
    kind = "binary" if binarisation != "none" else dataset.kind
    likelihood = _USUAL[kind] if config.likelihood == "auto" else config.likelihood
    if kind not in LIKELIHOODS[likelihood].kinds:
        raise BadInputError(_misfit(config, dataset, binarisation, likelihood))
    if likelihood == "binomial" and config.num_trials is None:
        found["num_trials"] = int(max(dataset.train.x[:].max(), 1))
    found |= {"likelihood": likelihood, "binarisation": binarisation}
    return dataclasses.replace(config, **found)


def _binarisation(config: Config, dataset: data.Dataset) -> str:
    if config.binarisation not in ("auto", "none") and dataset.kind not in _PIXELS:
        raise BadInputError(
            f"binarisation={config.binarisation} is for pixels, and {dataset.name} has "
            f"{WORDS[dataset.kind]}: use binarisation=none."
        )
    if config.binarisation != "auto":
        return config.binarisation
    is_grey_image = dataset.kind in _PIXELS[1:] and dataset.train.x.shape[-1] == 1
    if config.likelihood == "auto":
        return "dynamic" if is_grey_image else "none"
    of_black_and_white = LIKELIHOODS[config.likelihood].kinds == ("binary",)
    return "dynamic" if of_black_and_white and dataset.kind in _PIXELS[1:] else "none"


def _misfit(config: Config, dataset: data.Dataset, binarisation: str, likelihood: str) -> str:
    """A sentence that says which likelihoods fit."""
    wanted = " or ".join(WORDS[kind] for kind in LIKELIHOODS[likelihood].kinds)
    if likelihood == "bernoulli" and dataset.kind in _PIXELS:
        return (
            f"likelihood=bernoulli is for black and white, and binarisation={binarisation} leaves "
            f"{dataset.name} grey: binarise it, or ask for likelihood=bernoulli_unnormalised by "
            "name."
        )
    kind = dataset.kind if binarisation == "none" else "binary"
    fitting = [name for name, facts in LIKELIHOODS.items() if kind in facts.kinds]
    return (
        f"likelihood={likelihood} is for {wanted}, and {dataset.name} has {WORDS[kind]}: use "
        f"likelihood={_USUAL[kind]} (or {', '.join(n for n in fitting if n != _USUAL[kind])})."
    )
