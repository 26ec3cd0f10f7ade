"""Compression and decompression of examples, batch after batch on one stack."""

import hashlib
import json
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.compression import values
from vae_jax.compression.archive import Archive
from vae_jax.compression.coded import Latents
from vae_jax.compression.latents import latents_of
from vae_jax.compression.stack import Stack
from vae_jax.compression.symbols import Known, Unknown
from vae_jax.distributions import Distribution
from vae_jax.errors import BadInputError
from vae_jax.models import require_examples
from vae_jax.trained import TrainedVAE, event_shape_of

LATENT_BITS = 16
_MOST_AT_ONCE = 64  # examples of a batch
_MOST_SYMBOLS = 1 << 17  # of a batch with tables of probabilities
_MOST_COUNTS = 4096  # values of a count with a probability of their own
_LEAST_INEXACT = 1 << 24  # from which on float32 has no place for every whole number
_MARGIN = 64  # bits that stay on the stack


class Compressed(NamedTuple):
    """The result of `compress`.

    Attributes:
      data: content of the file.
      num_bits: size of the stack without the start.
      start_bits: random bits at its bottom, from which the first latents are popped.
      header_bits: everything else in the file.
    """

    data: bytes
    num_bits: int
    start_bits: int
    header_bits: int


def fingerprint(vae: TrainedVAE) -> str:
    """The name of a model with its parameters: the first half of a SHA-256 of both."""
    digest = hashlib.sha256(json.dumps(vae.metadata.get("model"), sort_keys=True).encode())
    for path, leaf in jax.tree_util.tree_flatten_with_path(vae.params)[0]:
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()[:32]


def require_compressible(vae: TrainedVAE) -> None:
    """Raises a BadInputError for a model that cannot compress, before any data are read."""
    Stack()
    _Codec.of(vae, LATENT_BITS)


def compress(
    vae: TrainedVAE,
    x: Any,
    *,
    latent_bits: int = LATENT_BITS,
    seed: int = 0,
    count: Callable[[int], None] = lambda number: None,
) -> Compressed:
    """Codes examples with a trained VAE, so that `decompress` gives them back to the bit.

    Bits back (Hinton & van Camp 1993; Townsend et al. 2019): z is popped from the stack by q(z|x),
    x is pushed by p(x|z) and z by p(z), which takes -log p(x|z) - log p(z) + log q(z|x) bits in the
    mean, minus the ELBO. Codes of a deterministic encoder are pushed without popping any.

    Args:
      vae: a trained model of p(x) whose likelihood is one of discrete values.
      x: [N, *event], examples as the model takes them.
      latent_bits: bits of the grid of each continuous latent, even, from 8 to 20.
      seed: seed of the random bits at the start.
      count: is told the number of examples that are done.

    Raises:
      BadInputError: the likelihood is a density or no likelihood, the latents or the prior cannot
        be coded, the model has a condition or missing values, x has another shape or other values
        than the model takes, or there is no constriction.
    """
    if latent_bits % 2 or not 8 <= latent_bits <= 20:
        raise BadInputError(f"latent_bits={latent_bits} must be even, from 8 to 20.")
    codec = _Codec.of(vae, latent_bits)
    x = np.asarray(x, np.float32)
    require_examples(vae.model, vae.params, x)
    symbols = values.to_symbols(codec.likelihood, x)
    most = int(symbols.max(initial=0))
    if most >= _LEAST_INEXACT:
        raise BadInputError(
            f"x has a count of {most:,}, and counts from 2^24 = {_LEAST_INEXACT:,} on are rounded "
            "by float32, in which models take them: compress smaller ones."
        )
    codec = codec.with_counts(most)
    words = _start(codec.latents.num_start_bits, seed)
    stack, sizes, done = Stack(words, is_start=True), [], 0
    num_start_bits = stack.num_bits
    while done < len(x):
        size = _batch_size(codec, stack, len(x) - done, x[0].size)
        codec.encode(stack, symbols[done : done + size])
        sizes.append(size)
        done += size
        count(done)
    header = {
        "model": fingerprint(vae),
        "shape": list(x.shape),
        "latent_bits": latent_bits,
        "counts": codec.num_counts,
        "batches": _runs(sizes),
        "start": [len(words), seed],
        "checksum": zlib.crc32(symbols.astype("<i4").tobytes()),
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
    }
    archive = Archive(header, stack.words())
    data = archive.to_bytes()
    num_bits = 32 * len(archive.words) - num_start_bits
    return Compressed(data, num_bits, num_start_bits, 8 * len(data) - 32 * len(archive.words))


