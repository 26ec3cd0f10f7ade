import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.exact import linear_vae
from vae_jax.objectives import closed_form_elbo
from vae_jax.training import Trainer, checkpoint, divergence, make_epoch, make_trainer
from vae_jax.training.trainer import epoch_order_key

LINEAR = linear_vae(num_examples=22)


def make(learning_rate=0.01, **options):
    return make_trainer(LINEAR.model, closed_form_elbo(), optax.adam(learning_rate), **options)


def visits(state):
    """A trainer that counts how often, and at which step, each example was seen."""

    def step(state, ids):
        # The parameters are the step at which each example was seen last.
        seen = state.params.at[ids].set(state.step + 1)
        return state._replace(step=state.step + 1, params=seen), {"loss": jnp.mean(1.0 * ids)}

    return Trainer(init=lambda key, x: state, step=step)


def test_an_epoch_sees_every_example_once_in_an_order_of_its_own():
    state = make().init(jax.random.key(0), LINEAR.x[0])._replace(params=jnp.zeros(22, jnp.int32))
    run_epoch = make_epoch(visits(state), batch_size=5)
    orders = []
    ids = jnp.arange(22)
    for epoch in range(3):
        state, info = run_epoch(state._replace(params=jnp.zeros(22, jnp.int32)), ids)
        seen_at = np.asarray(state.params)
        # Four batches of five; the incomplete batch of two is left out.
        counts = np.bincount(seen_at, minlength=4 * (epoch + 1) + 1)
        assert counts[0] == 2
        np.testing.assert_array_equal(counts[-4:], [5, 5, 5, 5])
        assert np.isfinite(info.metrics["loss"])
        orders.append(tuple(np.where(seen_at > 0, seen_at - 4 * epoch, 0)))
    assert len(set(orders)) == 3


def test_an_epoch_is_a_loop_of_steps_and_reports_their_mean():
    trainer = make()
    state = trainer.init(jax.random.key(0), LINEAR.x[0])
    looped = jax.tree.map(jnp.copy, state)
    run_epoch = make_epoch(trainer, batch_size=11)
    after, info = run_epoch(state, LINEAR.x)
    order = jax.random.permutation(epoch_order_key(looped, 0), 22).reshape(2, 11)
    losses = []
    for rows in order:
        looped, metrics = jax.jit(trainer.step)(looped, LINEAR.x[rows])
        losses.append(float(metrics["loss"]))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        after.params,
        looped.params,
    )
    np.testing.assert_allclose(info.metrics["loss"], np.mean(losses), rtol=1e-5)


def test_nothing_recompiles_after_the_first_epoch_nor_after_a_resume(tmp_path):
    trainer = make()
    chex.clear_trace_counter()
    step = chex.assert_max_traces(trainer.step, n=1)
    run_epoch = make_epoch(trainer._replace(step=step), batch_size=5)
    state = trainer.init(jax.random.key(0), LINEAR.x[0])
    for _ in range(3):
        state, _ = run_epoch(state, LINEAR.x)
    checkpoint.save(tmp_path, 3, state, {})
    state, _ = checkpoint.restore(tmp_path, lambda metadata: state)
    state, _ = run_epoch(state, LINEAR.x)
    assert int(state.step) == 16


def test_the_state_is_donated():
    state = make().init(jax.random.key(0), LINEAR.x[0])
    leaf = state.params["decoder"]["output"]["kernel"]
    make_epoch(make(), batch_size=5)(state, LINEAR.x)
    assert leaf.is_deleted()


def test_a_batch_larger_than_the_data_is_refused():
    state = make().init(jax.random.key(0), LINEAR.x[0])
    with pytest.raises(ValueError, match="batch_size=23 is larger than the data, 22 examples"):
        make_epoch(make(), batch_size=23)(state, LINEAR.x)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_named_with_its_step(bad):
    trainer = make()
    run_epoch = make_epoch(trainer, batch_size=2)
    state, info = run_epoch(trainer.init(jax.random.key(0), LINEAR.x[0]), LINEAR.x)
    assert divergence(info) is None
    x = np.array(LINEAR.x)
    x[7, 0] = bad
    order = jax.random.permutation(epoch_order_key(state, 1), 22)
    step = 11 + int(np.argmax(np.asarray(order) == 7)) // 2  # 11 steps an epoch
    _, info = run_epoch(state, jnp.asarray(x))
    assert divergence(info) == f"reconstruction at step {step}"


def test_gradients_and_parameters_that_fail_behind_finite_losses_are_named():
    def failing(quantities, at_step):
        def step(state, pixels):
            bad = jnp.where(state.step == at_step, jnp.nan, 1.0)
            metrics = dict.fromkeys(("kl", "loss", "gradient_norm"), jnp.ones(()))
            metrics |= dict.fromkeys(quantities & metrics.keys(), bad)
            if "parameter_norm" in quantities:
                state = state._replace(params=jax.tree.map(lambda p: p * bad, state.params))
            return state._replace(step=state.step + 1), metrics

        trainer = make()._replace(step=step)
        run_epoch = make_epoch(trainer, batch_size=2)
        _, info = run_epoch(trainer.init(jax.random.key(0), LINEAR.x[0]), LINEAR.x)
        return divergence(info)

    assert failing({"gradient_norm"}, 3) == "gradient_norm at step 3"
    # The parameters are looked at after the last of eleven steps.
    assert failing({"parameter_norm"}, 3) == "parameter_norm at step 10"
    # If several fail in one step, the earliest in the computation is named.
    assert failing({"kl", "loss", "gradient_norm", "parameter_norm"}, 10) == "kl at step 10"
    assert failing({"gradient_norm", "parameter_norm"}, 10) == "gradient_norm at step 10"
    assert failing({"loss", "gradient_norm"}, 4) == "loss at step 4"


def test_a_batch_over_two_devices_gives_the_step_of_one():
    trainer = make()
    state = trainer.init(jax.random.key(0), LINEAR.x[0])
    mesh = jax.make_mesh((2,), ("batch",), (jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
    halves = jax.device_put(LINEAR.x, sharding)
    assert len(halves.sharding.device_set) == 2
    one, one_metrics = jax.jit(trainer.step)(state, LINEAR.x)
    two, two_metrics = jax.jit(trainer.step)(state, halves)
    for a, b in ((one.params, two.params), (one_metrics, two_metrics)):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), a, b)
