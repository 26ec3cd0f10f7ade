"""The reports of every objective, and how an estimator reaches it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.exact import linear_vae, random_encoder
from vae_jax.models import draw_batch, mean_elbo
from vae_jax.objectives import bounds, closed_form_elbo, estimators, maximise, split

LINEAR = linear_vae()
PARAMS = random_encoder(LINEAR.exact_params, 0)
KEYS = jax.random.split(jax.random.key(0), (6, 5))

# name -> (objective, whether its KL is in closed form, bound [B] that it maximises)
OBJECTIVES = {
    "elbo": (closed_form_elbo(), True, lambda draw: mean_elbo(draw)[0]),
    "sampled_elbo": (maximise(bounds.elbo), False, lambda draw: bounds.elbo(draw.log_w)),
    "iwae": (maximise(bounds.iwae), False, lambda draw: bounds.iwae(draw.log_w)),
    "iwae by DReG": (
        maximise(bounds.iwae, estimators.doubly_reparameterised),
        False,
        lambda draw: bounds.iwae(draw.log_w),
    ),
    "piwae": (
        split(bounds.iwae, bounds.miwae(2)),
        False,
        lambda draw: bounds.iwae(draw.log_w),
    ),
}


def draw_fn_of(params):
    return partial(draw_batch, LINEAR.model, params, LINEAR.x, KEYS)


DRAW = jax.jit(lambda params: draw_fn_of(params)())


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_loss_is_minus_the_mean_bound_and_the_true_elbo_is_reported(name):
    objective, closed_form_kl, bound = OBJECTIVES[name]
    draw = DRAW(PARAMS)
    state = objective.init(jax.random.key(1), draw)
    loss, (new_state, metrics) = jax.jit(
        lambda params: objective.loss(state, 0, jax.random.key(1), draw_fn_of(params))
    )(PARAMS)
    np.testing.assert_allclose(loss, -np.mean(bound(draw)), rtol=1e-6)
    elbo, terms = mean_elbo(draw)
    if not closed_form_kl:
        kl = jnp.mean(draw.log_posterior - draw.log_prior, axis=0)
        elbo, terms = terms.reconstruction - kl, terms._replace(kl=kl)
    np.testing.assert_allclose(metrics["elbo"], np.mean(elbo), rtol=1e-6)
    np.testing.assert_allclose(metrics["reconstruction"], np.mean(terms.reconstruction), rtol=1e-6)
    np.testing.assert_allclose(metrics["kl"], np.mean(terms.kl), rtol=1e-6)
    if "bound" in metrics:
        np.testing.assert_allclose(metrics["bound"], -loss, rtol=1e-6)
    if "encoder_bound" in metrics:
        expected = np.mean(bounds.miwae(2)(draw.log_w))
        np.testing.assert_allclose(metrics["encoder_bound"], expected, rtol=1e-6)
    assert new_state == state


def test_the_elbo_in_closed_form_has_the_gradient_of_its_terms():
    """By an estimator of the reconstruction alone; the KL term needs none."""

    def loss(params):
        return closed_form_elbo().loss((), 0, jax.random.key(1), draw_fn_of(params))[0]

    def by_hand(params):
        return -jnp.mean(mean_elbo(draw_fn_of(params)())[0])

    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
        jax.jit(jax.grad(loss))(PARAMS),
        jax.jit(jax.grad(by_hand))(PARAMS),
    )


@pytest.mark.parametrize(
    "estimator", [estimators.sticking_the_landing, estimators.doubly_reparameterised]
)
def test_estimators_of_the_sampled_posterior_are_refused_where_the_kl_is_in_closed_form(estimator):
    with pytest.raises(ValueError, match="which a KL term in closed form does not have"):
        closed_form_elbo(estimator).loss((), 0, jax.random.key(1), draw_fn_of(PARAMS))