def decompress(
    vae: TrainedVAE,
    data: bytes,
    *,
    name: str = "The file",
    count: Callable[[int, int], None] = lambda number, total: None,
) -> np.ndarray:
    """The examples that `compress` has coded with the same model, [N, *event] float32.

    They are the same to the bit as whole numbers: levels of pixels k / 255 are divided here.

    Args:
      vae: the model that has coded them.
      data: content of the file.
      name: the file in messages.
      count: is told the number of examples that are done, and that of all.

    Raises:
      BadInputError: the file is none of this kind, is cut off or damaged, or is of another model;
        or its examples come out otherwise than they went in, as they may on another device, whose
        rounding errors differ.
    """
    archive = Archive.from_bytes(data, name)
    header = archive.header
    if header["model"] != fingerprint(vae):
        raise BadInputError(
            f"{name} was compressed with another model, {header['model']}, and this one is "
            f"{fingerprint(vae)}."
        )
    codec = _Codec.of(vae, header["latent_bits"])._replace(num_counts=header["counts"])
    codec = codec.with_variable()
    stack, found, done = Stack(archive.words), [], 0
    for size in reversed([size for size, times in header["batches"] for _ in range(times)]):
        try:
            found.append(codec.decode(stack, size))
        except _OtherSymbolsError:
            raise _differing(name, header) from None
        done += size
        count(done, header["shape"][0])
    symbols = np.concatenate([*found[::-1], np.zeros((0, *codec.symbol_shape), np.int64)])
    is_same = zlib.crc32(symbols.astype("<i4").tobytes()) == header["checksum"]
    num_words, seed = header["start"]
    if not is_same or not stack.is_at_start(_random_words(num_words, seed)):
        raise _differing(name, header)
    return values.to_values(codec.likelihood, symbols)


class _OtherSymbolsError(Exception):
    """What comes from the stack contradicts itself, so that it is not what was put there."""


def _differing(name: str, header: dict[str, Any]) -> BadInputError:
    return BadInputError(
        f"{name} was compressed on {header['device']} with JAX {header['jax']}, and its examples "
        "do not come out here as they went in: rounding errors of the model differ on this device "
        "or version."
    )


