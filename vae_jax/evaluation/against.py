"""Two runs on the same test examples: what the one brings over the other."""

from pathlib import Path
from typing import Any

import numpy as np

from vae_jax.errors import BadInputError
from vae_jax.evaluation.numbers import Numbers, mean_of
from vae_jax.models import Batch
from vae_jax.models.likelihoods import LIKELIHOODS
from vae_jax.runs.run import Run

PER_EXAMPLE = "per_example.npz"  # measures of each test example, [N] nats
_NOT_COMPARED = ("data_dir", "stream", "seed", "nll_samples")


def per_example_of(folder: Path) -> dict[str, np.ndarray]:
    """The measures of each test example, [N] each, in the folder of an evaluation."""
    with np.load(folder / PER_EXAMPLE) as file:
        return dict(file)


def require_comparable(run: Run, other: Run) -> None:
    """Raises a BadInputError for runs whose log p(x) are not of the same measure."""
    ours, theirs = run.config.likelihood, other.config.likelihood
    if LIKELIHOODS[ours].measure != LIKELIHOODS[theirs].measure:
        raise BadInputError(
            f"against={other.folder.path} has likelihood={theirs} and run={run.folder.path} "
            f"likelihood={ours}: a {LIKELIHOODS[theirs].measure} and a {LIKELIHOODS[ours].measure} "
            "do not compare."
        )


def require_same_examples(x: Batch, other_x: Batch, run: Run, other: Run) -> None:
    """Raises a BadInputError unless both runs are evaluated on the same examples."""
    ours, theirs = np.asarray(x.x), np.asarray(other_x.x)
    if ours.shape != theirs.shape or not np.array_equal(ours, theirs):
        raise BadInputError(
            f"against={other.folder.path} has other test examples than run={run.folder.path} "
            f"(dataset={other.config.dataset}, binarisation={other.config.binarisation} there; "
            f"dataset={run.config.dataset}, binarisation={run.config.binarisation} here)."
        )


def compare(
    run: Run, other: Run, ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]
) -> Numbers:
    """The options in which two runs differ, and the other's measures less those of this run.

    ours, theirs: measures of the same N examples, [N] each, nats, by the same names. Pairs are a
    mean over examples and its standard error.
    """
    return {
        "run": str(other.folder.path),
        "options": _different(run, other),
        "differences": {name: mean_of(theirs[name] - ours[name]) for name in ours},
    }


def _different(run: Run, other: Run) -> dict[str, list[Any]]:
    """The options that differ and change the model or its training: name -> [ours, theirs]."""
    # A run that was trained in part has its other parameters from training with other options.
    in_part = other.config.train_only != "all"
    both = {
        name: [getattr(run.config, name), getattr(other.config, name)]
        for name, option in run.config.OPTIONS.items()
        if option.changes_numbers
        and name not in _NOT_COMPARED
        and (not in_part or option.group == "model" or name in ("start", "train_only"))
    }
    return {name: values for name, values in both.items() if values[0] != values[1]}
