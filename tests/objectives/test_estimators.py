"""Bounds x gradient estimators: the mean of each is the gradient of the mean of the bound.

The expectation over the noise of a model with one latent variable is a Gauss-Hermite sum over
[K] dimensions, exact to rounding, so bias is seen without any statistics. Means over real keys, in
single precision, are in the group `gradients` of vae_jax.verify.
"""

import dataclasses
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.exact import jit_once, linear_vae, random_encoder
from tests.objectives.cases import BOUNDS, ESTIMATORS, by_speed
from vae_jax.distributions import Normal, standard_normal
from vae_jax.models import Model, draw_batch
from vae_jax.objectives import bounds, estimators, maximise, split

NUM_SAMPLES = 4
# The largest and smallest weight have gradients that jump, which a Gauss-Hermite sum does not see.
SMOOTH = [name for name in BOUNDS if name not in ("vr_max", "vr_min")]
UNBIASED = [name for name in ESTIMATORS if name != "stl"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class NormalOfGivenNoise(Normal):
    """A normal distribution that takes the noise itself for the key."""

    def sample(self, key):
        return self.mean + jnp.exp(self.log_std) * key

    def sample_and_log_prob(self, key):
        value = self.sample(key)
        return value, self.log_prob(value)


MODEL = Model(
    init=lambda key, x: None,
    posterior=lambda params, x: NormalOfGivenNoise(
        params["slope"] * x[:1] + params["shift"], params["log_std"][None]
    ),
    prior=lambda params: standard_normal((1,)),
    likelihood=lambda params, z: Normal(params["weights"] * z[0], jnp.full((3,), -0.3)),
)
ENCODER = ("slope", "shift", "log_std")


def params_of_the_model():
    return {
        "slope": jnp.asarray(0.3),
        "shift": jnp.asarray(0.2),
        "log_std": jnp.asarray(-0.4),
        "weights": jnp.array([0.8, -0.5, 0.3]),
    }


def expectation(function, num_samples):
    """E[function(draw_fn)] over the noise, as a function of params; function: draw_fn -> [B]."""
    num_nodes = {2: 40, 4: 12}[num_samples]
    nodes, weights = np.polynomial.hermite_e.hermegauss(num_nodes)
    noise = jnp.array(list(itertools.product(nodes, repeat=num_samples))).T[:, :, None]
    weights = weights / weights.sum()
    weight = jnp.array([np.prod(w) for w in itertools.product(weights, repeat=num_samples)])
    x = jnp.array([[1.0, -0.4, 0.6]]).repeat(len(weight), axis=0)

    def of_params(params):
        # The axis of the batch carries the grid.
        draw_fn = partial(draw_batch, MODEL, params, x, noise)
        return jnp.sum(weight * function(draw_fn))

    return of_params


def mean_gradients(bound, by_name, num_samples=2):
    """name -> the mean of the gradient that an estimator has of a bound."""

    def gradients(params):
        return {
            name: jax.grad(
                expectation(lambda draw_fn, e=estimator: e(bound, draw_fn)[0], num_samples)
            )(params)
            for name, estimator in by_name.items()
        }

    return jit_once(gradients)(params_of_the_model())


def exactly(bound, draw_fn):
    """The bound itself, whose mean has the gradient that is to be estimated."""
    draw = draw_fn()
    return bound(draw.log_w), draw


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("bound_name", by_speed(SMOOTH))
def test_estimators_are_unbiased_for_every_bound(bound_name):
    bound = BOUNDS[bound_name][0]
    num_samples = 4 if bound_name == "miwae" else 2
    unbiased = {name: ESTIMATORS[name] for name in UNBIASED}
    found = mean_gradients(bound, {"exact": exactly, **unbiased}, num_samples)
    exact = found.pop("exact")
    assert all(np.max(np.abs(leaf)) > 1e-3 for leaf in jax.tree.leaves(exact))
    for name, gradient in found.items():
        close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5, err_msg=name)
        jax.tree.map(close, gradient, exact)


