import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.exact import exact_elbo, linear_vae
from vae_jax import data
from vae_jax.models import draw_batch, heads, vae
from vae_jax.networks import mlp
from vae_jax.objectives import bounds, closed_form_elbo, maximise
from vae_jax.training import make_trainer
from vae_jax.training.optimiser import adam
from vae_jax.training.trainer import _clip, norm

LINEAR = linear_vae(num_examples=8)


def trained(num_steps, optimiser=None, **options):
    """States and metrics of some steps, the initial state first."""
    trainer = make_trainer(
        LINEAR.model, closed_form_elbo(), optimiser or optax.sgd(0.01), **options
    )
    states, metrics = [trainer.init(jax.random.key(0), LINEAR.x[0])], []
    for _ in range(num_steps):
        state, reported = jax.jit(trainer.step)(states[-1], LINEAR.x)
        states.append(state)
        metrics.append(reported)
    return states, metrics


def test_a_step_descends_the_gradient_of_the_mean_negative_elbo():
    (before, after), (metrics,) = trained(1, num_samples=10_000)
    # Plain SGD shows the gradient that was taken.
    gradient = jax.tree.map(lambda b, a: (b - a) / 0.01, before.params, after.params)
    np.testing.assert_allclose(optax.tree.norm(gradient), metrics["gradient_norm"], rtol=1e-3)

    def loss(params):
        return -jnp.mean(jax.vmap(lambda x: exact_elbo(LINEAR.model, params, x))(LINEAR.x))

    exact_loss, exact_gradient = jax.jit(jax.value_and_grad(loss))(before.params)
    np.testing.assert_allclose(metrics["loss"], exact_loss, rtol=0.01)
    np.testing.assert_allclose(metrics["loss"], -metrics["elbo"], rtol=1e-6)
    difference = optax.tree.sub(gradient, exact_gradient)
    assert optax.tree.norm(difference) < 0.03 * optax.tree.norm(exact_gradient)


def test_steps_replay_to_the_bit_and_each_has_noise_of_its_own():
    states, _ = trained(3)
    again, _ = trained(3)
    jax.tree.map(
        np.testing.assert_array_equal,
        [jax.random.key_data(s.key) for s in states] + [s.params for s in states],
        [jax.random.key_data(s.key) for s in again] + [s.params for s in again],
    )
    # With a learning rate of zero only the noise differs from step to step.
    _, still = trained(3, optax.sgd(0.0))
    assert len({float(m["reconstruction"]) for m in still}) == 3
    assert len({float(m["kl"]) for m in still}) == 1
    assert [int(s.step) for s in states] == [0, 1, 2, 3]


@pytest.mark.parametrize("with_dropout", [False, True])
def test_every_sample_has_a_key_of_its_own_and_so_has_binarisation(with_dropout, monkeypatch):
    seen = []
    model = LINEAR.model
    if with_dropout:
        encoder = mlp((5,), dropout=0.2)
        model = vae(LINEAR.x.shape[1:], 2, encoder=encoder, likelihood=heads.laplace())

    def see(keys):
        jax.debug.callback(
            lambda data: seen.extend(map(tuple, data.reshape(-1, 2).tolist())),
            jax.random.key_data(keys),
        )

    def spy_on_draws(model, params, x, noise_keys, **options):
        if len(x) > 1:  # one example gives the shapes of the objective's state only
            assert noise_keys.shape == (3, 8)
            see(noise_keys)
            assert (options["dropout_keys"] is not None) == with_dropout
            if with_dropout:
                assert options["dropout_keys"].shape == (8,)
                see(options["dropout_keys"])
        return draw_batch(model, params, x, noise_keys, **options)

    def spy_on_binarisation(key, pixels):
        see(key)
        return pixels

    monkeypatch.setattr("vae_jax.training.divided.draw_batch", spy_on_draws)
    trainer = make_trainer(
        model,
        closed_form_elbo(),
        optax.sgd(0.01),
        num_samples=3,
        binarise=spy_on_binarisation,
    )
    state = jax.jit(trainer.init)(jax.random.key(0), LINEAR.x[0])
    step = jax.jit(trainer.step)
    for _ in range(3):
        state, _ = step(state, LINEAR.x)
    jax.effects_barrier()
    assert len(seen) == len(set(seen)) == 3 * (33 if with_dropout else 25)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999])
