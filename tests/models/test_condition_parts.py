"""Which parts of a model take the condition, its learned prior, and examples without one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import conditional
from tests.conditional import CONDITIONS, STD, C, D, L, truth
from vae_jax.errors import BadInputError
from vae_jax.evidence import linear_gaussian, quadrature
from vae_jax.models import (
    Batch,
    Sized,
    draw_batch,
    dropped,
    given,
    heads,
    hierarchy,
    no_condition,
    priors,
    vae,
)
from vae_jax.networks import mlp

X = jnp.asarray(np.random.default_rng(3).normal(size=D), jnp.float32)


def linear(**options):
    return vae(
        (D,), L, encoder=mlp(()), decoder=mlp(()), likelihood=heads.normal_fixed_scale(STD),
        condition_shape=(C,), **options,
    )  # fmt: skip


def test_a_conditional_prior_is_that_of_the_closed_form():
    """z ~ N(U c, I), as the hand-made prior of `conditional.model`, and its evidence."""
    _, params = conditional.model()
    prior = priors.conditional(heads.diagonal_normal(), (L,), (C,))
    model = linear(prior=prior)
    kernel = jnp.concatenate([conditional.U.T, jnp.zeros((C, L))], axis=1)
    network = {"output": {"kernel": kernel, "bias": jnp.zeros(2 * L)}}
    params = {**params, "prior": {"network": network, "head": {}}}
    for c in CONDITIONS[:3]:
        of_c = given(model, c)
        np.testing.assert_allclose(of_c.prior(params).mean, conditional.U @ c, rtol=1e-6)
        found = jax.jit(lambda of_c=of_c: quadrature.integrate(of_c, params, X).log_evidence)()
        np.testing.assert_allclose(found, linear_gaussian.log_evidence(truth(c), X), atol=2e-4)


def test_a_conditional_prior_starts_at_the_standard_one_and_needs_a_condition():
    prior = priors.conditional(heads.diagonal_normal(), (L,), (C,), mlp((7,)))
    params = prior.init(jax.random.key(0), X)
    found = prior.apply(params, None, CONDITIONS[0])
    np.testing.assert_array_equal(found.mean, 0.0)
    np.testing.assert_array_equal(found.log_std, 0.0)
    with pytest.raises(BadInputError, match="needs a condition"):
        prior.apply(params, None, None)


def depends(function, c):
    return bool(np.any(np.abs(jax.jacobian(lambda c: jax.tree.leaves(function(c))[0])(c)) > 0))


PARTS = [("encoder", "prior", "decoder"), ("decoder",), ("encoder", "decoder"), ("prior",)]


@pytest.mark.parametrize("parts", PARTS, ids=",".join)
@pytest.mark.parametrize("kind", ["flat", "bottom_up", "top_down", "independent"])
def test_the_parts_that_are_named_take_the_condition_and_no_others(parts, kind):
    network, second = mlp((5,)), {"condition_shape": (C,), "condition_in": parts}
    if kind == "flat":
        size = C if "prior" in parts else 0
        model = vae((4,), L, prior=priors.mixture(L, 2, condition_size=size), **second)
    else:
        networks = dict.fromkeys(("encoder", "decoder", "between"), network)
        model = hierarchy((4,), (3, L), inference=kind, **networks, **second)
    x, c = jnp.ones(4), CONDITIONS[0]
    params = model.init(jax.random.key(0), jnp.full(4, 0.5))
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)
    z = given(model, c).prior(params).sample(jax.random.key(1))

    def log_prior(c):
        return model.prior(params, c).log_prob(z)

    def log_posterior(c):
        return model.posterior(params, x, c).log_prob(z)

    # A ladder goes through p(z_1|z_2), which is of the prior.
    in_q = "encoder" in parts or (kind == "top_down" and "prior" in parts)
    assert depends(log_prior, c) == ("prior" in parts)
    assert depends(log_posterior, c) == in_q
    assert depends(lambda c: model.likelihood(params, z, c).mean, c) == ("decoder" in parts)


def test_a_condition_that_is_none_is_zeros_with_a_zero_beside_them():
    """An affine decoder shows what it gets: its last input tells zeros from no condition."""
    model = linear(condition_optional=True)
    params = model.init(jax.random.key(0), X)
    kernel = params["decoder"]["output"]["kernel"]
    assert kernel.shape == (L + C + 1, D)
    bias, z = params["decoder"]["output"]["bias"], jnp.ones(L)
    for c, inputs in (
        (CONDITIONS[0], [*CONDITIONS[0], 1.0]),
        (jnp.zeros(C), [*jnp.zeros(C), 1.0]),
        (no_condition(CONDITIONS[0]), jnp.zeros(C + 1)),
    ):
        expected = jnp.concatenate([z, jnp.asarray(inputs)]) @ kernel + bias
        np.testing.assert_allclose(model.likelihood(params, z, c).mean, expected, rtol=1e-5)
    keys = jax.random.split(jax.random.key(1), (2, 3))
    batch = Batch(jnp.stack([X] * 3), no_condition(CONDITIONS[:3]))
    gradient = jax.grad(lambda params: draw_batch(model, params, batch, keys).log_w.mean())(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert np.abs(gradient["decoder"]["output"]["kernel"][L:]).max() == 0.0


def test_conditions_are_dropped_whole_with_their_probability_and_size_factors_stay():
    c = Sized(jnp.arange(20_000.0), jnp.ones((20_000, C)))
    found = dropped(jax.random.key(0), c, 0.3)
    np.testing.assert_array_equal(found.size, c.size)
    is_dropped = np.isnan(found.inputs)
    assert (is_dropped.all(axis=1) == is_dropped.any(axis=1)).all()
    share = is_dropped[:, 0].mean()
    assert abs(share - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 20_000)
    np.testing.assert_array_equal(found.inputs[~is_dropped[:, 0]], 1.0)


def test_unknown_parts_are_refused():
    with pytest.raises(ValueError, match="must be some of encoder, prior, decoder"):
        linear(condition_in=("likelihood",))
