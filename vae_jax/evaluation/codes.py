"""The evaluation of a run with deterministic codes: its bound, its prior, its codes."""

import math
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vae_jax import evidence
from vae_jax.evaluation.subject import images_of
from vae_jax.models.likelihoods import LIKELIHOODS
from vae_jax.runs import Run
from vae_jax.runs import codes as codes_of
from vae_jax.runs.files import save_npz, write_json, writing
from vae_jax.runs.versions import versions
from vae_jax.trained import event_shape_of

_MOST_EXAMPLES = 10_000
_WORTH = 1.0  # nats


def measured(run: Run) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The numbers of evidence.json, and the arrays of each test example."""
    x = images_of(run, "test", jax.random.key(0), _MOST_EXAMPLES)
    of = evidence.make_importance_sampler(run.model, 1)(run.params, x, jax.random.key(0))
    one = jax.ShapeDtypeStruct(event_shape_of(run.metadata), np.float32)
    q: Any = jax.eval_shape(run.of_one_condition.posterior, run.params, one)
    index = codes_of.indices(run.model, run.params, x)
    counts = codes_of.counts(index, q.num_codes)
    # What independent places with the frequencies of these codes would cost.
    places = index.reshape(len(index), -1)
    of_places = [_entropy(np.bincount(column, minlength=1)) for column in places.T]
    dims = math.prod(event_shape_of(run.metadata))
    is_mass = LIKELIHOODS[run.config.likelihood].measure == "mass"
    per_example = {"elbo": of.elbo, "reconstruction": of.reconstruction, "kl": of.kl}
    found: dict[str, Any] = {
        "run": str(run.folder.path),
        "dataset": run.loaded_examples.name,
        "binarisation": run.config.binarisation,
        "likelihood": run.config.likelihood,
        "posterior": "one code",
        "num_examples": len(index),
        **{name: _pair(values) for name, values in per_example.items()},
        "bits_per_dim": None,
        "codes": {
            "num_codes": q.num_codes,
            "codes_of_an_example": int(places.shape[1]),
            "entropy_of_places": float(np.sum(of_places)),
            "uniform": float(places.shape[1] * math.log(q.num_codes)),
            **codes_of.measures(index, q.num_codes),
            "usage": np.sort(counts, axis=1)[:, ::-1].tolist() if q.num_codes <= 4096 else None,
        },
        "prior": run.config.prior,
        "versions": versions(),
    }
    if is_mass:
        found["bits_per_dim"] = {
            name: evidence.bits_per_dim(sign * values.mean(), dims)
            for name, sign, values in (
                ("bound", 1.0, of.elbo),
                ("prior", -1.0, of.kl),
                ("decoder", 1.0, of.reconstruction),
            )
        }
    return found, per_example


def in_words(numbers: dict[str, Any]) -> str:
    """The text of evidence.md."""
    codes, kl = numbers["codes"], numbers["kl"][0]
    lines = [
        f"# {numbers['run']}: how good its codes are",
        "",
        f"The first {numbers['num_examples']:,} test examples of {numbers['dataset']}, "
        f"{numbers['binarisation']} binarisation; nats per example, +- one standard error.",
        "",
        "## log p(x)",
        "",
        f"**The mean log p(x) is at least {_in_words(numbers['elbo'])} nats**: q(z|x) has all of "
        "its mass at one code z, so that log p(x|z) + log p(z) is a bound like any other ELBO. No "
        "number of samples makes it tighter.",
        "",
        f"- log p(x|z), of the decoder: {_in_words(numbers['reconstruction'])}.",
        f"- -log p(z), of the prior ({numbers['prior']}): {_in_words(numbers['kl'])}.",
    ]
    if numbers["bits_per_dim"]:
        bits = numbers["bits_per_dim"]
        lines.append(
            f"- In bits per dimension: {bits['bound']:.4f} = {bits['decoder']:.4f} of the decoder "
            f"+ {bits['prior']:.4f} of the prior."
        )
    share = 100 * codes["codes_in_use"]
    lines += [
        "",
        "## Codes",
        "",
        f"- {codes['codes_of_an_example']} codes of {codes['num_codes']:,} values each; "
        f"{share:.1f} % of the values are in use, {codes['dead_codes']:,} are dead. Perplexity: "
        f"{codes['code_perplexity']:.1f}.",
        f"- A uniform prior costs {codes['uniform']:.2f} nats, independent places with their own "
        f"frequencies {codes['entropy_of_places']:.2f} (measured on these examples).",
        "",
        "## What may help",
        "",
        *_advice(numbers, kl),
    ]
    return "\n".join(lines) + "\n"


def _advice(numbers: dict[str, Any], kl: float) -> list[str]:
    codes, found = numbers["codes"], []
    if kl - codes["entropy_of_places"] > _WORTH:
        found.append(
            f"- The prior: places with their own frequencies would cost "
            f"{kl - codes['entropy_of_places']:.2f} nats less, and one that knows the others less "
            "still: `vae-jax prior RUN --prior=pixelcnn`, or --prior=pixelcnn in training."
        )
    if codes["codes_in_use"] < 0.9:
        found.append(
            f"- Dead codes: {codes['dead_codes']:,}. --restart_share above 0 restarts them, "
            "--estimator=rotation and --latents=fsq use more of them; fewer codes may do as well."
        )
    if not found:
        found.append("- Codes and prior are in order: what is left is up to the networks.")
    return found


def write(run: Run, folder: Path) -> tuple[dict[str, Any], str]:
    """Measures a run, and writes evidence.json, evidence.md and per_example.npz."""
    numbers, per_example = measured(run)
    text = in_words(numbers)
    save_npz(folder / "per_example.npz", **per_example)
    write_json(folder / "evidence.json", numbers)
    with writing(folder / "evidence.md"):
        (folder / "evidence.md").write_text(text)
    return numbers, text


def _entropy(counts: np.ndarray) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())


def _pair(values: np.ndarray) -> list[float]:
    error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return [float(values.mean()), float(error)]


def _in_words(pair: list[float]) -> str:
    return f"{pair[0]:.2f} +- {pair[1]:.2f}"
