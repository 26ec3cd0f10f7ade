"""The errors that a user can cause or has to hear of, each with one sentence as its message."""


class BadInputError(ValueError):
    """What the user gave cannot be used; the message is one sentence that says what can."""


class DataError(BadInputError):
    """The data set cannot be had."""


class NotAvailableError(DataError):
    """The data set is not on this machine and cannot be brought here.

    `reason` is the message without its last part, on what to use instead.
    """

    def __init__(self, reason: str, instead: str = ""):
        super().__init__(reason + instead)
        self.reason = reason


class CheckpointError(BadInputError):
    """A checkpoint cannot be written or read."""


class DivergenceError(ArithmeticError):
    """A quantity of the training is not finite."""


class DoesNotHoldError(ArithmeticError):
    """What is verified is not so."""


class Stopped(KeyboardInterrupt):
    """The user or the system asked to stop; what was worth saving is saved.

    number: the signal that asked for it.
    """

    number = 2
