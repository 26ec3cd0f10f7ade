import jax
import numpy as np
import pytest

from tests.exact import linear_vae, random_encoder
from vae_jax.models import draw_batch, mean_elbo
from vae_jax.objectives import bounds, closed_form_elbo, maximise

LINEAR = linear_vae()
PARAMS = random_encoder(LINEAR.exact_params, 0)
KEYS = jax.random.split(jax.random.key(0), (6, 5))

# name -> (objective, whether its KL is in closed form, bound [B] that it maximises)
OBJECTIVES = {
    "elbo": (closed_form_elbo(), True, lambda draw: mean_elbo(draw)[0]),
    "sampled_elbo": (maximise(bounds.elbo), False, lambda draw: bounds.elbo(draw.log_w)),
    "iwae": (maximise(bounds.iwae), False, lambda draw: bounds.iwae(draw.log_w)),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_loss_is_minus_the_mean_bound_and_the_true_elbo_is_reported(name):
    objective, closed_form_kl, bound = OBJECTIVES[name]
    draw = draw_batch(LINEAR.model, PARAMS, LINEAR.x, KEYS)
    state = objective.init()
    loss, (new_state, metrics) = objective.loss(state, lambda: draw)
    np.testing.assert_allclose(loss, -np.mean(bound(draw)), rtol=1e-6)
    elbo, terms = mean_elbo(draw, closed_form_kl=closed_form_kl)
    np.testing.assert_allclose(metrics["elbo"], np.mean(elbo), rtol=1e-6)
    np.testing.assert_allclose(metrics["reconstruction"], np.mean(terms.reconstruction), rtol=1e-6)
    np.testing.assert_allclose(metrics["kl"], np.mean(terms.kl), rtol=1e-6)
    if "bound" in metrics:
        np.testing.assert_allclose(metrics["bound"], -loss, rtol=1e-6)
    assert new_state == state


def test_iwae_is_above_the_elbo_of_the_same_draw():
    draw = draw_batch(LINEAR.model, PARAMS, LINEAR.x, KEYS)
    _, (_, metrics) = maximise(bounds.iwae).loss((), lambda: draw)
    assert metrics["bound"] > metrics["elbo"]
