"""Conditional models against their closed forms, also of examples that are pytrees."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import conditional
from tests.conditional import CONDITIONS, C, D, L, N, truth, views
from vae_jax import models
from vae_jax.diagnostics import inference_gap
from vae_jax.errors import BadInputError
from vae_jax.evidence import (
    annealed,
    linear_gaussian,
    make_importance_sampler,
    quadrature,
    rate_distortion,
)
from vae_jax.models import Batch, Sized, draw_batch, given, heads, vae
from vae_jax.networks import conv, gated_mlp, mlp, resnet
from vae_jax.objectives import bounds, closed_form_elbo, free_bits, info_vae, maximise
from vae_jax.trained import TrainedVAE

MODEL, PARAMS = conditional.model()
BATCH = conditional.examples(jax.random.key(7))
EXACT = jax.vmap(lambda x, c: linear_gaussian.log_evidence(truth(c), x))(BATCH.x, BATCH.c)
GAP = linear_gaussian.best_diagonal(truth(CONDITIONS[0]), BATCH.x[0])[2]
EXACT_ELBO = EXACT - GAP


def as_views(batch):
    return Batch(views(batch.x), batch.c)


@pytest.mark.parametrize("kind", ["array", "pytree"])
def test_importance_sampling_finds_the_evidence_of_each_condition(kind):
    model, batch = MODEL, BATCH
    if kind == "pytree":
        (model, _), batch = conditional.model_of_views(), as_views(BATCH)
    found = make_importance_sampler(model, 20_000)(PARAMS, batch, jax.random.key(1))
    # The weights of the diagonal posterior have a relative standard deviation of about 2.
    np.testing.assert_allclose(found.log_evidence, EXACT, atol=4 * 2 / np.sqrt(20_000))
    # 20,000 samples of terms whose standard deviation is a few nats.
    np.testing.assert_allclose(found.elbo, EXACT_ELBO, atol=0.1)
    shuffled = Batch(batch.x, batch.c[::-1])
    other = make_importance_sampler(model, 1000)(PARAMS, shuffled, jax.random.key(1))
    assert np.abs(other.log_evidence - EXACT).max() > 1.0


def test_quadrature_and_elbos_of_a_given_condition_are_exact():
    @jax.jit
    @jax.vmap
    def integrate(one):
        return quadrature.integrate(given(MODEL, one.c), PARAMS, one.x).log_evidence

    np.testing.assert_allclose(integrate(BATCH), EXACT, atol=2e-4)

    @jax.jit
    @jax.vmap
    def gap(one, key):
        model = given(MODEL, one.c)
        q = model.posterior(PARAMS, one.x)
        best = inference_gap.best_normal(model, PARAMS, one.x, q, key, num_steps=20)
        return inference_gap.elbo_of(model, PARAMS, one.x, best, key, 20_000)

    keys = jax.random.split(jax.random.key(3), N)
    np.testing.assert_allclose(gap(BATCH, keys), EXACT_ELBO, atol=0.1)


@pytest.mark.parametrize("start", ["posterior", "prior"])
def test_annealing_brackets_the_evidence_of_each_condition(start):
    schedule = annealed.sigmoid_schedule(200)
    sizes = annealed.tune_step_sizes(MODEL, PARAMS, BATCH, jax.random.key(0), schedule, start=start)
    sample = annealed.make_annealed_sampler(MODEL, schedule, sizes, num_chains=32, start=start)
    found = sample(PARAMS, BATCH, jax.random.key(1))
    log_evidence = np.logaddexp.reduce(found.log_w, axis=1) - np.log(32)
    # 32 chains whose weights have a relative standard deviation of about 0.3.
    np.testing.assert_allclose(log_evidence, EXACT, atol=0.25)
    x, z = annealed.simulate(MODEL, PARAMS, jax.random.key(2), N, CONDITIONS)
    simulated = Batch(x, CONDITIONS)
    reverse = sample(PARAMS, simulated, jax.random.key(3), z)
    upper = np.log(32) - np.logaddexp.reduce(-reverse.log_w, axis=1)
    exact = jax.vmap(lambda x, c: linear_gaussian.log_evidence(truth(c), x))(x, CONDITIONS)
    np.testing.assert_allclose(upper, exact, atol=0.25)


def test_simulated_examples_have_the_mean_of_their_condition():
    many = jnp.tile(CONDITIONS[:2], (4000, 1))
    x, _ = annealed.simulate(MODEL, PARAMS, jax.random.key(2), len(many), many)
    means = np.asarray(x).reshape(4000, 2, D).mean(axis=0)
    expected = np.array([truth(c).mean for c in CONDITIONS[:2]])
    np.testing.assert_allclose(means, expected, atol=5 * 1.5 / np.sqrt(4000))


def test_the_rate_at_b_1_is_that_of_each_conditional_prior():
    """Rate + distortion at b = 1 is -log p(x|c) in the mean (Huang et al. 2020)."""
    schedule = np.linspace(0.0, 1.0, 201)
    sizes = annealed.tune_step_sizes(
        MODEL, PARAMS, BATCH, jax.random.key(0), schedule, start="prior"
    )
    found = rate_distortion(MODEL, PARAMS, BATCH, jax.random.key(1), schedule, sizes, num_chains=32)
    sums = found.rate[:, -1] + found.distortion[:, -1]
    np.testing.assert_allclose(sums, -EXACT, atol=0.3)


OBJECTIVES = {
    "closed form": closed_form_elbo(),
    "free bits of no nats": free_bits(0.0),
    "sampled": maximise(bounds.elbo),
    "MMD": info_vae(0.0, kl_weight=1.0),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_loss_of_a_batch_is_that_of_each_example_with_its_condition(name):
    keys = jax.random.split(jax.random.key(5), (2, N))

    def loss(params, model, batch, keys):
        def draw_fn(**options):
            return draw_batch(model, params, batch, keys, **options)

        return OBJECTIVES[name].loss((), jnp.int32(0), jax.random.key(0), draw_fn)[0]

    together, gradient = jax.jit(jax.value_and_grad(loss), static_argnums=1)(
        PARAMS, MODEL, BATCH, keys
    )
    one_by_one = jax.jit(
        lambda params: jax.vmap(
            lambda one, keys: loss(
                params,
                given(MODEL, one.c),
                Batch(jnp.stack([one.x] * 2)),
                jnp.stack([keys] * 2, axis=1),
            ),
            (0, 1),
        )(BATCH, keys).mean()
    )
    np.testing.assert_allclose(together, one_by_one(PARAMS), rtol=1e-5)
    expected = jax.jit(jax.grad(one_by_one))(PARAMS)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), gradient, expected)
    assert np.abs(gradient["prior"]["mean"]).max() > 1e-3


def test_a_condition_that_a_model_ignores_changes_no_bit():
    plain = vae((D,), L, encoder=mlp((7,)), decoder=mlp((7,)))
    ignoring = plain._replace(
        posterior=lambda params, x, c: plain.posterior(params, x),
        prior=lambda params, c: plain.prior(params),
        likelihood=lambda params, z, c: plain.likelihood(params, z),
    )
    x = (BATCH.x > 0).astype(jnp.float32)
    params = plain.init(jax.random.key(0), jnp.full(D, 0.5))
    keys = jax.random.split(jax.random.key(1), (3, N))
    without = jax.jit(lambda: draw_batch(plain, params, x, keys))()
    batched = jax.jit(lambda: draw_batch(plain, params, Batch(x), keys))()
    conditional = jax.jit(lambda: draw_batch(ignoring, params, Batch(x, CONDITIONS), keys))()
    for field in ("z", "log_likelihood", "log_prior", "log_posterior"):
        np.testing.assert_array_equal(getattr(without, field), getattr(batched, field))
        np.testing.assert_array_equal(getattr(without, field), getattr(conditional, field))
    assert without.c is None
    assert conditional.c is not None


def test_a_trained_model_samples_encodes_and_decodes_with_conditions():
    trained = TrainedVAE(MODEL, PARAMS, {})
    q = trained.encode(BATCH)
    np.testing.assert_array_equal(q.mean, trained.encode(BATCH.x, BATCH.c).mean)
    expected = jax.vmap(lambda x, c: linear_gaussian.best_diagonal(truth(c), x)[0])(*vars_of(BATCH))
    np.testing.assert_allclose(q.mean - CONDITIONS @ U_T, expected, atol=1e-5)
    decoded = trained.decode(q.mean, CONDITIONS)
    np.testing.assert_allclose(
        decoded,
        q.mean @ conditional.W.T + CONDITIONS @ conditional.V.T + conditional.M[None],
        atol=1e-5,
    )
    means = trained.sample(jax.random.key(0), 8000, jnp.tile(CONDITIONS[:1], (8000, 1))).mean(0)
    np.testing.assert_allclose(means, truth(CONDITIONS[0]).mean, atol=5 * 1.5 / np.sqrt(8000))
    assert trained.reconstruct(jax.random.key(0), BATCH).shape == (N, D)


U_T = conditional.U.T


def vars_of(batch):
    return batch.x, batch.c


IMAGE = (6, 5, 2)


@pytest.mark.parametrize(
    ("event_shape", "architecture", "condition_shape"),
    [
        ((6,), mlp((5,), jnp.tanh), (3,)),
        ((6,), gated_mlp((5,)), (3,)),
        (IMAGE, conv((3,), (4,), jnp.tanh), (3,)),
        (IMAGE, conv((3,), (4,), jnp.tanh), (6, 5, 1)),
        (IMAGE, conv((), (4,), jnp.tanh), (3,)),
        (IMAGE, resnet((4,), (4,), jnp.tanh, num_blocks=1), (3,)),
    ],
)
def test_networks_use_their_condition(event_shape, architecture, condition_shape):
    """Every value of the condition moves the posterior and the likelihood."""
    model = vae(
        event_shape, 2, encoder=architecture, decoder=architecture, condition_shape=condition_shape
    )
    x = jax.random.uniform(jax.random.key(1), event_shape)
    c = jax.random.normal(jax.random.key(2), condition_shape)
    params = model.init(jax.random.key(0), x)
    for function, argument in ((model.posterior, x), (model.likelihood, jnp.ones(2))):
        first = functools.partial(_first_leaf, function, params, argument)
        jacobian = jax.jit(jax.jacobian(first))(c)
        assert (np.abs(jacobian).max(axis=tuple(range(jacobian.ndim - c.ndim))) > 0).all()


def _first_leaf(function, *arguments):
    return jax.tree.leaves(function(*arguments))[0]


def test_size_factors_multiply_the_means_of_counts():
    model = vae(
        (4,),
        1,
        encoder=mlp((3,)),
        decoder=mlp((3,)),
        likelihood=heads.poisson(),
        size_factors=True,
        encoder_inputs=jnp.log1p,
    )
    params = model.init(jax.random.key(0), jnp.array([1.0, 2.0, 3.0, 4.0]))
    z = jnp.zeros(1)
    one, ten = (model.likelihood(params, z, Sized(jnp.float32(size))).mean for size in (1, 10))
    np.testing.assert_allclose(ten, 10 * one, rtol=1e-6)
    with pytest.raises(BadInputError, match=r"Sized\(size, inputs\) with a size factor alone, and"):
        model.likelihood(params, z)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (
            lambda: draw_batch(MODEL, PARAMS, BATCH.x, KEYS),
            "condition of the shape .3,., and none",
        ),
        (lambda: TrainedVAE(MODEL, PARAMS, {}).encode(BATCH.x), "none is given: Batch"),
        (lambda: TrainedVAE(MODEL, PARAMS, {}).sample(KEYS[0, 0], 2), "none is given"),
        (lambda: draw_batch(MODEL, PARAMS, Batch(BATCH.x, SHORT), KEYS), "12 examples, each"),
        (
            lambda: draw_batch(MODEL, PARAMS, Batch(BATCH.x, NARROW), KEYS),
            r"c has the shape",
        ),
        (
            lambda: draw_batch(PLAIN, PLAIN_PARAMS, BATCH, KEYS),
            "This model has no condition, and a .* is given",
        ),
        (
            lambda: models.elbo(given(MODEL, CONDITIONS[0]), PARAMS, BATCH.x, KEYS[0, 0]),
            "a batch of 12, but one example",
        ),
        (
            lambda: draw_batch(MODEL, PARAMS, as_views(BATCH), KEYS),
            "is the pytree .* but an example of this model is",
        ),
    ],
)
def test_a_missing_or_wrong_condition_is_one_sentence(act, message):
    with pytest.raises(BadInputError, match=message):
        act()


PLAIN = vae((D,), L, encoder=mlp(()), decoder=mlp(()), likelihood=heads.normal_fixed_scale())
PLAIN_PARAMS = PLAIN.init(jax.random.key(0), jnp.zeros(D))
SHORT, NARROW = CONDITIONS[:3], CONDITIONS[:, :2]
KEYS = jax.random.split(jax.random.key(0), (1, N))
assert CONDITIONS.shape[1] == C
