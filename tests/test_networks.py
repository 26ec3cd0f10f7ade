import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from vae_jax.models import elbo, vae
from vae_jax.networks import from_linen, from_nnx, gated_mlp, mlp

X = jnp.linspace(-1.0, 1.0, 12).reshape(2, 3, 2)


def dense(params, h):
    return h @ params["kernel"] + params["bias"]


def sigmoid(h):
    return 1 / (1 + np.exp(-h))


def test_mlp_is_affine_maps_with_activations_between():
    network = mlp((5, 4), jnp.tanh)(X.shape, (3,))
    params = network.init(jax.random.key(0))
    h = np.tanh(dense(params["Dense_0"], np.ravel(X)))
    h = np.tanh(dense(params["Dense_1"], h))
    np.testing.assert_allclose(network.apply(params, X), dense(params["output"], h), rtol=1e-5)


@pytest.mark.parametrize("activation", [None, jax.nn.relu])
def test_gated_mlp_multiplies_values_by_sigmoid_gates(activation):
    network = gated_mlp((5, 4), activation)(X.shape, (3,))
    params = network.init(jax.random.key(0))
    h = np.ravel(X)
    for layer, width in (("Dense_0", 5), ("Dense_1", 4)):
        both = dense(params[layer], h)
        value = both[:width] if activation is None else np.maximum(both[:width], 0)
        h = value * sigmoid(both[width:])
    np.testing.assert_allclose(network.apply(params, X), dense(params["output"], h), rtol=1e-5)


@pytest.mark.parametrize("architecture", [mlp((7,)), gated_mlp((7,)), mlp(())])
def test_output_bias_shifts_the_untrained_output(architecture):
    network = architecture(X.shape, (3,))
    bias = jnp.array([1.0, -2.0, 0.5])
    plain, shifted = (network.init(jax.random.key(1), b) for b in (0.0, bias))
    np.testing.assert_allclose(network.apply(shifted, X) - network.apply(plain, X), bias, rtol=1e-5)


def test_no_hidden_layer_is_an_affine_map():
    network = mlp(())(X.shape, (3,))
    params = network.init(jax.random.key(0))
    assert set(params) == {"output"}
    np.testing.assert_allclose(
        network.apply(params, X), dense(params["output"], jnp.ravel(X)), rtol=1e-6
    )


class LinenStack(nn.Module):
    """The layers of `mlp((7,), jnp.tanh)`, whose output has a shape of its own."""

    output_shape: tuple[int, ...]

    @nn.compact
    def __call__(self, x):
        h = jnp.tanh(nn.Dense(7, name="first")(jnp.ravel(x)))
        return nn.Dense(math.prod(self.output_shape), name="last")(h).reshape(-1, 2)


class NnxStack(nnx.Module):
    def __init__(self, num_inputs, output_shape, rngs):
        sizes = (num_inputs, 7, math.prod(output_shape))
        self.layers = nnx.List(nnx.Linear(*sizes[i : i + 2], rngs=rngs) for i in range(2))

    def __call__(self, x):
        return self.layers[1](jnp.tanh(self.layers[0](jnp.ravel(x))))


# name -> (num_inputs -> architecture, the names of its two layers)
OWN = {
    "linen": (lambda num_inputs: from_linen(LinenStack), ("first", "last")),
    "nnx": (
        lambda num_inputs: from_nnx(lambda *rest: NnxStack(num_inputs, *rest)),
        ("layers/0", "layers/1"),
    ),
}


@pytest.fixture(params=OWN)
def own(request):
    return OWN[request.param]


def part(params, path):
    for name in path.split("/"):
        params = params[name]
    return params


def test_own_modules_with_the_weights_of_an_mlp_have_its_outputs_and_gradients(own):
    stack, (first, last) = own
    network, reference = stack(12)(X.shape, (4,)), mlp((7,), jnp.tanh)(X.shape, (4,))
    expected = reference.init(jax.random.key(0), jnp.arange(4.0))
    params = network.init(jax.random.key(1))
    for path, weights in ((first, expected["Dense_0"]), (last, expected["output"])):
        assert part(params["module"], path).keys() == weights.keys()
        part(params["module"], path).update(weights)
    np.testing.assert_allclose(network.apply(params, X), reference.apply(expected, X), atol=1e-6)

    def gradient(network, params):
        return jax.jit(jax.grad(lambda params: jnp.sum(network.apply(params, X) ** 2)))(params)

    found, wanted = gradient(network, params), gradient(reference, expected)
    for path, name in ((first, "Dense_0"), (last, "output")):
        for weight, values in wanted[name].items():
            assert np.any(values)
            np.testing.assert_allclose(part(found["module"], path)[weight], values, rtol=1e-5)
    np.testing.assert_allclose(found["output_bias"], wanted["output"]["bias"], rtol=1e-5)


