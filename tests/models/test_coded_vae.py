"""VAEs with codes against enumeration: their bound is below log p(x), and equal where it can be."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from vae_jax.distributions import Code
from vae_jax.models import draw_batch, heads, latents, priors, quantisers, vae
from vae_jax.networks import conv, mlp, pixelcnn, resnet, transformer

D, PLACES, CODES = 5, 2, 3
QUANTISER = quantisers.vector_quantiser(CODES, 4)


def coded(prior=None, quantiser=QUANTISER):
    model = vae(
        (D,),
        PLACES,
        encoder=mlp((8,)),
        decoder=mlp((8,)),
        latents=latents.codes(quantiser),
        prior=prior,
    )
    params = model.init(jax.random.key(0), jnp.full(D, 0.4))
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = [of + jax.random.normal(key, of.shape) for of, key in zip(leaves, keys, strict=True)]
    return model, jax.tree.unflatten(structure, noisy)


def all_codes(model, params, quantiser):
    index = np.array(list(itertools.product(range(quantiser.num_codes), repeat=PLACES)))
    index = jnp.asarray(index.reshape(-1, PLACES, quantiser.num_indices))
    return Code(index, jax.vmap(model.prior(params).vectors)(index))


def log_joint(model, params, x, codes):
    """log p(x, z) of all codes z, [Z]."""
    p = model.prior(params)

    def of(code):
        return p.log_prob(code) + model.likelihood(params, code).log_prob(x)

    return np.asarray(jax.jit(jax.vmap(of))(codes), np.float64)


@pytest.mark.parametrize("prior", ["uniform", "pixelcnn", "transformer"])
@pytest.mark.parametrize("quantiser", ["vq", "fsq", "lfq"])
def test_the_bound_is_one_code_s_part_of_the_evidence(prior, quantiser):
    of = {
        "vq": QUANTISER,
        "fsq": quantisers.finite_scalar_quantiser((3, 2)),
        "lfq": quantisers.binary_quantiser(2),
    }[quantiser]
    usual = latents.codes(of).prior(PLACES)
    networks = {"pixelcnn": pixelcnn(4, 2, 3), "transformer": transformer(4, 1, 2)}
    chosen = None if prior == "uniform" else priors.causal(usual, networks[prior])
    model, params = coded(chosen, of)
    codes = all_codes(model, params, of)
    x = jax.random.bernoulli(jax.random.key(2), 0.5, (6, D)).astype(jnp.float32)
    total = np.exp(np.asarray(jax.vmap(model.prior(params).log_prob)(codes), np.float64)).sum()
    assert total == pytest.approx(1.0, abs=1e-5)
    keys = jax.random.split(jax.random.key(3), (1, 6))
    draw = draw_batch(model, params, x, keys)
    for at in range(6):
        joint = log_joint(model, params, x[at], codes)
        chosen_code = draw.z.index[0, at]
        place = int(np.argmax((np.asarray(codes.index) == chosen_code[None]).all(axis=(1, 2))))
        np.testing.assert_allclose(draw.log_w[0, at], joint[place], rtol=1e-5)
        assert float(draw.log_w[0, at]) <= logsumexp(joint) + 1e-6
    np.testing.assert_array_equal(draw.log_posterior, np.zeros((1, 6)))


def test_the_bound_is_the_evidence_where_the_posterior_is_the_code():
    """A decoder that says its code, which every x then betrays."""
    quantiser = quantisers.binary_quantiser(2)

    def identity(input_shape, output_shape, *condition_shape):
        network = mlp(())(input_shape, output_shape)

        def init(key, output_bias=0.0):
            params = network.init(key, 0.0)
            eye = 30.0 * jnp.eye(*params["output"]["kernel"].shape)
            return {"output": {"kernel": eye, "bias": jnp.zeros(output_shape).ravel()}}

        return network._replace(init=init)

    model = vae(
        (4,), 2, encoder=identity, decoder=identity, latents=latents.codes(quantiser),
        likelihood=heads.bernoulli(), encoder_inputs=lambda x: 2.0 * x - 1.0,
    )  # fmt: skip
    params = model.init(jax.random.key(0), jnp.full(4, 0.5))
    x = jnp.asarray(list(itertools.product((0.0, 1.0), repeat=4)))
    codes = all_codes(model, params, quantiser)
    bound = draw_batch(model, params, x, jax.random.split(jax.random.key(1), (1, 16))).log_w[0]
    exact = [logsumexp(log_joint(model, params, one, codes)) for one in x]
    np.testing.assert_allclose(bound, exact, atol=1e-5)
    np.testing.assert_allclose(exact, np.full(16, -4 * np.log(2)), atol=1e-5)


@pytest.mark.parametrize("architecture", [conv, resnet])
def test_convolutional_codes_keep_the_plane(architecture):
    quantiser = quantisers.finite_scalar_quantiser((3, 3))
    model = vae(
        (9, 10, 1), 1,
        encoder=architecture((4, 6)), decoder=architecture((4, 6)),
        latents=latents.codes(quantiser, (3, 3)),
    )  # fmt: skip
    params = model.init(jax.random.key(0), jnp.full((9, 10, 1), 0.3))
    x = jnp.zeros((9, 10, 1)).at[0, 0].set(1.0)
    q = model.posterior(params, x)
    assert q.index.shape == (3, 3, 1)
    # A pixel in a corner changes the outputs there, and not those of the other corner.
    other = model.posterior(params, jnp.zeros((9, 10, 1)))
    change = np.abs(np.asarray(q.outputs - other.outputs)).sum(axis=-1)
    assert change[0, 0] > 0.0
    if architecture is conv:
        assert change[-1, -1] == 0.0
    assert model.likelihood(params, q.sample(jax.random.key(0))).event_shape == (9, 10, 1)


def test_stages_that_do_not_lead_to_the_grid_are_refused():
    with pytest.raises(ValueError, match="do not lead from"):
        conv((4, 6))((8, 8, 1), (4, 4, 2))
