"""Each bad input is one sentence on stderr and exit code 2, before any long work starts."""

import jax
import numpy as np
import pytest

import vae_jax as vj
from vae_jax.config import Config, Hardware, read
from vae_jax.errors import BadInputError

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
    "grey pixels": (
        ("--binarisation=none", "--likelihood=bernoulli"),
        "--likelihood=bernoulli_unnormalised",
    ),
    "levels of black and white": (
        ("--likelihood=categorical", "--binarisation=static"),
        "--binarisation=none",
    ),
    "density of black and white": (
        ("--likelihood=gaussian", "--binarisation=dynamic"),
        "--binarisation=none",
    ),
    "counts of pixels": (("--likelihood=poisson",), "use --likelihood=discretised_logistic"),
    "option of another likelihood": (
        ("--likelihood_std=0.3", "--likelihood=laplace"),
        "--likelihood_std=0.3 is not for --likelihood=laplace but for gaussian",
    ),
    "option of another network": (
        ("--channels=3",),
        "--channels=3 is not for --network=mlp but for conv, resnet",
    ),
    "groups of channels": (
        ("--network=resnet", "--channels=6,8", "--norm_groups=4"),
        "--norm_groups=4 must divide the channels, 6,8",
    ),
    "dropout of all units": (("--dropout=1",), "--dropout=1.0 must be at least 0 and below 1"),
    "dropout of another encoder": (
        ("--encoder=conv", "--dropout=0.1"),
        "--dropout=0.1 is not for --encoder=conv but for mlp, gated_mlp",
    ),
    "labels that are not there": (("--condition=labels",), "needs a label for each example"),
    "size of no pictures": (("--image_size=8",), "is for a folder of pictures"),
    "groups that do not divide": (("--objective=miwae", "--num_groups=3"), "must divide the 8"),
    "option of another objective": (("--beta=2",), "--beta=2.0 is not for --objective=elbo"),
    "estimator that makes no sense": (("--objective=dip_i", "--estimator=stl"), "use pathwise"),
    "penalty on a batch of one": (("--objective=wae", "--batch_size=1"), "at least 2 examples"),
    "path through discrete latents": (
        ("--latents=bernoulli",),
        "use vimco, concrete or straight_through",
    ),
    "gradient steps of discrete latents": (
        ("--latents=bernoulli", "--estimator=vimco", "--refine_steps=3"),
        "--refine_steps=3 is for continuous latents, and --latents=bernoulli is discrete",
    ),
    "options without gradient steps": (
        ("--refine_rate=0.3",),
        "--refine_rate=0.3 is for refine_steps above 0, and --refine_steps=0",
    ),
    "a chain and an estimator that needs a density": (
        ("--posterior=uha", "--estimator=stl"),
        "--estimator=stl needs log q(z|x) at a given z, which --posterior=uha does not have",
    ),
    "a prior alone without a run": (
        ("--prior=vamp", "--train_only=prior"),
        "--train_only=prior needs start, the folder of a finished run",
    ),
    "a start that is no run": (
        ("--start=nowhere",),
        "holds no flags.cfg, as the folder of a run does",
    ),
    "continuous posterior of discrete latents": (
        ("--latents=bernoulli", "--estimator=vimco", "--posterior=iaf"),
        "--posterior=iaf is for continuous latents",
    ),
    "continuous prior of discrete latents": (
        ("--latents=bernoulli", "--estimator=vimco", "--prior=flow"),
        "--prior=flow is for continuous latents",
    ),
    "discrete prior": (("--prior=autoregressive",), "is for discrete latents"),
    "coupling of one latent": (
        ("--posterior=coupling", "--latent_dim=1"),
        "--posterior=coupling couples two halves of the latents, and --latent_dim=1",
    ),
    "coupling prior of one latent": (
        ("--prior=flow", "--latent_dim=1"),
        "--prior_flow=spline couples two halves of the latents, and --latent_dim=1",
    ),
    "density of a planar flow": (
        ("--posterior=planar", "--estimator=stl"),
        "--estimator=stl needs log q(z|x) at a given z, which --posterior=planar does not have",
    ),
    "two bounds of a sylvester flow": (
        ("--posterior=sylvester", "--objective=piwae"),
        "--objective=piwae needs log q(z|x) at a given z",
    ),
    "pseudo-inputs of a planar flow": (
        ("--posterior=planar", "--prior=vamp"),
        "--prior=vamp needs log q(z|u) at a given z",
    ),
    "decay of exemplars": (
        ("--prior=exemplar", "--weight_decay=0.1"),
        "--weight_decay=0.1 would shrink the training examples that --prior=exemplar holds",
    ),
    "means of a flow": (("--posterior=iaf", "--prior=exemplar"), "needs the mean of q(z|x)"),
    "more pseudo-inputs than examples": (
        ("--prior=vamp", "--prior_components=111"),
        "--prior_components=111 of --prior=vamp is more than the 110 training examples",
    ),
    "option of another posterior": (
        ("--posterior_rank=3",),
        "--posterior_rank=3 is not for --posterior=diagonal but for low_rank",
    ),
    "option of another prior": (
        ("--prior_components=3",),
        "--prior_components=3 is not for --prior=normal but for mixture, vamp, exemplar",
    ),
    "independent latents of a flow": (
        ("--posterior=iaf", "--objective=dip_i"),
        "needs independent latents",
    ),
    "target out of reach": (
        ("--objective=geco", "--target_reconstruction=10"),
        "--target_reconstruction=10.0 cannot be reached",
    ),
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


