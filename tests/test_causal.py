"""Causal networks: nothing is seen ahead, everything before is, and steps are one pass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.networks import Values, pixelcnn, transformer

GRID = (4, 3)
PLACES = GRID[0] * GRID[1]
NETWORKS = {
    "pixelcnn of 3": pixelcnn(6, 3, 3),
    "pixelcnn of 5": pixelcnn(6, 2, 5),
    "transformer": transformer(8, 2, 2),
}
CONTEXTS = {"none": None, "one": (3,), "of each place": (*GRID, 2)}


def network_of(architecture, *, are_whole=False, context=None):
    of = Values(GRID, 5 if are_whole else 2, are_whole, 3, context)
    network = architecture(of)
    params = network.init(jax.random.key(0))
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    # The last layer starts at zero.
    noisy = [
        leaf + 0.5 * jax.random.normal(key, leaf.shape)
        for key, leaf in zip(keys, leaves, strict=True)
    ]
    return network, jax.tree.unflatten(structure, noisy)


@pytest.mark.parametrize("name", NETWORKS)
def test_an_output_depends_on_all_values_before_it_and_on_no_other(name):
    network, params = network_of(NETWORKS[name])
    values = jax.random.normal(jax.random.key(2), (*GRID, 2))
    jacobian = jax.jit(jax.jacobian(lambda values: network.apply(params, values, None)))(values)
    size = np.abs(np.asarray(jacobian)).sum(axis=(2, 5)).reshape(PLACES, PLACES)
    before = np.tril(np.ones((PLACES, PLACES), bool), -1)
    assert (size[~before] == 0.0).all()
    assert (size[before] > 0.0).all()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("are_whole", [False, True])
def test_steps_give_the_outputs_of_one_pass(name, context, are_whole):
    shape = CONTEXTS[context]
    network, params = network_of(NETWORKS[name], are_whole=are_whole, context=shape)
    key = jax.random.key(3)
    if are_whole:
        values = jax.random.randint(key, GRID, 0, 5)
    else:
        values = jax.random.normal(key, (*GRID, 2))
    c = None if shape is None else jax.random.normal(key, shape)
    flat = values.reshape(PLACES, *values.shape[2:])

    @jax.jit
    def by_steps(params, flat, c):
        def step(cache, t):
            return network.step(params, cache, t, flat[jnp.maximum(t - 1, 0)])

        return jax.lax.scan(step, network.start(params, c), jnp.arange(PLACES))[1]

    outputs = network.apply(params, values, c)
    np.testing.assert_allclose(by_steps(params, flat, c).reshape(outputs.shape), outputs, atol=1e-5)
    if c is not None:  # which is heard at every place
        other = network.apply(params, values, c + 1.0)
        # A rectified unit may be off at a place.
        assert (np.abs(np.asarray(other - outputs)).max(axis=-1) > 0.0).mean() > 0.7


def test_places_differ_before_anything_is_known():
    for architecture in NETWORKS.values():
        network, params = network_of(architecture)
        outputs = np.asarray(network.apply(params, jnp.zeros((*GRID, 2)), None))
        assert len(np.unique(outputs.reshape(PLACES, -1).round(4), axis=0)) == PLACES


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: pixelcnn(0), "positive width"),
        (lambda: pixelcnn(8, 2, 4), "odd kernel_size"),
        (lambda: transformer(10, 2, 4), "divide the width"),
        (lambda: transformer(8, 0), "positive"),
    ],
)
def test_sizes_that_are_none_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()
