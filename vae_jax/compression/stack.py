"""A stack of bits: asymmetric numeral systems (Duda 2009), by constriction."""

from typing import Any

import numpy as np

from vae_jax.errors import BadInputError

_LARGEST = 1 << 23  # of a uniform number that is coded in one piece


def _constriction() -> Any:
    try:
        import constriction
    except ImportError as error:
        raise BadInputError(
            "Compression needs the package constriction: pip install 'vae_jax[compression]'."
        ) from error
    return constriction.stream


class Stack:
    """A stack of symbols. What was pushed last is popped first.

    A symbol of probability p takes -log2(p) bits. Symbols of an array are popped in the order of
    the array. Popping symbols that were never pushed draws them at random from what is on the
    stack.

    Attributes:
      coder: the coder of constriction.
    """

    def __init__(self, words: np.ndarray | None = None, *, is_start: bool = False):
        """words: uint32 words of a stack, or with `is_start` random bits at the start."""
        stream = _constriction()
        self._models = stream.model
        if words is None or not len(words):
            self.coder = stream.stack.AnsCoder()
        elif is_start:
            self.coder = stream.stack.AnsCoder(np.asarray(words, np.uint32), seal=True)
        else:
            self.coder = stream.stack.AnsCoder(np.asarray(words, np.uint32))

    @property
    def num_bits(self) -> int:
        """The number of bits on the stack."""
        return self.coder.num_valid_bits()

    def words(self) -> np.ndarray:
        """What is on the stack, uint32."""
        return self.coder.get_compressed()

    def is_at_start(self, words: np.ndarray) -> bool:
        """Whether nothing but the random bits of the start are left."""
        if not len(words):
            return self.coder.is_empty()
        try:
            left = self.coder.get_compressed(unseal=True)
        except AssertionError:  # by constriction: these bits were never sealed
            return False
        return np.array_equal(left, words)

    def push_bits(self, bits: np.ndarray, probabilities: np.ndarray) -> None:
        """bits: [n]; probabilities: [n], of ones."""
        model = self._models.Bernoulli(perfect=False)
        self.coder.encode_reverse(_whole(bits), model, _floats(probabilities))

    def pop_bits(self, probabilities: np.ndarray) -> np.ndarray:
        """The bits [n] that were pushed with these probabilities of ones."""
        return self.coder.decode(self._models.Bernoulli(perfect=False), _floats(probabilities))

    def push_masses(self, symbols: np.ndarray, masses: np.ndarray) -> None:
        """symbols: [n], below K; masses: [n, K], not negative."""
        model = self._models.Categorical(perfect=False)
        self.coder.encode_reverse(_whole(symbols), model, _floats(masses))

    def pop_masses(self, masses: np.ndarray) -> np.ndarray:
        """The symbols [n] that were pushed with these masses [n, K]."""
        return self.coder.decode(self._models.Categorical(perfect=False), _floats(masses))

    def push_uniform(self, symbols: np.ndarray, size: int) -> None:
        """symbols: [n], below the size."""
        symbols = np.asarray(symbols, np.int64)
        if size > _LARGEST:
            self.push_uniform(symbols % _LARGEST, _LARGEST)
            self.push_uniform(symbols // _LARGEST, -(-size // _LARGEST))
        elif size > 1:
            self.coder.encode_reverse(_whole(symbols), self._models.Uniform(size))

    def pop_uniform(self, number: int, size: int) -> np.ndarray:
        """The symbols [number] that were pushed with this size."""
        if size > _LARGEST:
            high = self.pop_uniform(number, -(-size // _LARGEST)).astype(np.int64)
            return high * _LARGEST + self.pop_uniform(number, _LARGEST)
        if size == 1:
            return np.zeros(number, np.int32)
        return self.coder.decode(self._models.Uniform(size), number)


def _whole(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, np.int32).ravel()


def _floats(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, np.float64)