OF_A_CONFIGURATION = {
    case: (dict(flag[2:].split("=", 1) for flag in given), message)
    for case, (given, message) in BAD_FLAGS.items()
    if all(flag[2:].split("=")[0] in Config.OPTIONS for flag in given)
}


@pytest.mark.parametrize("case", OF_A_CONFIGURATION)
def test_the_library_refuses_what_the_command_refuses(command, case, tmp_path):
    """In its own words: those of a flag without its dashes."""
    texts, message = OF_A_CONFIGURATION[case]
    small = {"dataset": str(command.data), "network": "mlp", "hidden": "16", "batch_size": "20"}
    with pytest.raises(BadInputError) as refused:
        vj.fit(read(Config, small | texts), workdir=tmp_path / "run", listeners=[])
    assert message.replace("--", "") in str(refused.value)
    assert not list(tmp_path.glob("run/*.cfg"))


SETTINGS = {
    "JAX_DISABLE_JIT": ("1", "JAX is set to jax_disable_jit=true, and a run compiles"),
    "JAX_TRANSFER_GUARD": ("disallow", "JAX is set to jax_transfer_guard=disallow, and a run"),
    "JAX_NUMPY_DTYPE_PROMOTION": ("strict", "JAX is set to jax_numpy_dtype_promotion=strict"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_of_jax_that_forbid_a_run_are_one_sentence(command, name, monkeypatch):
    value, message = SETTINGS[name]
    monkeypatch.setitem(command.environment, name, value)
    result = command.finish(command.start("bad"))  # JAX reads them when it is imported
    assert result.code == 2
    assert result.err.startswith(f"Error: {message}")
    assert result.err.count("\n") == 1


@pytest.mark.parametrize(
    "setting",
    [
        jax.disable_jit,
        lambda: jax.transfer_guard_device_to_host("disallow"),
        lambda: jax.numpy_dtype_promotion("strict"),
    ],
)
def test_the_library_refuses_these_settings_too(setting):
    with setting(), pytest.raises(BadInputError, match="JAX is set to jax_"):
        vj.fit(listeners=[])
    with setting(), pytest.raises(BadInputError, match="JAX is set to jax_"):
        vj.sweep(vj.Config(), vj.Grid(2), "unused", listeners=[])


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
