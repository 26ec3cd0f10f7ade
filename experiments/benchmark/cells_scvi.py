"""Trains scVI with scvi-tools, in an environment that has it and nothing of this project.

`experiments.benchmark.cells` starts it, with its settings as a JSON object. The last line that it
prints is another one: the seconds of training, and for each test cell log p(x) in nats.
"""

import json
import sys
import time

import anndata
import numpy as np
import scvi
import torch


def main(settings: dict) -> None:
    torch.set_num_threads(settings["threads"])
    scvi.settings.seed = settings["seed"]
    with np.load(settings["counts"]) as counts:
        train, test = (anndata.AnnData(counts[name]) for name in ("x_train", "x_test"))
    scvi.model.SCVI.setup_anndata(train)
    model = scvi.model.SCVI(
        train,
        n_hidden=settings["hidden"],
        n_latent=settings["latent_dim"],
        n_layers=1,
        dropout_rate=settings["dropout"],
        gene_likelihood="zinb",
        use_batch_norm="none",
        use_layer_norm="none",
    )
    begin = time.perf_counter()
    model.train(
        max_epochs=settings["epochs"],
        accelerator="cpu",
        train_size=1.0,
        batch_size=settings["batch_size"],
        enable_progress_bar=False,
        logger=False,
        plan_kwargs={"n_epochs_kl_warmup": settings["epochs"]},
    )
    seconds = time.perf_counter() - begin
    log_p = model.get_marginal_ll(
        test, n_mc_samples=settings["num_samples"], batch_size=64, return_mean=False
    )
    result = {"seconds": seconds, "log_p": np.asarray(log_p).tolist(), "version": scvi.__version__}
    print(json.dumps(result))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
