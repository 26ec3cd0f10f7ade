"""Shapes and values that are not those of a model are refused, with a sentence that says which."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.distributions import Bernoulli, Normal
from vae_jax.errors import BadInputError
from vae_jax.models import Model, draw, draw_batch, elbo, heads, latents, vae
from vae_jax.networks import mlp

EVENT, LATENT = (4, 3, 1), (2, 3)
MODEL = vae(EVENT, 2, encoder=mlp((5,)), decoder=mlp((5,)), latents=latents.categorical(LATENT[1]))
X = (jnp.arange(12.0) % 2).reshape(EVENT)
PARAMS = MODEL.init(jax.random.key(0), X)
KEYS = jax.random.split(jax.random.key(1), (3, 5))

# By hand, so that the shape of x is known to the likelihood alone; sums, which take any shape.
BY_HAND = Model(
    init=lambda key, x: {"bias": jnp.zeros(EVENT)},
    posterior=lambda params, x: Normal(jnp.full(2, jnp.sum(x)), jnp.zeros(2)),
    prior=lambda params: Normal(jnp.zeros(2), jnp.zeros(2)),
    likelihood=lambda params, z: Bernoulli(params["bias"] + jnp.sum(z)),
)
MODELS = {"vae": (MODEL, PARAMS), "by hand": (BY_HAND, BY_HAND.init(None, None))}
# mistake -> (shape of x, part of the sentence)
WRONG = {
    "no channel": ((4, 3), r"x has the shape \(4, 3\), but one example .* the shape \(4, 3, 1\)"),
    "flat": ((12,), r"x has the shape \(12,\), but one example .* the shape \(4, 3, 1\)"),
    "channels first": ((1, 4, 3), r"x has the shape \(1, 4, 3\), .* the shape \(4, 3, 1\)"),
    "a batch": ((5, 4, 3, 1), r"\(5, 4, 3, 1\), a batch of 5, but one example .*: use jax.vmap"),
}
WRONG_BATCH = {
    "no channel": ((5, 4, 3), r"\(5, 4, 3\), but a batch of examples .* \(N, 4, 3, 1\)"),
    "flat": ((5, 12), r"\(5, 12\), but a batch of examples .* \(N, 4, 3, 1\)"),
    "one example": (
        EVENT,
        r"\(4, 3, 1\), one example, but a batch .* \(N, 4, 3, 1\) .*: x\[None\]",
    ),
    "two axes of a batch": ((5, 1, 4, 3, 1), r"\(5, 1, 4, 3, 1\), but a batch of examples"),
}


@pytest.fixture(params=MODELS)
def model_and_params(request):
    return MODELS[request.param]


@pytest.mark.parametrize("wrong", WRONG)
def test_one_example_of_another_shape_is_refused(model_and_params, wrong):
    shape, message = WRONG[wrong]
    for given in (jnp.zeros(shape), np.zeros(shape, np.float32)):
        with pytest.raises(BadInputError, match=message):
            elbo(*model_and_params, given, jax.random.key(0))
        with pytest.raises(BadInputError, match=message):
            draw(*model_and_params, given, KEYS[:, 0])
    with pytest.raises(BadInputError, match=message):
        jax.jit(elbo, static_argnums=0)(*model_and_params, jnp.zeros(shape), jax.random.key(0))


@pytest.mark.parametrize("wrong", WRONG_BATCH)
def test_a_batch_of_another_shape_is_refused(model_and_params, wrong):
    shape, message = WRONG_BATCH[wrong]
    with pytest.raises(BadInputError, match=message):
        draw_batch(*model_and_params, jnp.zeros(shape), KEYS)
    with pytest.raises(BadInputError, match=message):
        jax.jit(draw_batch, static_argnums=0)(*model_and_params, jnp.zeros(shape), KEYS)


@pytest.mark.parametrize("wrong", WRONG)
def test_the_encoder_and_the_start_of_a_vae_refuse_an_example_of_another_shape(wrong):
    shape, message = WRONG[wrong]
    with pytest.raises(BadInputError, match=message):
        MODEL.posterior(PARAMS, jnp.zeros(shape))
    with pytest.raises(BadInputError, match=message):
        MODEL.init(jax.random.key(0), jnp.zeros(shape))


@pytest.mark.parametrize("shape", [(6,), (3, 2), (1, 2, 3)])
def test_the_decoder_of_a_vae_refuses_latents_of_another_shape(shape):
    with pytest.raises(BadInputError, match=r"z has the shape .* latent code .* \(2, 3\)"):
        MODEL.likelihood(PARAMS, jnp.zeros(shape))


def test_a_prior_of_another_shape_than_the_posterior_is_refused():
    model = BY_HAND._replace(prior=lambda params: Normal(jnp.zeros(1), jnp.zeros(1)))
    with pytest.raises(ValueError, match=r"\(1,\) has no density at a value of the shape \(2,\)"):
        elbo(model, {"bias": jnp.zeros(EVENT)}, X, jax.random.key(0))


GREY = jnp.linspace(0.0, 1.0, 12).reshape(EVENT)
NAN = X.at[0, 0, 0].set(jnp.nan)
BERNOULLI, CROSS_ENTROPY = heads.bernoulli(), heads.bernoulli_unnormalised()
NORMAL, CATEGORICAL = heads.normal_fixed_scale(0.5), heads.categorical()
ONE_HOT = jnp.eye(3)[jnp.arange(4) % 3]
OUTSIDE = [
    (BERNOULLI, GREY, r"\(between 0 and 1\) outside .* Bernoulli likelihood: zeros and ones"),
    (BERNOULLI, 255.0 * X, r"\(between 0 and 255\) outside .* the Bernoulli likelihood"),
    (BERNOULLI, NAN, r"\(not all finite\) outside .* the Bernoulli likelihood"),
    (CROSS_ENTROPY, 255.0 * X, r"255\) outside .* UnnormalisedBernoulli .*: values in \[0, 1\]"),
    (CROSS_ENTROPY, GREY - 0.1, r"between -0.1 and 0.9\) outside .* UnnormalisedBernoulli"),
    (NORMAL, NAN, r"\(not all finite\) outside .* the Normal likelihood: finite values"),
    (CATEGORICAL, jnp.full((4, 3), 1 / 3), "Categorical likelihood: one-hot vectors"),
    (CATEGORICAL, 1.0 - ONE_HOT, "Categorical likelihood: one-hot vectors"),
    (CATEGORICAL, jnp.zeros((4, 3)), "Categorical likelihood: one-hot vectors"),
]
INSIDE = [
    (BERNOULLI, X),
    (CROSS_ENTROPY, X),
    (CROSS_ENTROPY, GREY),
    (NORMAL, 255.0 * GREY - 100.0),
    (CATEGORICAL, ONE_HOT),
]


def model_of(head, event):
    model = vae(event.shape, 2, encoder=mlp((5,)), decoder=mlp((5,)), likelihood=head)
    return model, jax.jit(model.init)(jax.random.key(0), jnp.full(event.shape, 0.3))


@pytest.mark.parametrize(("head", "x", "message"), OUTSIDE)
def test_values_outside_the_support_of_the_likelihood_are_refused(head, x, message):
    model, params = model_of(head, x)
    for given in (x, np.asarray(x)):
        with pytest.raises(BadInputError, match=message):
            elbo(model, params, given, jax.random.key(0))
    with pytest.raises(BadInputError, match=message):
        jax.grad(elbo, argnums=1, has_aux=True)(model, params, x, jax.random.key(0))
    batch = jnp.stack([INSIDE[0][1] if x.shape == EVENT else ONE_HOT] * 4 + [x])
    with pytest.raises(BadInputError, match=rf"x\[4\] .*{message}"):
        draw_batch(model, params, batch, KEYS)


@pytest.mark.parametrize(("head", "x"), INSIDE)
def test_values_inside_the_support_are_those_of_the_density(head, x):
    """Checked or, under jit, not: the same numbers."""
    model, params = model_of(head, x)
    batch = jnp.stack([x] * 5)
    checked = draw_batch(model, params, batch, KEYS)
    jitted = jax.jit(draw_batch, static_argnums=0)(model, params, batch, KEYS)
    np.testing.assert_allclose(checked.log_w, jitted.log_w, rtol=1e-5)
    expected = model.likelihood(params, checked.z[1, 2]).log_prob(x)
    np.testing.assert_allclose(checked.log_likelihood[1, 2], expected, rtol=1e-5)


def test_the_cross_entropy_of_grey_values_is_that_of_the_bernoulli_formula():
    model, params = model_of(CROSS_ENTROPY, GREY)
    density = model.likelihood(params, jnp.array([0.3, -1.0]))
    p = np.asarray(density.mean, np.float64)
    expected = np.sum(GREY * np.log(p) + (1 - GREY) * np.log1p(-p))
    np.testing.assert_allclose(density.log_prob(GREY), expected, rtol=1e-5)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Anything:
    density: Bernoulli

    def sample(self, key):
        return self.density.sample(key)

    def log_prob(self, value):
        return self.density.log_prob(value)


def test_a_likelihood_that_says_nothing_of_its_support_is_used_as_it_is():
    model = BY_HAND._replace(likelihood=lambda params, z: Anything(BY_HAND.likelihood(params, z)))
    params, key = {"bias": jnp.ones(EVENT)}, jax.random.key(0)
    _, (reconstruction, _) = elbo(model, params, GREY, key)
    z = model.posterior(params, GREY).sample(key)
    np.testing.assert_allclose(
        reconstruction, BY_HAND.likelihood(params, z).log_prob(GREY), rtol=1e-5
    )


def test_integers_are_told_how_they_are_scaled():
    for given in (np.ones(EVENT, np.uint8), np.ones(EVENT, np.int64), np.ones(EVENT, bool)):
        with pytest.raises(
            TypeError, match=f"data.dynamic or data.grey .* division by 255, not {given.dtype}"
        ):
            elbo(MODEL, PARAMS, given, jax.random.key(0))
