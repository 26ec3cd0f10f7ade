import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.distributions import (
    Bernoulli,
    Categorical,
    CategoricalLevels,
    ContinuousBernoulli,
    DiscretisedLogistic,
    DiscretisedNormal,
    Laplace,
    LogisticMixture,
    Normal,
    StudentT,
    standard_normal,
)
from vae_jax.models import ModelSpec, heads, spec, vae
from vae_jax.models.likelihoods import LIKELIHOODS
from vae_jax.networks import conv, gated_mlp, mlp, resnet

EVENT = (4, 3, 1)
X = jnp.linspace(0.0, 1.0, 12).reshape(EVENT)


def small_vae(likelihood=None):
    return vae(EVENT, 2, encoder=mlp((8,)), decoder=gated_mlp((8,)), likelihood=likelihood)


@pytest.mark.parametrize(
    ("likelihood", "family"),
    [
        (heads.bernoulli(), Bernoulli),
        (heads.continuous_bernoulli(), ContinuousBernoulli),
        (heads.laplace(), Laplace),
        (heads.student_t(), StudentT),
        (heads.discretised_logistic("one", 0.02), DiscretisedLogistic),
        (heads.discretised_logistic("channel", 0.02), DiscretisedLogistic),
        (heads.discretised_logistic("network", 0.02), DiscretisedLogistic),
        (heads.discretised_normal(0.02), DiscretisedNormal),
        (heads.logistic_mixture(3, 0.01), LogisticMixture),
        (heads.categorical_levels(), CategoricalLevels),
        (heads.normal_fixed_scale(0.3), Normal),
        (heads.normal_scale_per_dim(0.3), Normal),
        (heads.normal_learned_scale(), Normal),
        (heads.diagonal_normal(), Normal),
    ],
)
def test_an_untrained_decoder_starts_at_the_mean_that_init_was_given(likelihood, family):
    model = small_vae(likelihood)
    params = model.init(jax.random.key(0), X)
    # At z = 0 the hidden layers of a gated network are zero, so that only the output bias speaks.
    distribution = model.likelihood(params, jnp.zeros(2))
    assert isinstance(distribution, family)
    # The logit of the mean is clipped. Levels and tails are cut off at 0 and 1, which moves means.
    clip = {Bernoulli: 0.001, ContinuousBernoulli: 0.01}.get(family, 0.0)
    atol = {DiscretisedLogistic: 0.02, LogisticMixture: 0.02, CategoricalLevels: 0.25}
    atol[DiscretisedNormal] = 0.02
    np.testing.assert_allclose(
        distribution.mean, jnp.clip(X, clip, 1.0 - clip), rtol=1e-5, atol=atol.get(family, 1e-5)
    )


@pytest.mark.parametrize("std", [0.1, 2.0])
def test_fixed_scale_is_the_standard_deviation_that_was_given(std):
    model = small_vae(heads.normal_fixed_scale(std))
    params = model.init(jax.random.key(0), X)
    distribution = model.likelihood(params, jnp.ones(2))
    np.testing.assert_allclose(jnp.exp(distribution.log_std), jnp.full(EVENT, std), rtol=1e-6)


def test_learned_scale_is_one_parameter_for_all_pixels():
    model = small_vae(heads.normal_learned_scale())
    params = model.init(jax.random.key(0), X)
    params["likelihood"]["log_std"] = jnp.asarray(-1.5)
    np.testing.assert_allclose(model.likelihood(params, jnp.ones(2)).log_std, jnp.full(EVENT, -1.5))
    gradient = jax.grad(lambda p: model.likelihood(p, jnp.ones(2)).log_prob(X))(params)
    assert gradient["likelihood"]["log_std"] != 0


def test_posterior_depends_on_x_and_prior_is_standard_normal():
    model = small_vae()
    params = model.init(jax.random.key(0), X)
    q, other = model.posterior(params, X), model.posterior(params, 1.0 - X)
    assert q.mean.shape == q.log_std.shape == (2,)
    assert not np.allclose(q.mean, other.mean)
    assert not np.allclose(q.log_std, other.log_std)
    prior = model.prior(params)
    np.testing.assert_array_equal(prior.mean, np.zeros(2))
    np.testing.assert_array_equal(prior.log_std, np.zeros(2))