@pytest.mark.usefixtures("float64")
def test_stl_is_unbiased_for_the_elbo_and_its_bias_for_iwae_is_what_theory_says():
    both = {"exact": exactly, "stl": estimators.sticking_the_landing}
    found = mean_gradients(bounds.elbo, both)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6), found["stl"], found["exact"])

    # The score route that STL drops has the mean of minus the sum of w_k (1 - w_k) path_k, by DReG,
    # which is therefore the bias.
    def bias(bound, draw_fn):
        weights = jax.lax.stop_gradient(jax.nn.softmax(draw_fn().log_w, axis=0))
        draw = draw_fn(theta=False, score=False, path=1.0 - weights)
        return bound(draw.log_w), draw

    found = mean_gradients(bounds.iwae, {**both, "bias": bias})
    measured = jax.tree.map(np.subtract, found["stl"], found["exact"])
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), measured, found["bias"])
    assert all(abs(found["bias"][name]) > 0.1 * abs(found["exact"][name]) for name in ENCODER)


def test_values_are_those_of_the_bound_for_every_estimator():
    linear = linear_vae()
    keys = jax.random.split(jax.random.key(0), (NUM_SAMPLES, 5))

    @jit_once
    def values(params):
        draw_fn = partial(draw_batch, linear.model, params, linear.x, keys)
        return {
            name: estimator(bounds.iwae, draw_fn) for name, estimator in ESTIMATORS.items()
        }, draw_fn()

    found, draw = values(linear.exact_params)
    for value, own_draw in found.values():
        np.testing.assert_allclose(value, bounds.iwae(draw.log_w), rtol=1e-5)
        np.testing.assert_array_equal(own_draw.z, draw.z)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("bound_name", by_speed(BOUNDS))
def test_encoder_gradients_vanish_at_the_exact_posterior(bound_name):
    """For every key, not only in the mean; those of the pathwise estimator do not."""
    linear = linear_vae()
    params, x = jax.tree.map(
        lambda leaf: jnp.asarray(leaf, jnp.float64), (linear.exact_params, linear.x)
    )
    keys = jax.random.split(jax.random.key(0), (6, 5))

    @jit_once
    def largest(params):
        def mean_bound(encoder, estimator):
            draw_fn = partial(draw_batch, linear.model, {**params, "encoder": encoder}, x, keys)
            return jnp.mean(estimator(BOUNDS[bound_name][0], draw_fn)[0])

        def of(estimator):
            leaves = jax.tree.leaves(jax.grad(mean_bound)(params["encoder"], estimator))
            return jnp.max(jnp.abs(jnp.concatenate([jnp.ravel(leaf) for leaf in leaves])))

        return {name: of(ESTIMATORS[name]) for name in ("stl", "dreg", "pathwise")}

    found = largest(params)
    assert found["stl"] < 1e-6
    assert found["dreg"] < 1e-6
    assert found["pathwise"] > 1e-3


