"""Examples as whole numbers, and a visit of their distribution, table after table.

A distribution is visited by a function that asks for symbols: it says the table of some of them
and which ones they are, and goes on with the answer, on which later tables may depend. Pushing and
popping are two ways to answer, so that both see the same tables.
"""

import numpy as np

from vae_jax.compression.stack import Stack
from vae_jax.compression.tables import Table


class Known:
    """Answers with known symbols, and then pushes them in the reverse order.

    symbols: [B, S] int, those of B examples.
    """

    def __init__(self, symbols: np.ndarray):
        self.symbols = symbols.reshape(len(symbols), -1)
        self._asked: list[tuple[Table, np.ndarray]] = []

    def __call__(self, table: Table, columns: slice) -> np.ndarray:
        """The symbols of some columns, [B, n]. table: their probabilities, row by row."""
        found = self.symbols[:, columns]
        self._asked.append((table, found.ravel()))
        return found

    def push(self, stack: Stack) -> None:
        """Pushes all symbols that were asked for, so that they are popped in the order asked."""
        for table, symbols in reversed(self._asked):
            table.push(stack, symbols)


class Unknown:
    """Answers with symbols from a stack.

    Attributes:
      symbols: [B, S] int64, of which those that were asked for are known.
    """

    def __init__(self, stack: Stack, number: int, size: int):
        self.symbols = np.zeros((number, size), np.int64)
        self._stack = stack

    def __call__(self, table: Table, columns: slice) -> np.ndarray:
        """The symbols of some columns, [B, n], popped. table: their probabilities."""
        found = np.asarray(table.pop(self._stack), np.int64).reshape(len(self.symbols), -1)
        self.symbols[:, columns] = found
        return found
