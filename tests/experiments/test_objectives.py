"""Every objective that can be asked for by name trains, and what makes no sense is refused."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.config_of import config_of
from tests.exact import jit_once
from vae_jax import data
from vae_jax.errors import BadInputError
from vae_jax.models import ModelSpec
from vae_jax.objectives import by_name
from vae_jax.runs import recipe
from vae_jax.training import make_trainer

NUM_IMAGES, BATCH_SIZE, NUM_STEPS = 600, 60, 40


@pytest.fixture(scope="module")
def digits():
    return data.load("mnist_5k", data_dir="/nowhere").train.x[:NUM_IMAGES]


def settle(*given):
    config = config_of(*given).settled()
    recipe.check(config)
    return config


def losses_of_training(digits, *given):
    """The loss of the same images and noise before and after training, and the metrics after it.

    With the objective's first state, as a constraint or discriminator changes what a loss means.
    """
    config = settle(f"--batch_size={BATCH_SIZE}", "--epochs=4", *given)
    model = ModelSpec(
        event_shape=(28, 28, 1),
        latent_dim=6,
        layers=config.layers,
        latents=config.latents,
        num_categories=config.num_categories,
        num_codes=32,
        code_dim=4,
        network="mlp",
        hidden=(32,),
    ).build()
    objective = recipe.objective_of(config, NUM_IMAGES, NUM_IMAGES // BATCH_SIZE)
    trainer = make_trainer(
        model, objective, optax.adam(5e-3), num_samples=config.num_samples, clip_norm=200.0
    )
    chex.clear_trace_counter()
    step = jit_once(chex.assert_max_traces(trainer.step, n=1))
    first = state = jax.jit(trainer.init)(jax.random.key(0), data.mean_example(digits))
    batches = jnp.asarray(digits, jnp.float32).reshape(-1, BATCH_SIZE, 28, 28, 1) / 255.0
    for i in range(NUM_STEPS):
        state, _ = step(state, batches[i % len(batches)])
    _, before = step(first, batches[0])
    _, after = step(first._replace(params=state.params), batches[0])
    return before["loss"], after["loss"], after


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n, c in by_name.OBJECTIVES.items() if not c.of_labels])
def test_every_objective_compiles_once_lowers_its_loss_and_reports_the_true_elbo(name, digits):
    choice = by_name.OBJECTIVES[name]
    fixed = ("--anneal=none",) if choice.annealed else ()
    fixed += ("--layers=6,3",) if choice.of_layers else ()
    fixed += ("--latents=vq", "--estimator=straight_through") if choice.of_codes else ()
    before, after, metrics = losses_of_training(digits, f"--objective={name}", *fixed)
    chex.assert_tree_all_finite(metrics)
    assert after < before - 10
    expected = metrics["reconstruction"] - metrics["kl"]
    np.testing.assert_allclose(metrics["elbo"], expected, rtol=1e-5)
    assert -250 < metrics["elbo"] < -100


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["vimco", "concrete"])
@pytest.mark.parametrize("latents", ["bernoulli", "categorical"])
def test_discrete_latents_train_by_estimators_that_need_no_path(estimator, latents, digits):
    before, after, metrics = losses_of_training(
        digits, "--objective=iwae", f"--estimator={estimator}", f"--latents={latents}"
    )
    chex.assert_tree_all_finite(metrics)
    assert after < before - 5
    assert metrics["kl"] > 0.1  # the latents are used


# flags -> what the sentence says
REFUSED = {
    ("--objective=miwae", "--num_groups=3"): "num_groups=3 must divide the 8 samples.",
    ("--objective=piwae", "--num_groups=16"): "num_groups=16 must divide the 8 samples.",
    ("--objective=miwae", "--num_groups=0"): "num_groups must be at least 1, not 0.",
    (
        "--objective=renyi",
        "--alpha=nan",
    ): "alpha must be within 1e30 of 0, or -inf or inf",
    ("--objective=ciwae", "--beta=1.5"): "The beta of CIWAE must lie in [0, 1], not 1.5.",
    ("--objective=tvo", "--num_intervals=0"): "num_intervals must be at least 1, not 0.",
    ("--objective=beta", "--beta=-1"): "beta must be finite and not negative, not -1.0.",
    ("--objective=beta", "--beta=-1", "--anneal=linear"): "beta must be finite and not",
    ("--objective=capacity", "--gamma=-1"): "gamma must be finite and not negative, not -1.0.",
    (
        "--objective=capacity",
        "--target_kl=-1",
    ): "target_kl must be finite and not negative",
    (
        "--objective=free_bits",
        "--free_nats=-1",
    ): "free_nats must be finite and not negative",
    ("--objective=free_bits", "--num_groups=7"): "num_groups=7 must divide the 40 latents.",
    ("--objective=factor", "--gamma=-1"): "gamma must be finite and not negative, not -1.0.",
    ("--objective=dip_i", "--diagonal=-1"): "diagonal must be finite and not negative, not -1.0.",
    ("--objective=mmd", "--mmd_weight=-1"): "mmd_weight must be finite and not negative, not -1.0.",
    ("--objective=wae", "--batch_size=1"): "needs at least 2 examples, not 1.",
    ("--objective=mmd", "--batch_size=1"): "needs at least 2 examples, not 1.",
    ("--objective=factor", "--batch_size=1"): "needs at least 2 examples, not 1.",
    ("--objective=beta_tc", "--batch_size=1"): "needs at least 2 examples, not 1.",
    ("--objective=dip_i", "--batch_size=1"): "needs at least 2 examples, not 1.",
    ("--objective=dip_ii", "--batch_size=1"): "needs at least 2 examples, not 1.",
    ("--objective=elbo", "--beta=2"): "beta=2.0 is not for objective=elbo but for ciwae, beta,",
    ("--objective=iwae", "--kernel=rbf"): "kernel=rbf is not for objective=iwae but for mmd, wae.",
    ("--objective=iwae", "--anneal=linear"): "use objective=beta with beta=1.",
    ("--objective=beta", "--anneal_epochs=3"): "anneal_epochs=3.0 needs anneal=linear",
    ("--objective=beta", "--anneal=linear", "--anneal_epochs=99"): "at most epochs=50.",
    ("--objective=beta", "--estimator=stl"): "estimator=stl cannot train objective=beta",
    ("--objective=factor", "--estimator=vimco"): "needs gradients through the latents",
    ("--estimator=concrete",): "A Normal posterior is not discrete",
    ("--estimator=vimco", "--num_samples=1"): "VIMCO needs num_samples of at least 2, not 1.",
    (
        "--estimator=concrete",
        "--temperature=0",
    ): "The temperature must lie in [1e-6, 1e6]",
    ("--temperature=0.3",): "temperature=0.3 is for estimator=concrete, not for",
    ("--latents=bernoulli",): "use vimco, concrete or straight_through.",
    ("--latents=categorical", "--objective=iwae", "--estimator=stl"): (
        "use vimco, concrete or straight_through."
    ),
    ("--latents=bernoulli", "--objective=factor"): "use latents=normal.",
    ("--objective=beta", "--beta=inf"): "beta must be finite and not negative, not inf.",
    ("--objective=beta_tc", "--beta=nan"): "beta must be finite and not negative, not nan.",
    ("--objective=geco", "--target_reconstruction=nan"): "must be finite, not nan.",
    ("--objective=renyi", "--alpha=1e38"): "or -inf or inf, not 1e+38.",
    ("--objective=renyi", "--alpha=-inf", "--estimator=dreg"): "badly biased for alpha=-inf",
}


@pytest.mark.parametrize("given", REFUSED, ids=" ".join)
def test_what_makes_no_sense_is_refused_with_the_reason(given):
    with pytest.raises(BadInputError) as refused:
        settle(*given)
    assert REFUSED[given] in str(refused.value)
    assert str(refused.value).endswith(".")


def test_settling_fills_in_the_defaults_of_the_objective():
    config = settle("--objective=capacity", "--epochs=20")
    assert config.target_kl == 25.0
    assert config.anneal == "linear"
    assert config.anneal_epochs == 10.0
    assert config.num_samples == 1
    assert config.beta is None


@pytest.mark.parametrize(
    ("given", "num_samples"),
    [((), 1), (("--objective=iwae",), 8), (("--estimator=vimco", "--latents=bernoulli"), 8)],
)
def test_the_default_number_of_samples_is_what_objective_and_estimator_need(given, num_samples):
    config = settle(*given)
    assert config.num_samples == num_samples


@pytest.mark.parametrize(
    ("anneal", "values"),
    [
        ("linear", {0: 0.0, 25: 1.0, 50: 2.0, 80: 2.0}),
        ("sigmoid", {0: 0.0, 25: 1.0, 50: 2.0, 80: 2.0}),
        ("cyclical", {0: 0.0, 25: 0.0, 31: 0.96, 40: 2.0, 60: 1.6, 100: 2.0}),
        ("none", {0: 2.0, 50: 2.0}),
    ],
)
def test_annealing_is_of_the_step(anneal, values, digits):
    """Half of 10 epochs of 10 steps; four cycles take all of them."""
    config = settle("--objective=beta", "--beta=2", f"--anneal={anneal}", "--epochs=10")
    objective = recipe.objective_of(config, num_examples=100, steps_per_epoch=10)
    model = ModelSpec(event_shape=(4,), latent_dim=2, network="mlp", hidden=()).build()
    trainer = make_trainer(model, objective, optax.sgd(0.0))
    state = trainer.init(jax.random.key(0), jnp.full(4, 0.5))
    step = jax.jit(trainer.step)
    for at, expected in values.items():
        _, metrics = step(state._replace(step=jnp.asarray(at, jnp.int32)), jnp.ones((3, 4)))
        np.testing.assert_allclose(metrics["beta"], expected, atol=1e-5)
