"""The result of a run: in numbers and in words."""

import resource
import statistics
from typing import Any

import jax
from absl import flags

from experiments.images import Images
from experiments.versions import versions
from vae_jax import evidence

FLAGS = flags.FLAGS


def summarise(
    images: Images,
    history: list[dict[str, Any]],
    compile_seconds: float,
    scores: evidence.Evidence,
    seed: int,
) -> dict[str, Any]:
    """What summary.json holds: the test set in nats per image; lower NLL is better.

    Args:
      images: of the run.
      history: rows of metrics.jsonl.
      compile_seconds: of the training, in this process.
      scores: of the test images.
      seed: of the run.
    """
    log_evidence, standard_error = evidence.mean_and_standard_error(scores.log_evidence)
    return {
        "dataset": images.name,
        "binarisation": FLAGS.binarisation,
        "likelihood": FLAGS.likelihood,
        "objective": FLAGS.objective,
        "estimator": FLAGS.estimator,
        "num_samples": FLAGS.num_samples,
        "seed": seed,
        "epochs": FLAGS.epochs,
        "train_images": len(images.train),
        "test_images": len(images.test),
        "test_elbo": float(scores.elbo.mean()),
        "test_reconstruction": float(scores.reconstruction.mean()),
        "test_kl": float(scores.kl.mean()),
        "test_nll": -log_evidence,
        "test_nll_stderr": standard_error if len(images.test) > 1 else None,
        "nll_samples": FLAGS.nll_samples,
        "bits_per_dim": evidence.bits_per_dim(log_evidence, images.test[0].size),
        "validation_elbo": history[-1]["validation_elbo"],
        "compile_seconds": compile_seconds,
        "train_seconds": sum(row["seconds"] for row in history),
        "images_per_second": statistics.median(row["images_per_second"] for row in history),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "device": jax.devices()[0].device_kind,
        "versions": versions(),
    }


def report(summary: dict[str, Any]) -> str:
    """A summary in words, for the end of a run."""
    error = summary["test_nll_stderr"]
    error = "unknown" if error is None else f"{error:.3f}"
    lines = [
        f"{summary['dataset']}, {summary['binarisation'].replace('none', 'no')} binarisation, "
        f"{summary['test_images']:,} test images, seed {summary['seed']}, "
        f"{summary['epochs']} epochs in {summary['train_seconds']:.0f} s "
        f"({summary['images_per_second']:,.0f} images/s)",
        f"  test NLL            {summary['test_nll']:9.3f} nats, standard error {error} "
        f"(importance-weighted, K={summary['nll_samples']})",
        f"  test ELBO           {summary['test_elbo']:9.3f} nats = reconstruction - KL",
        f"    reconstruction    {summary['test_reconstruction']:9.3f} nats",
        f"    KL                {summary['test_kl']:9.3f} nats",
        f"  bits per dimension  {summary['bits_per_dim']:9.4f}",
    ]
    if summary["likelihood"] == "bernoulli_unnormalised":
        lines.append("  (Of no normalised likelihood: cross-entropies, not comparable with NLLs.)")
    if summary["likelihood"].startswith("gaussian"):
        lines.append("  (Of a density of intensities in [0, 1], not of 8-bit pixels.)")
    if summary["dataset"] == "mnist_5k":
        lines.append("  (Of 5,000 digits of MNIST: not comparable with results on all 70,000.)")
    return "\n".join(lines)