class _Codec(NamedTuple):
    """What codes a batch of a model."""

    vae: TrainedVAE
    likelihood: Distribution
    latents: Latents
    symbol_shape: tuple[int, ...]
    num_counts: int
    variable: Any

    @classmethod
    def of(cls, vae: TrainedVAE, latent_bits: int) -> "_Codec":
        """The codec of a model, if it has one."""
        spec = vae.metadata.get("model") or {}
        has_condition = vae.metadata.get("condition_shape") is not None
        if has_condition or spec.get("size_factors") or spec.get("missing"):
            raise BadInputError(
                "Compression needs a model of whole examples, p(x), and this one has a condition, "
                "size factors or missing values."
            )
        model, params = vae.model, vae.params
        x = jax.ShapeDtypeStruct(event_shape_of(vae.metadata), jnp.float32)
        prior = jax.eval_shape(lambda p: model.prior(p).sample(jax.random.key(0)), params)
        likelihood = jax.eval_shape(model.likelihood, params, prior)
        if not values.is_coded(likelihood):
            raise BadInputError(
                f"A {type(likelihood).__name__} likelihood gives no probability of each value, and "
                "so no code: compress with a likelihood of black and white pixels, of 8-bit levels "
                "or of counts."
            )
        latents = latents_of(
            model, params, x, latent_bits, is_markov=bool(spec) and not spec.get("skip", True)
        )
        shape = values.symbol_shape(likelihood)
        return cls(vae, likelihood, latents, shape, 0, None).with_variable()

    def with_counts(self, most: int) -> "_Codec":
        """The same for counts up to a number."""
        if not isinstance(self.likelihood, values.COUNTS):
            return self
        return self._replace(num_counts=min(most + 1, _MOST_COUNTS) + 1).with_variable()

    def with_variable(self) -> "_Codec":
        """The same with p(x|z) as a variable."""
        model, params = self.vae.model, self.vae.params
        z = jax.eval_shape(lambda p: model.prior(p).sample(jax.random.key(0)), params)
        variable = values.variable(model.likelihood, params, z, self.num_counts)
        return self._replace(variable=variable)

    def encode(self, stack: Stack, symbols: np.ndarray) -> None:
        """Puts a batch on the stack."""

        def push_x(z):
            answers = Known(self._clipped(symbols))
            values.visit(self.variable, z, answers)
            answers.push(stack)
            self._push_excess(stack, symbols)

        x = jnp.asarray(values.to_values(self.likelihood, symbols))
        self.latents.encode(stack, x, push_x)

    def decode(self, stack: Stack, number: int) -> np.ndarray:
        """Takes a batch of symbols from the stack."""
        found = []

        def pop_x(z):
            size = int(np.prod(self.symbol_shape))
            excess = self._pop_excess(stack, number * size)
            answers = Unknown(stack, number, size)
            values.visit(self.variable, z, answers)
            symbols = answers.symbols
            if self.num_counts:
                is_last = symbols == self.num_counts - 1
                if is_last.sum() != len(excess):
                    raise _OtherSymbolsError
                symbols[is_last] += excess
            found.append(symbols.reshape(number, *self.symbol_shape))
            return jnp.asarray(values.to_values(self.likelihood, found[0]))

        self.latents.decode(stack, number, pop_x)
        return found[0]

    def _clipped(self, symbols: np.ndarray) -> np.ndarray:
        """Symbols, the last of which stands for all counts from there on."""
        return np.minimum(symbols, self.num_counts - 1) if self.num_counts else symbols

    def _push_excess(self, stack: Stack, symbols: np.ndarray) -> None:
        """Pushes what counts have beyond the last value with a probability of its own, 24 bits
        each, and their number."""
        if not self.num_counts:
            return
        excess = symbols.ravel() - (self.num_counts - 1)
        excess = excess[excess >= 0]
        stack.push_uniform(excess, _LEAST_INEXACT)
        if self.num_counts > _MOST_COUNTS:
            stack.push_uniform(np.array([len(excess)]), 1 << 31)

    def _pop_excess(self, stack: Stack, most: int) -> np.ndarray:
        """The inverse of `_push_excess`. most: number of counts of the batch."""
        if self.num_counts <= _MOST_COUNTS:
            return np.zeros(0, np.int64)
        (number,) = stack.pop_uniform(1, 1 << 31)
        if number > most:
            raise _OtherSymbolsError
        return np.asarray(stack.pop_uniform(int(number), _LEAST_INEXACT), np.int64)


def _batch_size(codec: _Codec, stack: Stack, left: int, num_values: int) -> int:
    """The number of examples that are coded at once: a power of two for whose latents there are
    bits on the stack."""
    each = codec.latents.num_start_bits
    most = left if each == 0 else (stack.num_bits - _MARGIN) // each
    size = max(1, min(most, left, _MOST_AT_ONCE, _MOST_SYMBOLS // num_values))
    return 1 << (size.bit_length() - 1)


def _start(num_bits: int, seed: int) -> np.ndarray:
    """The random words at the bottom of the stack."""
    if num_bits == 0:
        return np.zeros(0, np.uint32)
    return _random_words(-(-(num_bits + _MARGIN) // 32), seed)


def _random_words(number: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1 << 32, number, np.uint32)


def _runs(sizes: list[int]) -> list[list[int]]:
    """Sizes as pairs of a size and how often it follows itself."""
    found: list[list[int]] = []
    for size in sizes:
        if found and found[-1][0] == size:
            found[-1][1] += 1
        else:
            found.append([size, 1])
    return found
