"""A batch that two devices share has the loss and gradient that it has on one."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from vae_jax.distributions import Normal
from vae_jax.models import Batch, hierarchy, latents, vae
from vae_jax.networks import mlp
from vae_jax.objectives import beta_tcvae, bounds, closed_form_elbo, estimators, maximise
from vae_jax.training.divided import value_and_gradient

LEARNED_PRIOR = "a prior with parameters of its own"
MODEL = vae((4,), 2, encoder=mlp((8,)), decoder=mlp((8,)))
MODELS = {
    "normal": MODEL,
    "bernoulli": vae((4,), 3, encoder=mlp((8,)), decoder=mlp((8,)), latents=latents.bernoulli()),
    "hierarchy": hierarchy((4,), (2, 1), inference="independent", encoder=mlp((8,))),
    "dropout": vae((4,), 2, encoder=mlp((8,), dropout=0.3), decoder=mlp((8,))),
    LEARNED_PRIOR: MODEL._replace(
        init=lambda key, x: {**MODEL.init(key, x), "prior": jnp.array([0.5, -1.0])},
        prior=lambda params: Normal(params["prior"], jnp.zeros(2)),
    ),
}
# The gradient routes that estimators close or weigh, and objectives of the batch as a whole.
CASES = {
    "ELBO": ("normal", closed_form_elbo()),
    "ELBO of " + LEARNED_PRIOR: (LEARNED_PRIOR, closed_form_elbo()),
    "ELBO with dropout": ("dropout", closed_form_elbo()),
    "ELBO of a hierarchy": ("hierarchy", closed_form_elbo()),
    "IWAE by DReG": ("normal", maximise(bounds.iwae, estimators.doubly_reparameterised)),
    "IWAE by VIMCO, discrete": ("bernoulli", maximise(bounds.iwae, estimators.vimco)),
    "total correlation": ("normal", beta_tcvae(100, 4.0)),
}


def shared_by(num_devices):
    return NamedSharding(Mesh(np.array(jax.devices()[:num_devices]), ("batch",)), P("batch"))


@functools.cache
def program(name, sharding):
    model, objective = MODELS[CASES[name][0]], CASES[name][1]
    x = jax.random.bernoulli(jax.random.key(0), 0.4, (6, 4)).astype(jnp.float32)
    params = model.init(jax.random.key(1), x[0])
    noise_keys = jax.random.split(jax.random.key(2), (3, 6))
    loss = functools.partial(objective.loss, (), jnp.int32(3), jax.random.key(4))

    def evaluate(params, x, noise_keys):
        keys = None if model.posterior_with_dropout is None else noise_keys[0]
        return value_and_gradient(
            loss, model, params, x, noise_keys, dropout_keys=keys, sharding=sharding
        )

    return jax.jit(evaluate).lower(params, x, noise_keys).compile(), (params, x, noise_keys)


def run(name, sharding):
    compiled, arguments = program(name, sharding)
    return compiled(*jax.device_put(arguments, compiled.input_shardings[0]))


@pytest.mark.parametrize("name", CASES)
def test_the_loss_and_its_gradient_are_those_of_one_device(name):
    (loss, (_, metrics)), gradient = run(name, None)
    (other_loss, (_, other_metrics)), other_gradient = run(name, shared_by(2))
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient)) > 0.05
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(other, one, rtol=2e-5, atol=2e-6),
        (loss, metrics, gradient),
        (other_loss, other_metrics, other_gradient),
    )


def test_the_gradient_is_summed_over_devices_in_one_piece():
    compiled, (params, *_) = program("ELBO", shared_by(2))
    num_params = sum(leaf.size for leaf in jax.tree.leaves(params))
    sums = re.findall(r"= \(?(.*?)\)? all-reduce(?:-start)?\(", compiled.as_text())
    shapes = re.findall(r"f32\[([\d,]*)\]", ", ".join(sums))
    assert f"{num_params}" in shapes
    assert set(shapes) <= {f"{num_params}", ""}  # numbers that are reported, and no more arrays
    assert "all-gather" not in compiled.as_text()


def test_a_loss_that_asks_twice_for_the_same_draw_gets_one():
    keys = jax.random.split(jax.random.key(0), (2, 4))
    model = vae((3,), 2, encoder=mlp((4,)), decoder=mlp((4,)))
    params, x = model.init(jax.random.key(1), jnp.zeros(3)), jnp.ones((4, 3))
    same = []

    def loss(draw_fn):
        weights = jnp.ones((2, 4))
        same.extend(
            [
                draw_fn() is draw_fn(),
                draw_fn(path=False) is draw_fn(),
                draw_fn(path=False, score=False) is draw_fn(score=False, path=False),
                draw_fn(path=weights) is draw_fn(path=weights),
            ]
        )
        return jnp.mean(draw_fn().log_w), None

    value_and_gradient(loss, model, params, Batch(x), keys)
    assert same == [True, False, True, False]
