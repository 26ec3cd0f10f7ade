"""The objective of codes: its penalties by their formulas, and codebooks that find clusters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.cluster import KMeans

from vae_jax import objectives
from vae_jax.models import draw_batch, heads, latents, quantisers, vae
from vae_jax.networks import Network, mlp
from vae_jax.objectives import estimators
from vae_jax.training import make_trainer

D, K = 3, 4


def coded(quantiser, encoder=None):
    return vae(
        (D,), 1, encoder=encoder or mlp((6,)), decoder=mlp((6,)),
        latents=latents.codes(quantiser), likelihood=heads.normal_fixed_scale(1.0),
    )  # fmt: skip


def identity(input_shape, output_shape, *condition_shape):
    """An encoder without parameters that says x itself."""
    return Network(
        init=lambda key, output_bias=0.0: {}, apply=lambda params, x: x.reshape(output_shape)
    )


def loss_and_gradient(objective, model, params, x):
    keys = jax.random.split(jax.random.key(0), (1, len(x)))

    def loss(params):
        def draw_fn(**options):
            return draw_batch(model, params, x, keys, **options)

        shapes = jax.eval_shape(draw_fn)
        state = objective.init(jax.random.key(1), shapes)
        value, (state, metrics) = objective.loss(state, jnp.int32(0), jax.random.key(2), draw_fn)
        return value, (state, metrics)

    return jax.value_and_grad(loss, has_aux=True)(params)


@pytest.mark.parametrize("estimator", [estimators.straight_through, estimators.rotation])
def test_the_penalties_of_a_codebook_with_a_gradient_are_those_of_the_paper(estimator):
    quantiser = quantisers.vector_quantiser(K, 2)
    model = coded(quantiser)
    params = model.init(jax.random.key(0), jnp.zeros(D))
    x = jax.random.normal(jax.random.key(3), (7, D))
    objective = objectives.codes(0.3, "gradient", estimator=estimator)
    (value, (_, metrics)), gradient = loss_and_gradient(objective, model, params, x)
    q = jax.vmap(lambda x: model.posterior(params, x))(x)
    distance = np.square(np.asarray(q.outputs - q.vector)).sum() / len(x)
    np.testing.assert_allclose(value, -metrics["elbo"] + 1.3 * distance, rtol=1e-5)
    np.testing.assert_allclose(metrics["commitment"], distance, rtol=1e-5)
    # An entry is drawn to the outputs that chose it, and to nothing else.
    expected = np.zeros((K, 2))
    for e, index in zip(np.asarray(q.outputs)[:, 0], np.asarray(q.index).ravel(), strict=True):
        expected[index] += 2.0 * (np.asarray(params["posterior"]["codebook"])[0, 0, index] - e)
    np.testing.assert_allclose(
        gradient["posterior"]["codebook"][0, 0], expected / len(x), rtol=1e-4, atol=1e-6
    )


def test_averages_leave_the_codebook_without_a_gradient():
    model = coded(quantisers.vector_quantiser(K, 2))
    params = model.init(jax.random.key(0), jnp.zeros(D))
    x = jax.random.normal(jax.random.key(3), (7, D))
    _, gradient = loss_and_gradient(objectives.codes(), model, params, x)
    assert not np.asarray(gradient["posterior"]["codebook"]).any()
    assert np.abs(np.asarray(gradient["encoder"]["output"]["kernel"])).max() > 0.0


def test_the_entropies_of_bits():
    model = coded(quantisers.binary_quantiser(2))
    params = model.init(jax.random.key(0), jnp.zeros(D))
    x = jax.random.normal(jax.random.key(3), (7, D))
    objective = objectives.codes(0.0, entropy_weight=0.7)
    (value, (_, metrics)), _ = loss_and_gradient(objective, model, params, x)
    e = np.asarray(jax.vmap(lambda x: model.posterior(params, x))(x).outputs, np.float64)[:, 0]
    p = 1.0 / (1.0 + np.exp(-4.0 * e))

    def entropy(p):
        return -(p * np.log(p) + (1 - p) * np.log(1 - p))

    gap = (entropy(p).mean(axis=0) - entropy(p.mean(axis=0))).sum()
    np.testing.assert_allclose(metrics["entropy_gap"], gap, rtol=1e-4)
    np.testing.assert_allclose(value, -metrics["elbo"] + 0.7 * gap, rtol=1e-5)


def test_bits_that_are_certain_have_finite_gradients():
    model = coded(quantisers.binary_quantiser(2))
    params = model.init(jax.random.key(0), jnp.zeros(D))
    params["encoder"]["output"]["kernel"] *= 1e4
    x = jax.random.normal(jax.random.key(3), (7, D))
    objective = objectives.codes(entropy_weight=1.0)
    (value, _), gradient = loss_and_gradient(objective, model, params, x)
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


CENTRES = np.array([[4.0, 0.0, 0.0], [0.0, 4.0, 1.0], [-4.0, 0.0, 2.0], [0.0, -4.0, -3.0]])


def clusters(number=256):
    rng = np.random.default_rng(0)
    return (CENTRES[np.arange(number) % 4] + 0.3 * rng.standard_normal((number, 3))).astype(
        np.float32
    )


@pytest.mark.parametrize("codebook", ["average", "gradient"])
def test_a_codebook_finds_the_centres_of_clear_clusters(codebook):
    """Its entries become the centres that k-means finds, whatever they start at."""
    x = clusters()
    model = coded(quantisers.vector_quantiser(K, D), identity)
    trainer = make_trainer(
        model,
        objectives.codes(codebook=codebook, codebook_decay=0.9, restart_share=0.1),
        optax.sgd(0.2),
        average_decay=0.0,
    )
    state = trainer.init(jax.random.key(4), jnp.zeros(D))

    @jax.jit
    def train(state):
        def step(state, _):
            state, metrics = trainer.step(state, jnp.asarray(x))
            return state, metrics["codes_in_use"]

        return jax.lax.scan(step, state, length=150)

    state, in_use = train(state)
    found = np.asarray(state.params["posterior"]["codebook"])[0, 0]
    expected = KMeans(4, n_init=4, random_state=0).fit(x).cluster_centers_
    order = np.square(found[:, None] - expected[None]).sum(axis=-1).argmin(axis=0)
    assert sorted(order) == [0, 1, 2, 3]
    np.testing.assert_allclose(found[order], expected, atol=0.02)
    assert float(in_use[-1]) == 1.0


def test_without_restarts_an_entry_that_nothing_chooses_stays_dead():
    x = clusters()
    model = coded(quantisers.vector_quantiser(K, D), identity)
    params = model.init(jax.random.key(0), jnp.zeros(D))
    far = jnp.concatenate([jnp.asarray(CENTRES[:3], jnp.float32), jnp.full((1, 3), 50.0)])
    params["posterior"]["codebook"] = far[None, None]
    for share, is_dead in ((0.0, True), (0.1, False)):
        objective = objectives.codes(restart_share=share, codebook_decay=0.5)
        (_, (state, metrics)), _ = loss_and_gradient(objective, model, params, jnp.asarray(x))
        book = np.asarray(objective.fitted(state, params)["posterior"]["codebook"])[0, 0]
        assert (np.abs(book[3]).max() > 40.0) == is_dead
        assert float(metrics["restarted"]) == (0.0 if is_dead else 0.25)
        if not is_dead:  # it is an output of the batch now
            assert np.abs(x - book[3][None]).max(axis=1).min() < 1e-6
        assert float(metrics["codes_in_use"]) == 0.75


def test_first_average_is_the_mean_of_the_batch():
    x = clusters(64)
    model = coded(quantisers.vector_quantiser(K, D), identity)
    params = model.init(jax.random.key(0), jnp.zeros(D))
    params["posterior"]["codebook"] = jnp.asarray(CENTRES, jnp.float32)[None, None]
    objective = objectives.codes(restart_share=0.0)
    (_, (state, _)), _ = loss_and_gradient(objective, model, params, jnp.asarray(x))
    book = np.asarray(objective.fitted(state, params)["posterior"]["codebook"])[0, 0]
    expected = np.stack([x[at::4].mean(axis=0) for at in range(4)])
    np.testing.assert_allclose(book, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: objectives.codes(-1.0), "commitment"),
        (lambda: objectives.codes(codebook="kmeans"), "average, gradient"),
        (lambda: objectives.codes(codebook_decay=1.0), "codebook_decay"),
        (lambda: objectives.codes(restart_share=-0.1), "restart_share"),
        (lambda: objectives.codes(entropy_weight=np.inf), "entropy_weight"),
    ],
)
def test_numbers_out_of_range_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_other_latents_are_refused():
    model = vae((D,), 2, latents=latents.bernoulli())
    params = model.init(jax.random.key(0), jnp.zeros(D))
    with pytest.raises(TypeError, match="deterministic codes"):
        loss_and_gradient(objectives.codes(), model, params, jnp.zeros((4, D)))