def test_vmap_over_examples_equals_a_loop():
    model = small_vae()
    params = model.init(jax.random.key(0), X)
    xs = jax.random.uniform(jax.random.key(1), (5, *EVENT))
    batch = jax.jit(jax.vmap(lambda x: model.posterior(params, x)))(xs)
    for i, x in enumerate(xs):
        q = model.posterior(params, x)
        np.testing.assert_allclose(batch.mean[i], q.mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(batch.log_std[i], q.log_std, rtol=1e-5, atol=1e-6)


def test_sizes_that_are_not_positive_are_refused():
    with pytest.raises(ValueError, match="latent_dim=0"):
        vae(EVENT, 0)
    with pytest.raises(ValueError, match="must be positive, not -1"):
        heads.normal_fixed_scale(-1.0)


@pytest.mark.parametrize(
    ("network", "likelihood"),
    [
        *((name, "bernoulli") for name in spec.NETWORKS),
        *(("mlp", n) for n in LIKELIHOODS if n != "columns"),
    ],
)
def test_a_spec_builds_the_model_that_its_names_say(network, likelihood):
    built = ModelSpec(EVENT, 2, network, (8, 5), "tanh", likelihood, num_trials=3).build()
    architecture = {
        "mlp": mlp,
        "gated_mlp": gated_mlp,
        "conv": lambda widths, activation: conv((32, 64), (8, 5), activation),
        "resnet": lambda widths, activation: resnet((32, 64), (8, 5), activation),
    }[network]
    expected = vae(
        EVENT,
        2,
        encoder=architecture((8, 5), jnp.tanh),
        decoder=architecture((5, 8), jnp.tanh),
        likelihood={
            "bernoulli": heads.bernoulli(),
            "bernoulli_unnormalised": heads.bernoulli_unnormalised(),
            "continuous_bernoulli": heads.continuous_bernoulli(),
            "gaussian": heads.normal_fixed_scale(0.1),
            "gaussian_learned": heads.normal_learned_scale(0.3),
            "gaussian_per_dim": heads.normal_scale_per_dim(0.3),
            "gaussian_per_pixel": heads.diagonal_normal(0.3),
            "laplace": heads.laplace(0.3),
            "student_t": heads.student_t(0.3),
            "discretised_logistic": heads.discretised_logistic("channel"),
            "discretised_gaussian": heads.discretised_normal(),
            "logistic_mixture": heads.logistic_mixture(10),
            "categorical": heads.categorical_levels(256),
            "log_normal": heads.log_normal(0.3),
            "binomial": heads.binomial(3),
            "poisson": heads.poisson(),
            "negative_binomial": heads.negative_binomial(),
            "zinb": heads.zero_inflated_negative_binomial(),
        }[likelihood],
    )
    params = jax.jit(built.init)(jax.random.key(0), X)
    same = jax.jit(expected.init)(jax.random.key(0), X)
    jax.tree.map(np.testing.assert_array_equal, params, same)
    z = jnp.array([0.3, -0.2])
    jax.tree.map(
        np.testing.assert_array_equal, built.likelihood(params, z), expected.likelihood(params, z)
    )


@pytest.mark.parametrize(("network", "number"), [("resnet", 2), ("conv", 1)])
def test_groups_of_channels_are_normalised_where_they_are_asked_for(network, number):
    options = {"hidden": (8,), "network": network, "channels": (4,), "num_blocks": 1}
    with_groups = ModelSpec(EVENT, 2, norm_groups=2, **options).build().init(jax.random.key(0), X)
    without = ModelSpec(EVENT, 2, **options).build().init(jax.random.key(0), X)
    groups = [name for name in with_groups["encoder"] if name.startswith("GroupNorm")]
    assert len(groups) == number
    assert set(with_groups["encoder"]) - set(groups) == set(without["encoder"])


def test_encoder_and_decoder_are_chosen_apart():
    model = ModelSpec(EVENT, 2, hidden=(8,), encoder="conv", decoder="mlp", channels=(3,)).build()
    params = model.init(jax.random.key(0), X)
    assert params["encoder"]["_Convolution_0"]["kernel"].shape == (4, 4, 1, 3)
    assert params["decoder"]["Dense_0"]["kernel"].shape == (2, 8)


@pytest.mark.parametrize(
    ("name", "prior"),
    [
        ("normal", standard_normal((2,))),
        ("bernoulli", Bernoulli(jnp.zeros(2))),
        ("categorical", Categorical(jnp.zeros((2, 7)))),
    ],
)
def test_a_spec_has_the_latents_that_it_says(name, prior):
    model = ModelSpec(EVENT, 2, latents=name, num_categories=7).build()
    params = model.init(jax.random.key(0), X)
    chex.assert_trees_all_equal(model.prior(params), prior)
    assert type(model.posterior(params, X)) is type(prior)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"network": "transformer"}, "network='transformer' is unknown; it is one of mlp"),
        ({"likelihood": "beta"}, "likelihood='beta' is unknown"),
        ({"activation": "step"}, "activation='step' is unknown"),
        ({"hidden": (3, 0)}, "hidden"),
        ({"channels": (3, 0)}, "channels"),
        ({"decoder": "transformer"}, "decoder='transformer' is unknown; it is one of mlp"),
        ({"latent_dim": 0}, "latent_dim"),
        ({"likelihood_std": 0.0}, "likelihood_std"),
        ({"latents": "poisson"}, "latents='poisson' is unknown; it is one of normal, bernoulli"),
        ({"logistic_scale": "none"}, "logistic_scale='none' is unknown; it is one of one, channel"),
        ({"num_blocks": 0}, "num_blocks must be at least 1, not 0"),
        ({"num_logistics": 0}, "num_logistics must be at least 1, not 0"),
        ({"num_categories": 1}, "num_categories must be at least 2, not 1"),
    ],
)
def test_a_spec_refuses_what_it_does_not_know(bad, message):
    with pytest.raises(ValueError, match=message):
        ModelSpec(EVENT, **bad)
