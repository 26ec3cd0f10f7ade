"""Importance sampling of the evidence: how good a trained model is, on a whole data set."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.errors import BadInputError
from vae_jax.keys import unrolled
from vae_jax.models import Model, Params, draw, draw_batch, mean_elbo, require_example
from vae_jax.models.checks import accepted, in_support, require_shape_of_batch, support_of

EXAMPLES_AT_ONCE = 100


class Evidence(NamedTuple):
    """Estimates for each of N examples, nats, float64 on the host."""

    log_evidence: np.ndarray  # [N], importance-weighted bound on log p(x) with K samples
    elbo: np.ndarray  # [N], = reconstruction - kl
    reconstruction: np.ndarray  # [N], E_q[log p(x|z)] by K samples
    kl: np.ndarray  # [N], KL(q(z|x) || p(z))


EvidenceEstimator = Callable[..., Evidence]


def make_importance_sampler(
    model: Model,
    num_samples: int,
    *,
    closed_form_kl: bool = True,
    binarise: Callable[[jax.Array, jax.Array], jax.Array] = lambda key, pixels: pixels,
    examples_at_once: int = EXAMPLES_AT_ONCE,
    samples_at_once: int = 50,
) -> EvidenceEstimator:
    """The IWAE-K estimate of log p(x), and the ELBO, of every example of a data set.

    log p(x) is estimated by the log of the mean of K weights (Burda et al. 2016, eq. 8): its mean
    is at most log p(x) and does not decrease in K. Memory is bounded by the chunk,
    examples_at_once x samples_at_once, whatever K and N are; the noise of sample k of example i
    depends on the key, i and k alone, so that the chunk does not change the result.

    Args:
      model: the VAE.
      num_samples: K.
      closed_form_kl: the KL term in closed form; if False, by the same K samples.
      binarise: (key, pixels [*event]) -> x [*event] of one example, such as `data.grey`.
      examples_at_once: examples in a chunk.
      samples_at_once: most posterior samples of an example in a chunk.

    Returns:
      (params, pixels [N, *event], key, part=slice(None), progress=...) -> `Evidence` of the
      examples of that part, the same as it is of them among all: to the bit if the part begins at
      a multiple of `examples_at_once`. The last, incomplete chunk is padded and the padding left
      out, so that all chunks share one compiled program. `progress` is called with the number of
      examples done after each chunk.

    Raises:
      ValueError: `num_samples` or a size of the chunk < 1.
      TypeError: (when called) no closed form of the KL; use `closed_form_kl=False`. Or the examples
        are of integers after `binarise`.
      BadInputError: (when called) the pixels do not have the shape [N, *event] of the model, or an
        example is outside the support of the likelihood after `binarise`.
    """
    for name, value in (
        ("num_samples", num_samples),
        ("examples_at_once", examples_at_once),
        ("samples_at_once", samples_at_once),
    ):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}.")
    full_chunks, rest = divmod(num_samples, samples_at_once)
    chunked_samples = jnp.arange(num_samples - rest).reshape(full_chunks, samples_at_once)
    last_samples = jnp.arange(num_samples - rest, num_samples)

    @jax.jit
    @jax.default_matmul_precision("highest")  # what is reported is exact on accelerators too
    def estimate_chunk(params, pixels, example_index, key):
        example_keys = jax.vmap(jax.random.split)(
            _fold_in_each(unrolled(key), example_index)
        )  # [C, 2]
        x = jax.vmap(binarise)(example_keys[:, 0], pixels)

        def add_samples(sums, sample_index):
            noise_keys = jax.vmap(_fold_in_each, (0, None), 1)(example_keys[:, 1], sample_index)
            sample = draw_batch(model, params, x, noise_keys)
            _, terms = mean_elbo(sample, closed_form_kl=closed_form_kl)
            log_weight_sum, reconstruction_sum, kl_sum = sums
            sums = (
                jnp.logaddexp(log_weight_sum, jax.nn.logsumexp(sample.log_w, axis=0)),
                reconstruction_sum + terms.reconstruction * len(sample_index),
                kl_sum + terms.kl * len(sample_index),
            )
            return sums, None

        zero = jnp.zeros(len(pixels))
        sums, _ = jax.lax.scan(add_samples, (zero - jnp.inf, zero, zero), chunked_samples)
        if rest:
            sums, _ = add_samples(sums, last_samples)
        return sums, in_support(accepted(model, params).likelihood, x)

    def estimate(params, pixels, key, part=slice(None), progress=lambda num_examples: None):
        wanted = accepted(model, params)
        require_shape_of_batch("pixels", "example", pixels, wanted.x.shape)
        begin, end, _ = part.indices(len(pixels))
        chunk = min(examples_at_once, len(pixels))
        results = [np.zeros((3, 0))]
        for start in range(begin, end, chunk):
            rows = np.arange(start, start + chunk)
            in_data = np.minimum(rows, len(pixels) - 1)
            # Brought to the host at once, so that progress is what was computed, not queued.
            sums, inside = jax.device_get(
                estimate_chunk(params, jnp.asarray(pixels[in_data]), rows, key)
            )
            if not inside[: end - start].all():  # the rest is padding
                raise BadInputError(
                    f"Example {in_data[inside.argmin()]} of {len(pixels)} is outside "
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


def log_weights(
    model: Model,
    params: Params,
    x: jax.Array,
    key: jax.Array,
    num_samples: int,
    *,
    samples_at_once: int = 500,
) -> jax.Array:
    """log_w of K posterior samples of ONE example, [K] nats: what `weights` judges.

    Their logmeanexp is the IWAE-K estimate of log p(x). x: [*event]. num_samples: K.

    Raises:
      TypeError: x is of integers.
      BadInputError: x does not have the shape of one example of the model, or its values are known
        (which they are not under `jax.jit` and `jax.vmap`) and some are outside the support of the
        likelihood.
    """
    require_example(model, params, x)

    def log_weight(key):
        return draw(model, params, x, key[None]).log_w[0]

    with jax.default_matmul_precision("highest"):
        keys = jax.random.split(key, num_samples)
        return jax.lax.map(log_weight, keys, batch_size=samples_at_once)


def mean_and_standard_error(values: np.ndarray) -> tuple[float, float]:
    """The mean over examples and its standard error, std / sqrt(N). values: [N].

    The error is that of the test set as a sample of its distribution; nan for a single example.
    """
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        return float(values.mean()), float("nan")
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def bits_per_dim(log_evidence: float, num_dims: int) -> float:
    """-log p(x) in bits for each dimension of x. log_evidence: nats."""
    return -log_evidence / (num_dims * np.log(2.0))


def _fold_in_each(key: jax.Array, index: jax.Array) -> jax.Array:
    """index: [n]. Returns [n] keys."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, index)
