"""Importance sampling of the evidence of a whole data set."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.distributions import Observed, value_of
from vae_jax.errors import BadInputError
from vae_jax.evidence.chunks import decodings_at_once
from vae_jax.keys import unrolled
from vae_jax.models import Model, Params, draw, draw_batch, mean_elbo, require_example
from vae_jax.models.batch import Batch, as_batch
from vae_jax.models.checks import (
    Accepted,
    accepted,
    given_first,
    in_support,
    require_batch_of,
    support_of,
)

#: The number of examples in a chunk if memory allows; otherwise a divisor of it.
EXAMPLES_AT_ONCE = 100
_SAMPLES_AT_ONCE = 50


class Chunk(NamedTuple):
    """The size of the arrays of importance sampling."""

    examples: int
    samples: int  # largest number of posterior samples of each example


class Evidence(NamedTuple):
    """Estimates for each of N examples, nats, float64 on the host."""

    log_evidence: np.ndarray  # [N], importance-weighted bound on log p(x) with K samples
    elbo: np.ndarray  # [N], = reconstruction - kl
    reconstruction: np.ndarray  # [N], E_q[log p(x|z)] by K samples
    kl: np.ndarray  # [N], KL(q(z|x) || p(z))


class EvidenceEstimator(Protocol):
    """A function that estimates the evidence of examples; see `make_importance_sampler`."""

    def __call__(
        self,
        params: Params,
        pixels: Any,
        key: jax.Array,
        part: slice = ...,
        progress: Callable[[int], object] = ...,
    ) -> Evidence:
        """Estimates the evidence of pixels[part] of pixels [N, *event], or of a `Batch`."""


def make_importance_sampler(
    model: Model,
    num_samples: int,
    *,
    binarise: Callable[[jax.Array, jax.Array], jax.Array] = lambda key, pixels: pixels,
    examples_at_once: int | None = None,
    samples_at_once: int | None = None,
) -> EvidenceEstimator:
    """Makes a function that estimates log p(x) and the ELBO of every example of a data set.

    log p(x) is estimated by the log of the mean of K weights (Burda et al. 2016, eq. 8). The mean
    of this estimate is at most log p(x) and does not decrease in K. Memory is bounded by the size
    of a chunk, examples_at_once x samples_at_once, for any K and N. The noise of sample k of
    example i depends on the key, i and k alone, so that the size of a chunk does not change the
    result.

    Args:
      model: the VAE.
      num_samples: K.
      binarise: (key, pixels [*event]) -> x [*event] of one example, such as `data.grey`.
      examples_at_once: number of examples in a chunk; None for the choice of `chunk_of`.
      samples_at_once: largest number of samples of an example in a chunk; None for the choice of
        `chunk_of`.

    Returns:
      (params, pixels, key, part=slice(None), progress=...) -> `Evidence` of the examples
      pixels[part], where pixels are [N, *event] or a `Batch` of them. It is the same as among all
      examples, to the bit if the slice begins at a multiple of `examples_at_once`, or of
      `EXAMPLES_AT_ONCE` if that is None. The last chunk is padded, so that all chunks share one
      compiled program. `progress` is called with the number of examples done after each chunk.

    Raises:
      ValueError: `num_samples` or a size of the chunk is below 1.
      TypeError: (when called) the examples have an integer dtype after `binarise`.
      BadInputError: (when called) the pixels do not have the shape [N, *event] of the model, or an
        example is outside the support of the likelihood after `binarise`.
    """
    for name, value in (
        ("num_samples", num_samples),
        ("examples_at_once", examples_at_once),
        ("samples_at_once", samples_at_once),
    ):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}.")

    @partial(jax.jit, static_argnames="samples_at_once")
    @jax.default_matmul_precision("highest")  # in full precision on accelerators, too
    def estimate_chunk(params, batch, example_index, key, samples_at_once):
        full_chunks, rest = divmod(num_samples, samples_at_once)
        chunked_samples = np.arange(num_samples - rest).reshape(full_chunks, samples_at_once)
        last_samples = np.arange(num_samples - rest, num_samples)
        example_keys = jax.vmap(jax.random.split)(
            _fold_in_each(unrolled(key), example_index)
        )  # [C, 2]
        x = jax.vmap(binarise)(example_keys[:, 0], batch.x)
        binarised = Batch(x, batch.c)

        def add_samples(sums, sample_index):
            noise_keys = jax.vmap(_fold_in_each, (0, None), 1)(example_keys[:, 1], sample_index)
            sample = draw_batch(model, params, binarised, noise_keys)
            _, terms = mean_elbo(sample)
            log_weight_sum, reconstruction_sum, kl_sum = sums
            sums = (
                jnp.logaddexp(log_weight_sum, jax.nn.logsumexp(sample.log_w, axis=0)),
                reconstruction_sum + terms.reconstruction * len(sample_index),
                kl_sum + terms.kl * len(sample_index),
            )
            return sums, None

        zero = jnp.zeros(len(batch))
        sums, _ = jax.lax.scan(add_samples, (zero - jnp.inf, zero, zero), chunked_samples)
        if rest:
            sums, _ = add_samples(sums, last_samples)
        return sums, in_support(accepted(given_first(model, batch), params).likelihood, x)

    known: dict[Any, tuple[Accepted, Chunk]] = {}

    def accepted_and_chunk(params, data):
        """Found by tracing the model, once for all parameters and conditions of the same shapes."""
        leaves, structure = jax.tree.flatten((params, data.c))
        shapes = structure, *((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)
        if shapes not in known:
            one_model = given_first(model, data)
            held = chunk_of(one_model, params, num_samples, examples_at_once, samples_at_once)
            known[shapes] = accepted(one_model, params), held
        return known[shapes]

    def estimate(params, pixels, key, part=slice(None), progress=lambda num_examples: None):
        data = as_batch(pixels)
        wanted, held = accepted_and_chunk(params, data)
        require_batch_of(data, wanted._replace(x=_as_stored(wanted.x, data.x)), "pixels")
        begin, end, _ = part.indices(len(data))
        chunk = min(held.examples, len(data))
        results = [np.zeros((3, 0))]
        for start in range(begin, end, chunk):
            rows = np.arange(start, start + chunk)
            in_data = np.minimum(rows, len(data) - 1)
            batch = jax.tree.map(jnp.asarray, data[in_data])
            # Brought to the host here, so that progress counts what is computed, not queued.
            sums, inside = jax.device_get(estimate_chunk(params, batch, rows, key, held.samples))
            if not inside[: end - start].all():  # the rest is padding
                raise BadInputError(
                    f"Example {in_data[inside.argmin()]} of {len(data)} is outside "
                    f"{support_of(wanted.likelihood)}."
                )
            results.append(np.asarray(sums, np.float64))
            progress(min(start + chunk, end) - begin)
        sums = np.concatenate(results, axis=1)
        log_weight_sum, reconstruction_sum, kl_sum = sums[:, : end - begin]
        reconstruction, kl = reconstruction_sum / num_samples, kl_sum / num_samples
        return Evidence(
            log_evidence=log_weight_sum - np.log(num_samples),
            elbo=reconstruction - kl,
            reconstruction=reconstruction,
            kl=kl,
        )

    return estimate


def chunk_of(
    model: Model,
    params: Params,
    num_samples: int,
    examples_at_once: int | None = None,
    samples_at_once: int | None = None,
) -> Chunk:
    """The chunk of `make_importance_sampler`: 100 examples with 50 samples each if memory allows.

    If it does not (`chunks.decodings_at_once`), the number of samples is reduced first, and then
    the number of examples, to a divisor of `EXAMPLES_AT_ONCE`. Sizes that are given do not change.

    Args:
      model: the VAE; `models.given(model, c)` for a conditional one.
      params: parameters of the model, of which only the shapes matter.
      num_samples: K.
      examples_at_once: number of examples; None to choose it.
      samples_at_once: number of samples of each example; None to choose it.
    """
    most = decodings_at_once(model, params)
    samples, examples = samples_at_once, examples_at_once
    if samples is None:
        samples = max(1, min(_SAMPLES_AT_ONCE, most // (examples or EXAMPLES_AT_ONCE)))
    if examples is None:
        fitting = max(1, most // min(samples, num_samples))
        divisors = (n for n in range(1, EXAMPLES_AT_ONCE + 1) if EXAMPLES_AT_ONCE % n == 0)
        examples = max(n for n in divisors if n <= fitting)
    return Chunk(examples, samples)


def log_weights(
    model: Model,
    params: Params,
    x: Any,
    key: jax.Array,
    num_samples: int,
    *,
    samples_at_once: int | None = None,
) -> jax.Array:
    """The log weights of K posterior samples of ONE example, [K] nats.

    The logarithm of the mean of the weights is the IWAE estimate of log p(x) with K samples.
    `effective_sample_size` and `pareto_shape` say how far to trust it.

    Args:
      model: the VAE; `models.given(model, c)` for a conditional one.
      params: parameters of the model.
      x: [*event], the example, or a pytree of arrays.
      key: PRNG key of the samples.
      num_samples: K.
      samples_at_once: number of samples in a chunk; None for 500, or for
        `chunks.decodings_at_once` if memory allows fewer.

    Raises:
      TypeError: x has an integer dtype.
      BadInputError: x does not have the shape of one example of the model, or its values are known
        (which they are not under `jax.jit` and `jax.vmap`) and some are outside the support of the
        likelihood.
    """
    require_example(model, params, x)
    if samples_at_once is None:
        samples_at_once = min(500, decodings_at_once(model, params))

    def log_weight(key):
        return draw(model, params, x, key[None]).log_w[0]

    with jax.default_matmul_precision("highest"):
        keys = jax.random.split(key, num_samples)
        return jax.lax.map(log_weight, keys, batch_size=samples_at_once)


def mean_and_standard_error(values: np.ndarray) -> tuple[float, float]:
    """The mean over examples and its standard error, std / sqrt(N). values: [N].

    The error treats the examples as a random sample. It is nan for one example.
    """
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        return float(values.mean()), float("nan")
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def bits_per_dim(log_evidence: float, num_dims: int) -> float:
    """-log p(x) in bits for each dimension of x. log_evidence: nats."""
    return -log_evidence / (num_dims * np.log(2.0))


def _as_stored(wanted: Any, pixels: Any) -> Any:
    """An example as it may be stored: an `Observed` one as an array in which nan is missing."""
    return wanted if isinstance(pixels, Observed) else value_of(wanted)


def _fold_in_each(key: jax.Array, index: jax.Array) -> jax.Array:
    """index: [n]. Returns [n] keys."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, index)
