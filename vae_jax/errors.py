"""Errors that a user can cause or must know of. The message of each is one sentence."""


class BadInputError(ValueError):
    """The input of the user cannot be used; the message says what is allowed."""


class DataError(BadInputError):
    """The data set cannot be loaded."""


class NotAvailableError(DataError):
    """The data set is not on this machine and cannot be brought here.

    `reason` is the message without its last part, which says what to use instead.
    """

    def __init__(self, reason: str, instead: str = ""):
        super().__init__(reason + instead)
        self.reason = reason


class CheckpointError(BadInputError):
    """A checkpoint cannot be written or read."""


class DivergenceError(ArithmeticError):
    """A quantity of training or evaluation is not finite."""


class DoesNotHoldError(ArithmeticError):
    """A check of the self-test does not hold."""


class Stopped(KeyboardInterrupt):
    """The user or the system asked to stop; all work worth keeping is saved.

    number: number of the signal.
    """

    number = 2