def test_dreg_of_iwae_weighs_paths_by_squared_normalised_weights():
    """Tucker et al. 2018, eq. 6."""
    log_w = 2.0 * jax.random.normal(jax.random.key(0), (5, 3))
    normalised = jax.nn.softmax(log_w, axis=0)
    path = normalised * estimators._path_weights(bounds.iwae, log_w)
    np.testing.assert_allclose(path, normalised**2, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(estimators._path_weights(bounds.elbo, log_w), np.ones((5, 3)))


@pytest.mark.parametrize("num_samples", [1, 65])
def test_path_weights_of_any_number_of_samples(num_samples):
    log_w = jax.random.normal(jax.random.key(0), (num_samples, 2))
    expected = jax.nn.softmax(log_w, axis=0)
    weights = jit_once(partial(estimators._path_weights, bounds.iwae))(log_w)
    np.testing.assert_allclose(weights, expected, rtol=1e-4, atol=1e-6)


LINEAR = linear_vae()


def loss_of(objective, params):
    keys = jax.random.split(jax.random.key(0), (NUM_SAMPLES, 5))
    draw_fn = partial(draw_batch, LINEAR.model, params, LINEAR.x, keys)
    return objective.loss((), 0, jax.random.key(0), draw_fn)[0]


@pytest.mark.parametrize("name", ESTIMATORS)
def test_split_of_one_bound_is_that_bound(name):
    bound, estimator = bounds.iwae, ESTIMATORS[name]
    both = [maximise(bound, estimator), split(bound, bound, estimator)]

    @jit_once
    def measure(params):
        return [jax.value_and_grad(partial(loss_of, objective))(params) for objective in both]

    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    jax.tree.map(close, *measure(random_encoder(LINEAR.exact_params, 0)))


def test_split_gives_each_side_the_gradient_of_its_bound():
    params = random_encoder(LINEAR.exact_params, 0)

    @jit_once
    def gradients(params):
        objectives = {
            "piwae": split(bounds.iwae, bounds.miwae(2)),
            "decoder": maximise(bounds.iwae),
            "encoder": maximise(bounds.miwae(2)),
        }
        return {name: jax.grad(partial(loss_of, o))(params) for name, o in objectives.items()}

    found = gradients(params)
    for side in ("decoder", "encoder"):
        close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
        jax.tree.map(close, found["piwae"][side], found[side][side])


def test_bad_pairs_are_refused_in_a_sentence():
    linear = linear_vae()
    one_key = jax.random.split(jax.random.key(0), (1, 5))
    draw_fn = partial(draw_batch, linear.model, linear.exact_params, linear.x, one_key)
    with pytest.raises(ValueError, match="VIMCO needs num_samples of at least 2, not 1."):
        estimators.vimco(bounds.elbo, draw_fn)
    with pytest.raises(ValueError, match="which a KL term in closed form does not have."):
        estimators.doubly_reparameterised(bounds.elbo, draw_fn, estimators.log_likelihood)
    with pytest.raises(ValueError, match=r"The temperature must lie in \[1e-6, 1e6\], not 0.0."):
        estimators.concrete(0.0)
    with pytest.raises(TypeError, match="A Normal posterior is not discrete"):
        estimators.concrete(0.5)(bounds.elbo, draw_fn)


def test_the_baseline_of_vimco_replaces_a_log_weight_by_the_mean_of_the_others():
    """Mnih & Rezende 2016, eq. 10; the gradient in log q at fixed log_w is the signal."""
    linear = linear_vae()
    keys = jax.random.split(jax.random.key(0), (NUM_SAMPLES, 5))
    params = random_encoder(linear.exact_params, 0)
    fixed = jax.jit(draw_batch, static_argnums=0)(linear.model, params, linear.x, keys)

    @jax.jit
    def mean_bound(log_q):
        # Likelihood and posterior move together, so that log_w stays.
        moved = log_q - fixed.log_posterior
        draw = fixed._replace(log_posterior=log_q, log_likelihood=fixed.log_likelihood + moved)
        return jnp.sum(estimators.vimco(bounds.iwae, lambda **routes: draw)[0])

    log_w = np.asarray(fixed.log_w, np.float64)
    for k, signal in enumerate(jax.grad(mean_bound)(fixed.log_posterior)):
        replaced = log_w.copy()
        replaced[k] = np.delete(log_w, k, axis=0).mean(axis=0)
        lacking = np.log(np.exp(log_w).mean(axis=0)) - np.log(np.exp(replaced).mean(axis=0))
        np.testing.assert_allclose(signal, lacking, rtol=1e-3, atol=1e-5)


def test_a_sample_of_weight_zero_leaves_vimco_finite():
    linear = linear_vae()
    keys = jax.random.split(jax.random.key(0), (NUM_SAMPLES, 5))
    draw = jax.jit(draw_batch, static_argnums=0)(linear.model, linear.exact_params, linear.x, keys)
    draw = draw._replace(log_likelihood=draw.log_likelihood.at[1].set(-jnp.inf))

    def mean_bound(log_q):
        moved = draw._replace(log_posterior=log_q)
        return jnp.sum(estimators.vimco(bounds.iwae, lambda **routes: moved)[0])

    value, gradient = jax.value_and_grad(mean_bound)(draw.log_posterior)
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradient))
