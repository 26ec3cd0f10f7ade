"""Fills in missing values with a trained model, and says how good its estimates are.

vae-jax impute runs/adult adult.csv --out=filled.csv
vae-jax impute runs/adult adult.csv --out=filled.npz --imputations=20    # samples of p(missing|x)
vae-jax impute runs/adult adult.csv --missing=0.2                        # and compares them

The estimate of a value is its mean given the observed ones (MIWAE, by self-normalised importance
sampling), the most probable category, or the median of ordered ones. FILE.npz has x [N, *event],
the effective sample sizes [N] and with --imputations samples [M, N, *event]. With --missing more
values are hidden, and the errors of their estimates are printed beside those of the mean of the
column (of categories the most frequent, of ordered ones the median).
"""

from typing import Any

import jax
import numpy as np

from vae_jax import data, evidence
from vae_jax.commands import command, flags
from vae_jax.commands.outputs import as_csv, output_file
from vae_jax.config import Config
from vae_jax.errors import BadInputError
from vae_jax.evaluation import imputation
from vae_jax.runs import Run, load_run
from vae_jax.runs.files import replace, save_npz
from vae_jax.runs.stop import StopSignal

ARGUMENTS = ("RUN", "DATA")


def define_flags() -> None:
    """Defines the flags of the command."""
    flags.define_one(
        "out", str, "filled.csv", "Where the whole examples go: FILE.npz, or FILE.csv of a table.",
        "output", first=True,
    )  # fmt: skip
    flags.define_one(
        "num_samples", int, 1000, "Samples of q(z|x) for each example; more is better and slower.",
        "output", low=1, first=True,
    )  # fmt: skip
    flags.define_one(
        "imputations", int, 0, "Samples of the missing values, for FILE.npz.", "output", low=0,
        first=True,
    )  # fmt: skip
    known = Config.OPTIONS["missing"]
    flags.define_one("missing", str, None, known.help, "data", first=True)
    flags.define_one(
        "missing_seed", int, 0, Config.OPTIONS["missing_seed"].help, "data", low=0, first=True
    )
    flags.define_one(
        "seed", int, 0, "Seed of the samples.", "output", low=0, high=2**32 - 1, first=True
    )


def main(stop: StopSignal, run: str, name: str) -> None:
    path, kind = output_file(flags.value_of("out"), (".npz", ".csv"))
    num_imputations = flags.value_of("imputations")
    if num_imputations and kind == ".csv":
        raise BadInputError(
            f"imputations={num_imputations} are several tables, and out={path} is one: name an "
            ".npz file."
        )
    hiding = Config(missing=flags.value_of("missing"), missing_seed=flags.value_of("missing_seed"))
    command.use_compile_cache()
    trained = load_run(run, report=lambda text: print(text, flush=True))
    if not trained.has_missing:
        raise BadInputError(
            f"The run in {run} is of whole examples: train with missing=0.2, or on data with "
            "missing values."
        )
    split = examples_to_fill(trained, name, hiding)
    if kind == ".csv" and len(split.x.shape) != 2:
        shape = split.x.shape[1:]
        raise BadInputError(f"out={path} is for tables, and {name} has examples of {shape}.")
    impute = evidence.make_imputer(trained.model, flags.value_of("num_samples"), num_imputations)
    key = jax.random.key(flags.value_of("seed"))
    found = stop.wait_for(
        lambda: impute(trained.params, trained.batch_of(split), key),
        until="these examples are filled in",
    )
    if kind == ".npz":
        more = {"samples": found.samples} if num_imputations else {}
        save_npz(path, x=found.value, effective_sample_size=found.effective_sample_size, **more)
    else:
        columns: Any = trained.schema or trained.metadata.get("columns")
        replace(path, as_csv(found.value, columns))
    missing = 1.0 if split.mask is None else 1.0 - split.mask.mean()
    print(
        f"{len(split):,} examples of {name}, {100 * missing:.1f} % of whose values are missing: "
        f"{path}. Effective sample size: median {np.median(found.effective_sample_size):.0f} of "
        f"{flags.value_of('num_samples')}."
    )
    if split.hidden is not None:
        errors = imputation.errors(split, found.value, schema_of(trained, split))
        print(f"\n{imputation.in_words(errors)}")


def examples_to_fill(run: Run, name: str, hiding: Config) -> data.Split:
    """All examples of a source of data in its own order, with values hidden as `hiding` says.

    Raises:
      DataError: they cannot be loaded, or have other columns than the run.
      BadInputError: nothing is missing.
    """
    config = run.config
    _, found = data.load_whole(
        name,
        data_dir=config.data_dir,
        report=lambda text: print(text, flush=True),
        kind=config.kind,
        image_size=config.image_size,
        label_column=config.label_column,
        schema=run.schema,
        missing=hiding.missing,
        missing_seed=hiding.missing_seed,
    )
    split = found.train
    if split.mask is None:
        raise BadInputError(f"Nothing is missing in {name}: missing=0.2 hides some values.")
    return split


def schema_of(run: Run, split: data.Split) -> tuple[data.Column, ...]:
    """The columns of the examples, of which pixels and other numbers are one."""
    if run.schema is not None:
        return run.schema
    kind = {"count": "count"}.get(run.metadata.get("data_kind", ""), "real")
    names = run.metadata.get("columns")
    if names is None or len(split.x.shape) != 2:
        return (data.Column("all values", kind),)
    return tuple(data.Column(name, kind) for name in names)