def test_the_average_follows_its_recurrence(decay):
    states, _ = trained(4, average_decay=decay)
    average = states[0].params
    for step, state in enumerate(states[1:]):
        d = min(decay, (1 + step) / (10 + step))
        average = jax.tree.map(lambda a, p, d=d: d * a + (1 - d) * p, average, state.params)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
            state.average_params,
            average,
        )
    if decay == 0.0:
        jax.tree.map(np.testing.assert_array_equal, states[-1].average_params, states[-1].params)


def test_num_samples_is_the_number_of_posterior_samples():
    """With K samples the noise of the reported reconstruction falls as 1 / sqrt(K)."""

    def spread(num_samples):
        _, metrics = trained(60, optax.sgd(0.0), num_samples=num_samples)
        return np.std([float(m["reconstruction"]) for m in metrics])

    ratio = spread(1) / spread(16)
    assert 2.5 < ratio < 6.5  # 4 in expectation


@pytest.mark.slow
@pytest.mark.parametrize("objective", [closed_form_elbo(), maximise(bounds.iwae)])
def test_training_on_digits_lowers_the_loss(objective):
    digits = data.load("mnist_5k", data_dir="/nowhere").train.x[:512]
    model = vae(
        (28, 28, 1), 5, encoder=mlp((64,)), decoder=mlp((64,)), likelihood=heads.bernoulli()
    )
    trainer = make_trainer(
        model,
        objective,
        adam(5e-3, 150),
        num_samples=2,
        clip_norm=100.0,
        binarise=data.dynamic,
    )
    state = trainer.init(jax.random.key(0), data.mean_example(digits))
    step = jax.jit(trainer.step)
    losses = []
    for start in range(150):
        rows = np.arange(64) + 64 * (start % 8)
        state, metrics = step(state, jnp.asarray(digits[rows]))
        losses.append(float(metrics["loss"]))
    # The untrained decoder gives the mean pixel, about 207 nats on MNIST.
    assert 190 < losses[0] < 260
    assert np.mean(losses[-8:]) < np.mean(losses[:8]) - 15


def test_settings_out_of_range_are_refused():
    make = lambda **options: make_trainer(  # noqa: E731
        LINEAR.model, closed_form_elbo(), optax.sgd(0.1), **options
    )
    with pytest.raises(ValueError, match="num_samples must be at least 1, not 0"):
        make(num_samples=0)
    with pytest.raises(ValueError, match=r"average_decay must lie in \[0, 1\), not 1"):
        make(average_decay=1.0)
    with pytest.raises(ValueError, match="warmup_steps=9"):
        adam(1e-3, 9, warmup_steps=9)
    with pytest.raises(ValueError, match="learning_rate must be positive"):
        adam(0.0, 9)
    with pytest.raises(ValueError, match="clip_norm must be positive or None, not 0"):
        make(clip_norm=0.0)


