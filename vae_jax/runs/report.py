"""The page of a run, and of a sweep: report.html in its folder."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vae_jax.config import Config
from vae_jax.errors import BadInputError
from vae_jax.runs import page
from vae_jax.runs.agreement import read_config
from vae_jax.runs.files import read_json, reading, replace
from vae_jax.runs.folder import RunFolder
from vae_jax.runs.summary import data_in_words, remarks

_FIGURES = {
    "Data beside reconstructions": (
        ("reconstructions", "Test images, binarised, and the means of p(x|z) with z ~ q(z|x)."),
        (
            "from_layers",
            "Test images, and what the top layers of a hierarchy know of them: those are samples "
            "of q(z|x), and the layers below are samples of the prior given them.",
        ),
        ("heat_maps", "Test examples, the means of p(x|z) with z ~ q(z|x), and samples."),
    ),
    "Samples": (
        ("samples", "Means of p(x|z) with z ~ p(z): what the model makes by itself."),
        ("priors", "The same with the prior of the run that this one started with, and its own."),
        (
            "layers",
            "Samples that have the top layers of a hierarchy in common; the others are drawn anew.",
        ),
        ("marginals", "Columns of test examples, and of samples from p(x)."),
        ("pairs", "Pairs of columns: test examples below the diagonal, samples above."),
    ),
    "Latent space": (
        (
            "codes",
            "Posterior means of test examples, coloured by their labels if they have any; of more "
            "than two latents the plane of their two leading principal components.",
        ),
        ("manifold", "Means of p(x|z) over a grid of quantiles of the two latents."),
        ("interpolation", "Straight lines between the posterior means of pairs of test examples."),
    ),
}
_EVIDENCE = {
    "gaps": "The inference gap: what the family of q(z|x) costs, and what one encoder for all.",
    "bounds": "Bounds on log p(x) of each example.",
    "latents": "The KL of each latent.",
    "rate_distortion": "The rate-distortion curve of the decoder, and where the VAE lies.",
    "outliers": "Scores of the examples of another data set beside those of the run's.",
}


def write_report(folder: RunFolder, summary: Mapping[str, Any] | None = None) -> Path:
    """Writes report.html of a run or of a sweep, one file that needs no other file and no network.

    Args:
      folder: folder of a run, finished or not, or of a sweep.
      summary: summary of the run; None for that of its folder.

    Returns its path.

    Raises:
      BadInputError: the folder is not that of a run or sweep, or a file cannot be read or written.
    """
    recorded = folder.recorded()
    if recorded is None:
        raise BadInputError(f"run={folder.path} holds no flags.cfg, as the folder of a run does.")
    if "num_seeds" in recorded:
        text = _of_sweep(folder, recorded)
    else:
        found = summary if summary is not None else folder.summary()
        text = _of_run(folder, read_config(recorded, folder.path), found)
    path = folder.path / "report.html"
    replace(path, text)
    return path


def _of_run(folder: RunFolder, config: Config, summary: Mapping[str, Any] | None) -> str:
    name = summary["dataset"] if summary else config.dataset
    rows = folder.metrics()
    done = rows[-1]["epoch"] if rows else 0
    subtitle = f"Run {folder.name}, seed {config.seed}, {done} of {config.epochs} epochs"
    sections = [_numbers(summary) if summary else page.paragraph("The run is not finished.")]
    sections.append(
        page.section(
            "Training",
            page.figure(
                folder.figures / "training_curves.png",
                "Terms of the ELBO over the epochs, on training and validation examples, in nats.",
            ),
        )
    )
    for title, figures in _FIGURES.items():
        drawn = [page.figure(folder.figures / f"{file}.png", text) for file, text in figures]
        sections.append(page.section(title, *drawn))
    sections += [_evidence(folder), _configuration(config), _use(folder, summary)]
    return page.document(f"A VAE on {name}", subtitle, filter(None, sections))


def _numbers(summary: Mapping[str, Any]) -> str:
    error = summary["test_nll_stderr"]
    error = "" if error is None else f" ± {error:.3f}"
    rows = [
        (
            "NLL",
            f"{summary['test_nll']:.3f}{error}",
            f"-log p(x), an upper bound by importance sampling with K={summary['nll_samples']}; "
            "± one standard error over the test examples. Lower is better.",
        ),
        (
            "ELBO",
            f"{summary['test_elbo']:.3f}",
            "The bound on log p(x) that was trained: reconstruction - KL. Higher is better.",
        ),
        (
            "reconstruction",
            f"{summary['test_reconstruction']:.3f}",
            "E[log p(x|z)] with z ~ q(z|x).",
        ),
        (
            "KL",
            f"{summary['test_kl']:.3f}",
            "KL(q(z|x) ‖ p(z)): what the code of an example says beyond the prior.",
        ),
    ]
    if summary["bits_per_dim"] is not None:
        meaning = "The NLL in bits, divided by the number of pixels and channels."
        rows.append(("bits per dimension", f"{summary['bits_per_dim']:.4f}", meaning))
    if summary.get("code_perplexity") is not None:
        rows.append(
            (
                "code perplexity",
                f"{summary['code_perplexity']:.1f}",
                "exp of the entropy of the codes of the test examples: how many are in even use.",
            )
        )
        rows.append(
            (
                "codes in use",
                f"{100 * summary['codes_in_use']:.1f} %",
                f"Those that a test example has; {summary['dead_codes']:,} are dead.",
            )
        )
    what, noun = data_in_words(summary)
    trained_on = (
        f"In nats, over {summary['test_images']:,} test {noun} of {summary['dataset']} "
        f"({what}), trained on "
        f"{summary['train_images']:,} in {summary['train_seconds']:.0f} s on {summary['device']}."
    )
    notes = [page.paragraph(text) for text in remarks(dict(summary))]
    return page.section(
        "How good it is",
        page.paragraph(trained_on),
        page.table(("", f"test {noun}", "what it is"), rows, numbers=(1,), prose=True),
        *notes,
    )


def _evidence(folder: RunFolder) -> str:
    path = folder.path / "evidence" / "evidence.md"
    if not path.exists():
        return ""
    with reading(path):
        text = path.read_text()
    figures = [page.figure(path.parent / f"{name}.png", said) for name, said in _EVIDENCE.items()]
    return page.section("How good it really is, and what holds it back", page.words(text), *figures)


def _configuration(config: Config) -> str:
    chosen, groups = [], dict[str, Any]()
    for name, known in config.OPTIONS.items():
        value = getattr(config, name)
        text = "" if value is None else known.write(value)
        row = (name, text, known.help)
        groups.setdefault(known.group, []).append(row)
        if value not in (known.default, None):
            chosen.append(row)
    header = ("option", "value", "what it is")
    everything = "\n".join(
        f"<h3>{group}</h3>\n{page.table(header, rows, prose=True)}"
        for group, rows in groups.items()
    )
    return page.section(
        "How it was trained",
        page.table(header, chosen, prose=True) if chosen else page.paragraph("With the defaults."),
        page.details("All options", everything),
    )


def _use(folder: RunFolder, summary: Mapping[str, Any] | None) -> str:
    flags = shlex.quote(str(folder.path / "flags.cfg"))
    versions = (summary or {}).get("versions", {})
    return page.section(
        "Load it, replay it",
        page.code(
            f"import vae_jax as vj\nrun = vj.load({str(folder.path)!r})\n"
            "run.sample(key, 16); run.encode(x); run.reconstruct(key, x); run.evaluate()"
        ),
        page.code(f"vae-jax train --flagfile={flags} --workdir=ANOTHER_FOLDER"),
        page.paragraph("Made by " + ", ".join(f"{n} {v}" for n, v in versions.items()) + ".")
        if versions
        else "",
    )


def _of_sweep(folder: RunFolder, recorded: Mapping[str, str]) -> str:
    found = read_json(folder.path / "sweep.json")
    if found is None:
        raise BadInputError(
            f"run={folder.path} holds a sweep that is not finished: its own command goes on with "
            "it."
        )
    runs, rows = found["runs"], found["table"]
    of_table = []
    for row in rows:
        nll, elbo = row["test_nll"], row["test_elbo"]
        setting = ", ".join(f"{name}={text}" for name, text in row["setting"].items()) or "all"
        of_table.append(
            (setting, str(row["n"]), _interval(nll), f"{nll['best']:.2f}", _interval(elbo))
        )
    lines = []
    for run in runs:
        summary = run["summary"]
        said = f"{summary['test_nll']:.3f}" if summary else run["diverged"] or "not finished"
        target = f"{run['folder']}/report.html"
        has_page = (folder.path / target).exists()
        lines.append((page.link(run["folder"], target) if has_page else run["folder"], said))
    figures = [
        page.figure(path, path.stem.replace("_", " "))
        for path in sorted(folder.figures.glob("*.png"))
    ]
    header = ("setting", "n", "NLL, mean ± 95 %", "best NLL", "ELBO, mean ± 95 %")
    return page.document(
        f"A sweep on {recorded.get('dataset', 'images')}",
        f"{len(runs)} runs: {recorded.get('sweep') or 'seeds'}, {recorded['num_seeds']} seeds",
        [
            page.section(
                "Settings",
                page.paragraph("In nats a test example; intervals over seeds by Student's t."),
                page.table(header, of_table, numbers=(1, 2, 3, 4)),
            ),
            page.section("Figures", *figures),
            page.section("Runs", page.table(("run", "test NLL"), lines)),
        ],
    )


def _interval(statistics: Mapping[str, Any]) -> str:
    half = statistics["interval"]
    return f"{statistics['mean']:.2f}" + ("" if half is None else f" ± {half:.2f}")