def test_own_modules_start_at_the_output_bias_and_depend_on_the_key(own):
    network = own[0](12)(X.shape, (4,))
    bias = jnp.array([1.0, -2.0, 0.5, 3.0])
    plain, shifted, other = (
        network.init(jax.random.key(seed), b) for seed, b in ((0, 0.0), (0, bias), (1, 0.0))
    )
    outputs = [network.apply(params, X) for params in (plain, shifted, other)]
    np.testing.assert_allclose(outputs[1] - outputs[0], bias, rtol=1e-5)
    assert not np.allclose(outputs[0], outputs[2])


def test_the_params_of_own_modules_are_nested_dicts_with_names(own):
    stack, paths = own
    params = stack(12)(X.shape, (4,)).init(jax.random.key(0))
    leaves, _ = jax.tree.flatten_with_path(params)
    assert all(isinstance(key, jax.tree_util.DictKey) for path, _ in leaves for key in path)
    names = {jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves}
    assert names == {"output_bias"} | {
        f"module/{path}/{weight}" for path in paths for weight in ("kernel", "bias")
    }


def test_a_vae_of_own_modules_starts_at_the_mean_and_learns(own):
    """One image with 3 white pixels of 12 loses 6.75 nats at first and can come to lose none."""
    stack, _ = own
    model = vae((2, 3, 2), 2, encoder=stack(12), decoder=stack(2))
    x = jnp.zeros(12).at[:3].set(1.0).reshape(2, 3, 2)
    mean = jnp.full((2, 3, 2), 0.25)
    params = model.init(jax.random.key(0), mean)
    start = model.likelihood(params, jnp.zeros(2)).mean
    np.testing.assert_allclose(start, mean, atol=1e-6)  # biases are zero, tanh(0) is

    optimiser = optax.adam(0.05)

    @jax.jit
    def step(params, state, key):
        loss, gradient = jax.value_and_grad(lambda p: -elbo(model, p, x, key)[0])(params)
        updates, state = optimiser.update(gradient, state)
        return optax.apply_updates(params, updates), state, loss

    state, losses = optimiser.init(params), []
    for key in jax.random.split(jax.random.key(1), 60):
        params, state, loss = step(params, state, key)
        losses.append(float(loss))
    assert losses[0] > 5.0
    assert np.mean(losses[-10:]) < 2.0


class Normalised(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.BatchNorm(use_running_average=True)(jnp.ravel(x))


class Dropped(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dropout(0.5, deterministic=False)(jnp.ravel(x))


class Pair(nn.Module):
    @nn.compact
    def __call__(self, x):
        return x, x


@pytest.mark.parametrize(
    ("architecture", "error", "message"),
    [
        (
            from_linen(nn.Dense(5)),
            ValueError,
            r"Dense returns 30 values .* needs 12",
        ),
        (
            from_linen(Normalised()),
            ValueError,
            r"Normalised has .* params \(batch_stats\)",
        ),
        (from_linen(Dropped()), ValueError, "Dropped draws random numbers when it is applied"),
        (from_linen(Pair()), ValueError, "Pair must return one array, not a tuple"),
        (from_linen(len), TypeError, "from_linen needs a flax.linen module, not a int"),
        (
            from_nnx(lambda output_shape, rngs: nnx.Linear(2, *output_shape, rngs=rngs)),
            ValueError,
            r"Linear returns 72 values of the shape \(2, 3, 12\), .* needs 12",
        ),
        (
            from_nnx(lambda output_shape, rngs: nnx.BatchNorm(*output_shape, rngs=rngs)),
            ValueError,
            r"BatchNorm has variables other than params \(BatchStat\)",
        ),
        (
            from_nnx(lambda output_shape, rngs: nnx.Dropout(0.5, rngs=rngs)),
            ValueError,
            r"Dropout has variables other than params \(RngCount, RngKey\)",
        ),
        (from_nnx(lambda *_: 3), TypeError, "from_nnx needs a flax.nnx module, not a int"),
    ],
)
def test_modules_that_are_no_functions_of_params_and_input_are_refused(
    architecture, error, message
):
    with pytest.raises(error, match=message):
        architecture(X.shape, (12,)).init(jax.random.key(0))


def test_a_module_that_was_made_before_serves_as_it_is():
    network = from_linen(nn.Dense(2))(X.shape, (12,))
    params = network.init(jax.random.key(0))
    expected = (X.reshape(6, 2) @ params["module"]["kernel"]).ravel()
    np.testing.assert_allclose(network.apply(params, X), expected, rtol=1e-5)
