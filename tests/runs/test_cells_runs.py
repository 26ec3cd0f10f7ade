"""Cells from an .h5ad file: covariates, a latent library size, and what is written back."""

import numpy as np
import pytest

from experiments import cells
from vae_jax.config import Config
from vae_jax.data import load
from vae_jax.errors import BadInputError, DataError
from vae_jax.runs import fit, load_run

anndata = pytest.importorskip("anndata")
RNG = np.random.default_rng(0)
N, D = 240, 12
SMALL = {
    "epochs": 60, "batch_size": 20, "hidden": (32,), "network": "mlp", "latent_dim": 2,
    "nll_samples": 10, "size_factors": True, "learning_rate": 1e-2, "ema_decay": 0.95,
}  # fmt: skip


def simulated(path):
    """Two types of cells, whose first gene differs eightfold, in two batches that differ, too."""
    kind, batch = RNG.integers(0, 2, N), RNG.integers(0, 2, N)
    rates = np.ones((N, D))
    rates[:, 0] *= np.where(kind == 1, 8.0, 1.0)
    rates[:, 1] *= np.where(batch == 1, 6.0, 1.0)
    sizes = np.exp(RNG.normal(6.5, 0.3, N))
    counts = RNG.poisson(sizes[:, None] * rates / rates.sum(axis=1, keepdims=True))
    table = anndata.AnnData(np.float32(np.log1p(counts)))
    table.layers["counts"] = counts.astype(np.float32)
    table.obs["type"] = np.array(["B", "T"])[kind]
    table.obs["batch"] = np.array(["one", "two"])[batch]
    table.obs["depth"] = RNG.normal(size=N)
    table.write_h5ad(path)
    return counts, kind, batch


def test_covariates_are_one_hot_and_standardised(tmp_path):
    path = tmp_path / "cells.h5ad"
    _, _, batch = simulated(path)
    dataset = load(str(path), covariates="batch,depth", label_column="type")
    assert [one.size for one in dataset.covariates] == [2, 1]
    c = np.concatenate([split.condition for split in dataset[1:4]])
    assert c.shape == (N, 3)
    assert sorted(c[:, :2].sum(axis=0).tolist()) == sorted(np.bincount(batch).tolist())
    np.testing.assert_allclose([c[:, 2].mean(), c[:, 2].std()], [0, 1], atol=1e-4)
    with pytest.raises(DataError, match="no column 'donor' in obs for the covariates, only 'type'"):
        load(str(path), covariates="donor")
    with pytest.raises(DataError, match="column 'batch' has 'one', which is none of 'x'"):
        load(str(path), covariates=[dataset.covariates[0]._replace(categories=("x",))])


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{"dispersion": "condition"}, {"likelihood": "poisson", "latent_size": True}],
    ids=["dispersion", "size"],
)
def test_the_gene_that_differs_is_found_and_batches_cancel(tmp_path, options):
    path = tmp_path / "cells.h5ad"
    _, kind, _ = simulated(path)
    warm_up = {"objective": "beta", "beta": 1.0, "anneal": "linear"}
    config = Config(**SMALL, **warm_up, **options, dataset=str(path), covariates="batch")
    run = fit(config, None, tmp_path / "run", listeners=[])
    assert run.covariates[0].categories == ("one", "two")
    split = cells.cells_of(load_run(tmp_path / "run"), str(path))
    codes = cells.latents(run, split)
    assert codes.shape == (N, 2)
    groups = (np.flatnonzero(kind == 1), np.flatnonzero(kind == 0))
    import jax

    found = cells.fold_changes(run, split, groups, jax.random.key(0), 1.0)
    assert found.probability[0] > 0.9
    assert 2.0 < found.mean[0] < 4.0  # log2 of 8 is 3
    assert (found.probability[2:] < 0.2).all()
    assert found.probability[1] < 0.3  # the batch, and not the type
    expected = cells.proportions(run, split, jax.random.key(0), 5).mean(axis=0)
    np.testing.assert_allclose(expected.sum(axis=1), 1.0, rtol=1e-4)
    name, plane = cells.in_plane(codes)
    assert name in ("X_vae_pca", "X_vae_umap")
    assert plane.shape == (N, 2)
    assert cells.as_csv(found, [f"g{i}" for i in range(D)]).splitlines()[1].startswith("g0,")


@pytest.mark.slow
def test_the_command_writes_a_copy(command, tmp_path):
    path, out = tmp_path / "cells.h5ad", tmp_path / "out.h5ad"
    simulated(path)
    options = {**SMALL, "epochs": 2}
    fit(Config(**options, dataset=str(path)), None, tmp_path / "run", listeners=[])
    call = ("-m", "experiments.cells", f"--run={tmp_path}/run", f"--cells={path}", f"--out={out}")
    result = command.python(*call, "--groups=type:B,T", f"--genes={tmp_path}/genes.csv")
    assert result.code == 0, result.err
    table = anndata.read_h5ad(out)
    assert table.obsm["X_vae"].shape == (N, 2)
    np.testing.assert_allclose(table.layers["vae_normalised"].sum(axis=1), 1e4, rtol=1e-3)
    assert len((tmp_path / "genes.csv").read_text().splitlines()) == D + 1
    result = command.python(*call, "--groups=type:B,X")
    assert result.code != 0
    assert "column type has B, T" in result.err


def test_contradictions_are_refused(tmp_path):
    with pytest.raises(BadInputError, match="which size_factors=false is not for"):
        Config(latent_size=True)
    with pytest.raises(BadInputError, match="which layers=3,2 is not for"):
        Config(latent_size=True, size_factors=True, likelihood="zinb", layers=(3, 2))
    path = tmp_path / "cells.h5ad"
    simulated(path)
    config = Config(**SMALL, dataset=str(path), likelihood="zinb", dispersion="condition")
    with pytest.raises(BadInputError, match="dispersion=condition is a dispersion for each value"):
        fit(config, None, tmp_path / "run", listeners=[])
