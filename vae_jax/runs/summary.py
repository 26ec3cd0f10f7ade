"""The result of a run, in numbers and in words."""

import math
import statistics
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from vae_jax import data, evidence
from vae_jax.config import Config
from vae_jax.models.likelihoods import LIKELIHOODS
from vae_jax.models.spec import CODES as CODE_LATENTS
from vae_jax.runs.choices import WORDS
from vae_jax.runs.examples import Examples
from vae_jax.runs.versions import versions

# measures of classes in a summary -> what they are called
CLASSES = {
    "test_accuracy": "test accuracy",
    "cluster_accuracy": "cluster accuracy",
    "cluster_nmi": "cluster NMI",
}


# measures of codes in a summary -> what they are called
CODES = {
    "code_perplexity": "code perplexity",
    "codes_in_use": "codes in use",
    "dead_codes": "dead codes",
}


class Summary(dict):
    """The content of summary.json. As a text it is the result in words."""

    def __str__(self):
        return in_words(self)


def summarise(
    config: Config,
    examples: Examples,
    history: list[dict[str, Any]],
    compile_seconds: float,
    scores: evidence.Evidence,
    epoch: int,
) -> Summary:
    """Makes the summary of a run, with means over test images in nats; a lower NLL is better.

    Args:
      config: settled configuration of the run.
      examples: data of the run.
      history: rows of metrics.jsonl.
      compile_seconds: seconds that compiling the training took in this process.
      scores: estimates for the test images.
      epoch: epoch of the parameters that are evaluated.
    """
    log_evidence, standard_error = evidence.mean_and_standard_error(scores.log_evidence)
    of_epoch = {row["epoch"]: row["validation_elbo"] for row in history}
    rates = [row["images_per_second"] for row in history]
    return Summary(
        {
            "dataset": examples.name,
            "data_kind": examples.kind,
            "binarisation": config.binarisation,
            "likelihood": config.likelihood,
            "objective": config.objective,
            "estimator": config.estimator,
            "latents": config.latents,
            "num_samples": config.num_samples,
            "seed": config.seed,
            "epochs": config.epochs,
            "evaluated_epoch": epoch,
            "train_images": len(examples.train),
            "test_images": len(examples.test),
            "test_elbo": float(scores.elbo.mean()),
            "test_reconstruction": float(scores.reconstruction.mean()),
            "test_kl": float(scores.kl.mean()),
            "test_nll": -log_evidence,
            "test_nll_stderr": standard_error if len(examples.test) > 1 else None,
            "nll_samples": config.nll_samples,
            "bits_per_dim": bits_per_dim(config, log_evidence, examples),
            "missing_share": (
                float(np.isnan(examples.test.x).mean()) if examples.facts.missing else None
            ),
            "validation_elbo": of_epoch.get(epoch),
            "compile_seconds": compile_seconds,
            "train_seconds": sum(row["seconds"] for row in history),
            "images_per_second": statistics.median(rates) if rates else None,
            "peak_memory_mb": _peak_memory_mb(),
            "device": jax.devices()[0].device_kind,
            "versions": versions(),
        }
    )


def bits_per_dim(config: Config, log_evidence: float, examples: Examples) -> float | None:
    """The bits per dimension of a mean log p(x) in nats; None for densities, which have none."""
    if LIKELIHOODS[config.likelihood].measure != "mass" or examples.facts.missing:
        return None
    return evidence.bits_per_dim(log_evidence, math.prod(examples.facts.event_shape))


def data_in_words(summary: Mapping[str, Any]) -> tuple[str, str]:
    """What the data of a summary are, and what one calls the examples."""
    kind = summary.get("data_kind")
    if kind in data.NUMBERS:
        return f"{WORDS[kind]}, likelihood={summary['likelihood']}", "examples"
    return f"{summary['binarisation'].replace('none', 'no')} binarisation", "images"


def in_words(summary: dict[str, Any]) -> str:
    """A summary in words, for the end of a run."""
    error, rate = summary["test_nll_stderr"], summary["images_per_second"]
    error = "unknown" if error is None else f"{error:.3f}"
    rate = "" if rate is None else f" ({rate:,.0f} examples/s)"
    epochs = summary["epochs"]
    evaluated = summary.get("evaluated_epoch", epochs)
    of_epoch = "" if evaluated == epochs else f", evaluated at epoch {evaluated}"
    what, noun = data_in_words(summary)
    known = f"importance-weighted, K={summary['nll_samples']}"
    if summary.get("latents") in CODE_LATENTS:
        known = "minus the ELBO"
    lines = [
        f"{summary['dataset']}, {what}, "
        f"{summary['test_images']:,} test {noun}, seed {summary['seed']}, "
        f"{epochs} epochs{of_epoch} in {summary['train_seconds']:.0f} s{rate}",
        f"  test NLL            {summary['test_nll']:9.3f} nats, standard error {error} ({known})",
        f"  test ELBO           {summary['test_elbo']:9.3f} nats = reconstruction - KL",
        f"    reconstruction    {summary['test_reconstruction']:9.3f} nats",
        f"    KL                {summary['test_kl']:9.3f} nats",
    ]
    if summary["bits_per_dim"] is not None:
        lines.append(f"  bits per dimension  {summary['bits_per_dim']:9.4f}")
    for name, what in (CLASSES | CODES).items():
        if summary.get(name) is not None:
            number = summary[name]
            written = f"{number:9,}" if isinstance(number, int) else f"{number:9.4f}"
            lines.append(f"  {what:<19} {written}")
    return "\n".join([*lines, *(f"  ({text})" for text in remarks(summary))])


def remarks(summary: dict[str, Any]) -> list[str]:
    """Warnings about comparisons that the numbers of a summary do not allow."""
    found = []
    if summary["likelihood"] == "bernoulli_unnormalised":
        found.append("Of no normalised likelihood: cross-entropies, not comparable with NLLs.")
    if LIKELIHOODS[summary["likelihood"]].measure == "density":
        units = "intensities in [0, 1], not of 8-bit pixels"
        if summary.get("data_kind") == "real":
            units = "real numbers, in their own units"
        if summary.get("data_kind") == "mixed":
            units = "rows: densities of numbers, in their own units, times probabilities of others"
        found.append(f"Of a density of {units}.")
    if summary.get("kl_term") == "sampled":
        found.append("The KL term is sampled, since it has no closed form.")
    if summary.get("latents") in CODE_LATENTS:
        found.append("q(z|x) is one code: the NLL is minus the ELBO, for any number of samples.")
    if summary.get("missing_share"):
        share = 100 * summary["missing_share"]
        found.append(f"log p of the values that are observed: {share:.1f} % are missing.")
    if summary["dataset"] == "mnist_5k":
        found.append("Of 5,000 digits of MNIST: not comparable with results on all 70,000.")
    return found


def _peak_memory_mb() -> float | None:
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
