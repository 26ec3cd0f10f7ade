"""Missing values: their estimates, samples of them, and how far to trust both."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.distributions import Observed, estimate_of, expected_of, whole_sample
from vae_jax.evidence.chunks import decodings_at_once
from vae_jax.models import Model, Params, draw_batch, given
from vae_jax.models.batch import Batch, as_batch
from vae_jax.models.checks import given_first, require_examples

_MOST_AT_ONCE = 1000  # examples


class Imputed(NamedTuple):
    """Estimates of the missing values of N examples, on the host."""

    value: np.ndarray  # [N, *event], the observed values, and estimates in place of missing ones
    samples: np.ndarray  # [M, N, *event], the observed values, and samples in place of missing ones
    effective_sample_size: np.ndarray  # [N], of the K weights


class Imputer(Protocol):
    """A function that imputes missing values; see `make_imputer`."""

    def __call__(
        self,
        params: Params,
        x: Observed | Batch,
        key: jax.Array,
        progress: Callable[[int], object] = ...,
    ) -> Imputed:
        """Imputes the missing values of x, `Observed` with leaves [N, *event], or of a `Batch`."""


def make_imputer(model: Model, num_samples: int, num_imputations: int = 0) -> Imputer:
    """Makes a function that imputes the missing values of examples (Mattei & Frellsen 2019).

    With K samples z_k ~ q(z|x_observed) and weights proportional to exp(log_w_k), the estimate is
    the weighted mean of E[x|z_k], the mean of x_missing given x_observed as K grows (section 3.1,
    self-normalised importance sampling). Categories have the one with the largest mean probability,
    and ordered ones the median. A sample of the missing values takes one z_k with the probability
    of its weight, and then x ~ p(x|z_k) (sampling importance resampling, section 3.2).

    Args:
      model: a model of `Observed` examples.
      num_samples: K.
      num_imputations: M, number of samples of the missing values (multiple imputation).

    Returns:
      (params, x, key, progress=...) -> `Imputed`. The noise of an example depends on the key and on
      its place alone. `progress` is called with the number of examples that are done.

    Raises:
      ValueError: `num_samples` is below 1, or `num_imputations` below 0.
      BadInputError: (when called) the examples are not those of the model.
    """
    if num_samples < 1 or num_imputations < 0:
        raise ValueError(
            f"num_samples={num_samples} must be at least 1, and num_imputations={num_imputations} "
            "at least 0."
        )

    @jax.jit
    @jax.default_matmul_precision("highest")
    def impute_chunk(params, batch, index, key):
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index)
        split = jax.vmap(partial(jax.random.split, num=3))(keys)  # [B, 3]
        noise_keys = jax.vmap(partial(jax.random.split, num=num_samples), out_axes=1)(split[:, 0])
        found = draw_batch(model, params, batch, noise_keys)
        weights = jax.nn.softmax(found.log_w, axis=0)

        def of_example(z, weights, one, choice_key, value_key):
            likelihood = given(model, one.c).likelihood
            expected = jax.vmap(lambda z: expected_of(likelihood(params, z)))(z)
            mean = jax.tree.map(lambda of: jnp.tensordot(weights, of, axes=1), expected)
            first: Any = likelihood(params, jax.tree.map(lambda leaf: leaf[0], z))
            estimate = estimate_of(first, mean)
            chosen = jax.random.categorical(choice_key, jnp.log(weights), shape=(num_imputations,))

            def sample(k, key):
                return whole_sample(likelihood(params, jax.tree.map(lambda leaf: leaf[k], z)), key)

            samples = jnp.zeros((0, *jnp.shape(estimate)))
            if num_imputations:
                samples = jax.vmap(sample)(chosen, jax.random.split(value_key, num_imputations))
            is_there = one.x.mask > 0
            complete = partial(jnp.where, is_there, one.x.value)
            return complete(estimate), jax.vmap(complete)(samples)

        value, samples = jax.vmap(of_example, (1, 1, 0, 0, 0), (0, 1))(
            found.z, weights, batch, split[:, 1], split[:, 2]
        )
        return value, samples, 1.0 / jnp.sum(jnp.square(weights), axis=0)

    def impute(params, x, key, progress=lambda num_examples: None):
        data = as_batch(x)
        require_examples(model, params, data)
        most = decodings_at_once(given_first(model, data), params)
        size = min(len(data), _MOST_AT_ONCE, max(1, most // num_samples))
        parts = []
        for start in range(0, len(data), size):
            rows = np.arange(start, start + size)
            in_data = np.minimum(rows, len(data) - 1)
            batch = jax.tree.map(jnp.asarray, data[in_data])
            value, samples, ess = jax.device_get(impute_chunk(params, batch, rows, key))
            kept = min(size, len(data) - start)
            parts.append((value[:kept], np.moveaxis(samples, 1, 0)[:kept], ess[:kept]))
            progress(start + kept)
        value, samples, ess = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Imputed(value, np.moveaxis(samples, 0, 1), ess)

    return impute
