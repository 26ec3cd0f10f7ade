"""Writes what a model of cells says into a copy of their .h5ad file: latents, expression, genes.

vae-jax train --flagfile=experiments/configs/cells.cfg --dataset=cells.h5ad --covariates=batch
python -m experiments.cells --run=runs/cells --cells=cells.h5ad --out=with_latents.h5ad
python -m experiments.cells --run=runs/cells --cells=cells.h5ad --out=b.h5ad --groups=type:B,T

The copy has the means of q(z|x) in obsm["X_vae"], two coordinates of them in obsm["X_vae_umap"], or
obsm["X_vae_pca"] without the package umap-learn, and the normalised expression, the expected
proportion of each gene in 10,000 counts, in layers["vae_normalised"]. With
--groups=COLUMN:ONE,OTHER it also writes --genes, a .csv file with the log2 fold change of each gene
between two groups of cells: its posterior mean and standard deviation, and the probability that it
is larger than --delta in size (Boyeau et al. 2019). Cells of both groups are decoded with the same
condition, so that batches cancel.
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax import data
from vae_jax.commands import command, flags
from vae_jax.data import h5ad
from vae_jax.errors import BadInputError
from vae_jax.models import Sized, given
from vae_jax.runs import Run, load_run
from vae_jax.runs.files import output_folder, replace
from vae_jax.runs.stop import StopSignal

_AT_ONCE = 500
_PAIRS = 5_000
_PSEUDOCOUNT = 1e-7  # of proportions, whose logarithm is taken


class FoldChanges(NamedTuple):
    """Log2 fold changes of D genes between two groups of cells.

    Attributes:
      mean: [D], posterior mean.
      std: [D], posterior standard deviation.
      probability: [D], that the size is above delta.
      expression: [2, D], mean proportions of both groups.
    """

    mean: np.ndarray
    std: np.ndarray
    probability: np.ndarray
    expression: np.ndarray


def define_flags() -> None:
    """Defines the flags of the command."""
    flags.define_one("run", str, None, "Folder of a finished run of cells.", "run", first=True)
    flags.define_one("cells", str, None, "The .h5ad file of the cells.", "run", first=True)
    flags.define_one("out", str, None, "The copy that is written.", "output", first=True)
    flags.define_one(
        "num_samples", int, 25, "Samples of q(z|x) of each cell.", "output", low=1, first=True
    )
    flags.define_one(
        "groups", str, None, "Two groups to compare, COLUMN:ONE,OTHER.", "genes", first=True
    )
    flags.define_one("genes", str, "genes.csv", "File of the fold changes.", "genes", first=True)
    flags.define_one(
        "delta", float, 0.25, "Log2 fold change that counts.", "genes", above=0, first=True
    )
    flags.define_one("seed", int, 0, "Seed of the samples.", "output", low=0, first=True)


def main(stop: StopSignal) -> None:
    """Runs the command."""
    for name in ("run", "cells", "out"):
        if flags.value_of(name) is None:
            raise BadInputError(f"--{name} is missing.")
    if not flags.value_of("out").endswith(".h5ad"):
        raise BadInputError(f"out={flags.value_of('out')} must be FILE.h5ad.")
    out = Path(flags.value_of("out"))
    output_folder(out.parent, named="out")
    command.use_compile_cache()
    run = load_run(flags.value_of("run"))
    if run.config.likelihood not in ("poisson", "negative_binomial", "zinb"):
        raise BadInputError(
            f"The run in {run.folder.path} has likelihood={run.config.likelihood}, which is none "
            "of counts of cells."
        )
    split = cells_of(run, flags.value_of("cells"))
    table = h5ad.opened(Path(flags.value_of("cells")))
    rows = None if flags.value_of("groups") is None else groups_of(table, flags.value_of("groups"))
    key, number = jax.random.key(flags.value_of("seed")), flags.value_of("num_samples")
    codes = stop.wait_for(lambda: latents(run, split), until="the latents are done")
    expected = stop.wait_for(
        lambda: proportions(run, split, key, number).mean(axis=0), until="the expression is done"
    )
    table.obsm["X_vae"] = codes
    name, plane = in_plane(codes)
    table.obsm[name] = plane
    if expected.shape == table.shape:
        table.layers["vae_normalised"] = np.float32(1e4 * expected)
    table.write_h5ad(out)
    print(f"{len(split):,} cells with latents, {name} and normalised expression: {out}.")
    if rows is not None:
        found = fold_changes(run, split, rows, jax.random.fold_in(key, 1), flags.value_of("delta"))
        names = run.metadata.get("columns") or [str(gene) for gene in range(len(found.mean))]
        replace(Path(flags.value_of("genes")), as_csv(found, names))
        number = int((found.probability > 0.95).sum())
        print(f"{number} genes change with a probability above 0.95: {flags.value_of('genes')}.")


def cells_of(run: Run, name: str) -> data.Split:
    """All cells of a file in its own order, with the conditions of the run."""
    _, found = data.load_whole(
        name, label_column=run.config.label_column, covariates=run.covariates
    )
    shape = tuple(found.train.x.shape[1:])
    if shape != tuple(run.metadata["event_shape"]):
        raise BadInputError(
            f"{name} has {shape[0]} genes, and the run in {run.folder.path} "
            f"{run.metadata['event_shape'][0]}."
        )
    return found.train


def latents(run: Run, split: data.Split) -> np.ndarray:
    """The means of q(z|x), [N, L]."""
    batch, parts = run.batch_of(split), []
    for start in range(0, len(batch), _AT_ONCE):
        q: Any = run.encode(batch[start : start + _AT_ONCE])
        parts.append(np.asarray(q.of_each[0].mean if run.config.latent_size else q.mean))
    return np.concatenate(parts)


def proportions(
    run: Run, split: data.Split, key: jax.Array, number: int, c: Any = None
) -> np.ndarray:
    """Samples of the expected proportions of the genes, [number, N, D].

    z ~ q(z|x), and then the mean of the counts for a size factor of 1, without additional zeros.

    c: inputs of the condition with which all cells are decoded, [C]; None for their own.
    """
    model, params, batch = run.model, run.params, run.batch_of(split)

    @jax.jit
    def of_cells(batch, keys):
        def one(one, key):
            z = given(model, one.c).posterior(params, one.x).sample(key)
            inputs = one.c.inputs if isinstance(one.c, Sized) else one.c
            inputs = inputs if c is None else jnp.asarray(c)
            if run.config.latent_size:
                z, condition = (z[0], jnp.zeros(1)), inputs
            elif run.config.size_factors:
                condition = Sized(jnp.ones(()), inputs)
            else:
                condition = inputs
            likelihood: Any = given(model, condition).likelihood(params, z)
            log_mean = getattr(likelihood, "log_mean", None)
            log_mean = likelihood.log_rate if log_mean is None else log_mean
            return jax.nn.softmax(log_mean)

        return jax.vmap(lambda keys: jax.vmap(one)(batch, keys))(keys)

    parts = []
    for start in range(0, len(batch), _AT_ONCE):
        part = jax.tree.map(jnp.asarray, batch[start : start + _AT_ONCE])
        keys = jax.random.split(jax.random.fold_in(key, start), (number, len(part)))
        parts.append(np.asarray(of_cells(part, keys)))
    return np.concatenate(parts, axis=1)


def groups_of(table: Any, text: str) -> tuple[np.ndarray, np.ndarray]:
    """The cells of two groups of COLUMN:ONE,OTHER.

    Raises:
      BadInputError: there is no such column or group.
    """
    column, _, names = text.partition(":")
    both = [name.strip() for name in names.split(",")]
    if column not in table.obs or len(both) != 2:
        raise BadInputError(
            f"groups={text} must be COLUMN:ONE,OTHER, with a column of "
            f"{', '.join(map(str, table.obs.columns))}."
        )
    values = table.obs[column].astype(str).to_numpy()
    found = tuple(np.flatnonzero(values == name) for name in both)
    if not all(map(len, found)):
        raise BadInputError(f"groups={text}: column {column} has {', '.join(sorted(set(values)))}.")
    return found  # type: ignore[return-value]  # two of them


def fold_changes(
    run: Run,
    split: data.Split,
    groups: tuple[np.ndarray, np.ndarray],
    key: jax.Array,
    delta: float,
) -> FoldChanges:
    """The fold changes between two groups of cells, over pairs of cells and samples of q(z|x).

    With covariates both cells of a pair are decoded with each condition in turn that the groups
    have, so that it cancels.

    Args:
      run: run of cells.
      split: cells of which the groups are rows.
      groups: rows of both groups.
      key: typed PRNG key.
      delta: log2 fold change whose probability is asked for.
    """
    condition = split.condition
    settings = [None]
    if condition is not None:
        of_groups = np.asarray(condition)[np.concatenate(groups)]
        settings = list(np.unique(of_groups, axis=0)[:10])
    changes, means = [], []
    for index, c in enumerate(settings):
        number = max(2, _PAIRS // len(settings))
        drawn = []
        for group, rows in enumerate(groups):
            own = jax.random.fold_in(jax.random.fold_in(key, index), group)
            chosen = np.asarray(jax.random.choice(own, rows, (number,)))
            found = proportions(run, split[chosen], jax.random.fold_in(own, 1), 1, c)[0]
            drawn.append(found)
        one, other = (np.log2(values + _PSEUDOCOUNT) for values in drawn)
        changes.append(one - other)
        means.append([values.mean(axis=0) for values in drawn])
    change = np.concatenate(changes)
    return FoldChanges(
        change.mean(axis=0),
        change.std(axis=0),
        (np.abs(change) > delta).mean(axis=0),
        np.mean(means, axis=0),
    )


def in_plane(codes: np.ndarray) -> tuple[str, np.ndarray]:
    """Two coordinates of the latents: by UMAP if it is installed, else principal components."""
    try:
        import umap
    except ImportError:
        centred = codes - codes.mean(axis=0)
        _, _, directions = np.linalg.svd(centred, full_matrices=False)
        return "X_vae_pca", centred @ directions[:2].T
    return "X_vae_umap", np.asarray(umap.UMAP(random_state=0).fit_transform(codes))


def as_csv(found: FoldChanges, names: Any) -> str:
    """The table of genes, those that change most probably first."""
    lines = ["gene,log2_fold_change,std,probability,expression_one,expression_other"]
    for gene in np.argsort(-found.probability, kind="stable"):
        one, other = found.expression[:, gene]
        lines.append(
            f"{names[gene]},{found.mean[gene]:.5g},{found.std[gene]:.5g},"
            f"{found.probability[gene]:.4f},{one:.5g},{other:.5g}"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    define_flags()
    command.run(main, about=__doc__)