def test_adam_warms_up_linearly_and_ends_at_zero():
    """Adam's first updates have the size of the learning rate, whatever the gradient."""
    optimiser = adam(0.1, 20, warmup_steps=4)
    state, sizes = optimiser.init(jnp.zeros(1)), []
    for _ in range(21):
        update, state = optimiser.update(jnp.ones(1), state)
        sizes.append(-float(update[0]))
    np.testing.assert_allclose(sizes[:5], [0, 0.025, 0.05, 0.075, 0.1], rtol=1e-4, atol=1e-9)
    cosine = 0.05 * (1 + np.cos(np.pi * np.arange(17) / 16))
    np.testing.assert_allclose(sizes[4:], cosine, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_adam_is_that_of_optax(weight_decay):
    """From gradients of 1e-12, where epsilon rules, to 1e3; the moments are the same, too."""
    ours, reference = (
        adam(0.1, 50, weight_decay=weight_decay),
        optax.adamw(
            lambda step: 0.1 * optax.cosine_decay_schedule(1.0, 50)(step), weight_decay=weight_decay
        ),
    )
    params = others = jnp.linspace(-1.0, 1.0, 6)
    state, other_state = ours.init(params), reference.init(params)
    for key in jax.random.split(jax.random.key(0), 30):
        gradient = jax.random.normal(key, (6,)) * jnp.logspace(-12, 3, 6)
        update, state = ours.update(gradient, state, params)
        other_update, other_state = reference.update(gradient, other_state, others)
        np.testing.assert_allclose(update, other_update, rtol=2e-4, atol=5e-7)
        params, others = params + update, others + other_update
    jax.tree.map(np.testing.assert_array_equal, state[0], other_state[0])


@pytest.mark.parametrize("weight_decay", [0.5, jnp.float32(0.5)])
def test_weight_decay_takes_its_part_of_a_parameter_without_any_gradient(weight_decay):
    optimiser = adam(0.1, 20, weight_decay=weight_decay)
    params = jnp.array([2.0, -3.0])
    update, _ = optimiser.update(jnp.zeros(2), optimiser.init(params), params)
    np.testing.assert_allclose(update, -0.1 * 0.5 * params, rtol=1e-5)


@pytest.mark.parametrize("clip_norm", [None, 1.0, 1e6])
def test_longer_gradients_are_scaled_to_the_clip_norm(clip_norm):
    """Plain SGD shows the gradient that was taken; the norm before clipping is what is reported."""
    (before, after), (metrics,) = trained(1, clip_norm=clip_norm)
    (_, plain), _ = trained(1)
    taken, whole = (
        jax.tree.map(lambda b, a: (b - a) / 0.01, before.params, state.params)
        for state in (after, plain)
    )
    length = float(optax.tree.norm(whole))
    np.testing.assert_allclose(metrics["gradient_norm"], length, rtol=1e-3)
    scale = min(1.0, (clip_norm or np.inf) / length)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, scale * b, rtol=1e-2, atol=2e-4), taken, whole
    )


def test_a_step_with_a_longer_gradient_than_the_skip_norm_changes_nothing_but_its_number():
    states, metrics = trained(6)
    lengths = np.array([float(of["gradient_norm"]) for of in metrics])
    limit = float(np.sort(lengths)[-2] + np.sort(lengths)[-1]) / 2  # one step is beyond it
    longest = int(lengths.argmax())
    states, metrics = trained(longest + 1, skip_norm=limit)
    before, after = states[-2:]
    assert [float(of["skipped"]) for of in metrics] == [0.0] * longest + [1.0]
    for name in ("params", "average_params", "optimiser_state"):
        jax.tree.map(np.testing.assert_array_equal, getattr(after, name), getattr(before, name))
    assert int(after.step) == longest + 1


def test_steps_with_shorter_gradients_are_taken_as_without_a_skip_norm():
    (*_, plain), _ = trained(3)
    (*_, other), metrics = trained(3, skip_norm=1e6)
    jax.tree.map(np.testing.assert_array_equal, plain.params, other.params)
    assert sum(float(of["skipped"]) for of in metrics) == 0.0


def test_norm_equals_that_of_all_leaves_in_one_vector():
    leaf_key, other_key = jax.random.split(jax.random.key(0))
    tree = {
        "kernel": jax.random.normal(leaf_key, (300, 700)),
        "bias": jax.random.normal(other_key, (700,)),
        "log_std": jnp.asarray(3.0),
    }
    flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]).astype(np.float64)
    np.testing.assert_allclose(norm(tree), np.linalg.norm(flat), rtol=1e-6)


def in_one_vector(tree):
    """float64, whose squares do not overflow."""
    return np.concatenate(
        [np.ravel(np.asarray(leaf, np.float64)) for leaf in jax.tree.leaves(tree)]
    )


def tree_of(size):
    """The largest entry is `size`, and one leaf has no axis."""
    kernel = jax.random.uniform(jax.random.key(0), (30, 70), minval=-1.0, maxval=1.0)
    return {"kernel": 0.5 * size * kernel, "bias": jnp.full(3, 1e-3), "log_std": jnp.float32(size)}


# Squares are infinite from 2e19 on; the norm of the last is the largest that float32 holds.
SIZES = [1e-6, 1.0, 1e15, 1.8e19, 1.9e19, 1e20, 1e25, 1e30, 1e37]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("transform", [lambda function: function, jax.jit])
def test_norm_is_that_of_float64_where_squares_overflow(size, transform):
    tree = tree_of(size)
    expected = np.linalg.norm(in_one_vector(tree))
    np.testing.assert_allclose(transform(norm)(tree), expected, rtol=2e-6)


