"""Each bad input is one sentence on stderr and exit code 2, before any long work starts."""

import numpy as np
import pytest

from vae_jax.config import Config, Hardware

BAD_FLAGS = {
    "unknown data set": (("--dataset=cifar",), "cifar"),
    "missing file": (("--dataset=missing.npz",), "missing.npz"),
    "unknown value": (("--binarisation=otsu",), "dynamic, static, threshold, none"),
    "unknown network": (("--network=cnn",), "mlp, gated_mlp"),
    "unknown flag": (("--epoch=3",), "epochs"),
    "not a flag": (("epochs=3",), "'epochs=3' is not a flag"),
    "no number": (("--epochs=many",), "many"),
    "zero epochs": (("--epochs=0",), "--epochs=0"),
    "negative batch": (("--batch_size=-5",), "--batch_size=-5"),
    "zero samples": (("--num_samples=0",), "--num_samples=0"),
    "zero nll samples": (("--nll_samples=0",), "--nll_samples=0"),
    "zero width": (("--hidden=16,0",), "--hidden"),
    "no width": (("--hidden=big",), "--hidden"),
    "zero latents": (("--latent_dim=0",), "--latent_dim=0"),
    "zero learning rate": (("--learning_rate=0",), "--learning_rate"),
    "infinite learning rate": (("--learning_rate=inf",), "--learning_rate"),
    "decay of one": (("--ema_decay=1",), "--ema_decay"),
    "batch too large": (("--batch_size=111",), "--batch_size=111 is larger than"),
    "validation too large": (("--num_validation=120",), "num_validation"),
    "grey pixels": (("--binarisation=none",), "--likelihood=bernoulli_unnormalised"),
    "density of black and white": (("--likelihood=gaussian",), "--binarisation=none"),
    "groups that do not divide": (("--objective=miwae", "--num_groups=3"), "must divide the 8"),
    "option of another objective": (("--beta=2",), "--beta=2.0 is not for --objective=elbo"),
    "estimator that makes no sense": (("--objective=dip_i", "--estimator=stl"), "use pathwise"),
    "penalty on a batch of one": (("--objective=wae", "--batch_size=1"), "at least 2 examples"),
    "path through discrete latents": (("--latents=bernoulli",), "use vimco or concrete"),
    "seed too large": (("--seed=4294967296",), "--seed=4294967296"),
    "unwritable folder": (("--workdir=/proc/run",), "--workdir=/proc/run cannot be written"),
}


@pytest.mark.parametrize("case", BAD_FLAGS)
def test_bad_flags_are_one_sentence(command, case):
    flags, message = BAD_FLAGS[case]
    result = command.run("bad", *flags)
    assert result.code == 2, result
    assert message in result.err
    assert result.err.startswith("Error: ")
    assert result.err.count("\n") == 1
    assert result.err.rstrip().endswith((".", "?"))
    folder = command.folder / "bad"
    assert not folder.exists() or [path.name for path in folder.iterdir()] == [".lock"]


def test_bad_pixels_are_one_sentence(command):
    """The table of all bad files is in tests/data; this is the way through the command."""
    path = command.folder / "nan.npz"
    np.savez(path, x_train=np.full((10, 4, 4), np.nan, np.float32))
    result = command.run("bad", f"--dataset={path}")
    assert result.code == 2
    assert "nan.npz" in result.err
    assert result.err.count("\n") == 1


def test_a_folder_of_something_else_is_refused_and_left_alone(command):
    folder = command.folder / "thesis"
    folder.mkdir()
    (folder / "chapter1.tex").write_text("dear reader")
    result = command.run("thesis")
    assert result.code == 2
    assert "holds files (chapter1.tex, ...) but no flags.cfg" in result.err
    assert [path.name for path in folder.iterdir()] == ["chapter1.tex"]


def test_help_explains_every_flag(command):
    short, full = (command.run("bad", flag) for flag in ("--help", "--helpfull"))
    for result in (short, full):
        assert result.code == 0
        assert "python -m experiments.mnist --flagfile" in result.out
        for group in ("data", "model", "objective", "optimisation", "evaluation"):
            assert f"\n{group}:\n" in result.out or (result, group) == (short, "evaluation")
    names = {**Config.OPTIONS, **Hardware.OPTIONS}
    for name, known in names.items():
        assert f"\n  --{name}" in full.out
        assert (f"\n  --{name}=" in short.out) == known.first