def test_norm_is_right_up_to_the_largest_numbers():
    np.testing.assert_allclose(norm(jnp.array([1e38, -1e38])), np.sqrt(2.0) * 1e38, rtol=1e-6)
    np.testing.assert_allclose(norm([jnp.float32(3.4e38), jnp.zeros(2)]), 3.4e38, rtol=1e-6)


def test_norms_of_several_trees_together_are_those_of_each():
    trees = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(tree_of, SIZES))
    expected = [np.linalg.norm(in_one_vector(tree_of(size))) for size in SIZES]
    np.testing.assert_allclose(jax.jit(jax.vmap(norm))(trees), expected, rtol=2e-6)


def test_norm_of_what_is_not_finite_is_not_finite():
    assert norm({"a": jnp.array([1.0, -jnp.inf]), "b": jnp.ones(2)}) == jnp.inf
    assert jnp.isnan(norm({"a": jnp.array([1.0, jnp.nan]), "b": jnp.ones(2)}))
    assert jnp.isnan(norm({"a": jnp.array([jnp.inf, jnp.nan]), "b": jnp.ones(2)}))
    assert norm(jnp.full(100, 1e38)) == jnp.inf  # 1e39, which float32 does not hold


def times(factor):
    """An objective whose gradient is so many times that of the ELBO."""
    plain = closed_form_elbo()

    def loss(state, step, key, draw_fn):
        value, rest = plain.loss(state, step, key, draw_fn)
        return factor * value, rest

    return plain._replace(loss=loss)


def gradient_taken(factor, clip_norm, transform=jax.jit):
    """By a step of plain descent, and the norm that it reports."""
    trainer = make_trainer(LINEAR.model, times(factor), optax.sgd(1.0), clip_norm=clip_norm)
    before = trainer.init(jax.random.key(0), LINEAR.x[0])
    after, metrics = transform(trainer.step)(before, LINEAR.x)
    taken = in_one_vector(before.params) - in_one_vector(after.params)
    return taken, metrics["gradient_norm"]


@pytest.mark.parametrize("factor", [1.0, 1e15, 1e20, 1e30, 1e36])
def test_clipping_keeps_the_direction_of_gradients_whose_squares_overflow(factor):
    whole, length = gradient_taken(1.0, None)
    clipped, reported = gradient_taken(factor, 10.0)
    np.testing.assert_allclose(reported, factor * np.float64(length), rtol=1e-5)
    expected = 10.0 * whole / np.linalg.norm(whole)
    np.testing.assert_allclose(clipped, expected, atol=1e-5)


def test_a_clipped_gradient_is_neither_zero_nor_nan_where_its_norm_overflows():
    entries = jnp.array([3e38, -3e38, 1e37] * 100)
    clipped, reported = _clip({"w": entries}, 200.0)
    assert reported == jnp.inf  # 4e39, which float32 does not hold
    expected = 200.0 * in_one_vector(entries) / np.linalg.norm(in_one_vector(entries))
    np.testing.assert_allclose(clipped["w"], expected, rtol=1e-5)
    # A factor of 1e-44 is not a number of float32 that a processor keeps: the least one is taken.
    clipped, _ = _clip({"w": entries}, 1e-5)
    np.testing.assert_allclose(clipped["w"], in_one_vector(entries) * 2.0**-126, rtol=1e-5)


@pytest.mark.parametrize("clip_norm", [10.0, 200.0, 1e30])
def test_several_gradients_are_clipped_as_each_by_itself(clip_norm):
    trees = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(tree_of, SIZES))
    together, _ = jax.jit(jax.vmap(lambda tree: _clip(tree, clip_norm)))(trees)
    for lane, size in enumerate(SIZES):
        whole = in_one_vector(tree_of(size))
        expected = min(1.0, clip_norm / np.linalg.norm(whole)) * whole
        found = in_one_vector(jax.tree.map(lambda leaf, lane=lane: leaf[lane], together))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-30)


def test_a_gradient_that_is_not_finite_is_reported_as_it_is():
    for bad in (jnp.inf, jnp.nan):
        clipped, reported = _clip({"a": jnp.array([1.0, bad]), "b": jnp.ones(2)}, 200.0)
        assert jnp.array_equal(reported, bad, equal_nan=True)
        assert not jnp.isfinite(clipped["a"][1])
