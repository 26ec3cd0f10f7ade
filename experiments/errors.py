"""What ends a command, each with one sentence for the user."""


class BadInputError(ValueError):
    """What the user gave cannot be used; the message is one sentence that says what can."""


class DivergenceError(ArithmeticError):
    """A quantity of the training is not finite."""


class DoesNotHoldError(ArithmeticError):
    """What the command verifies is not so."""


class Stopped(KeyboardInterrupt):
    """The user or the system asked to stop; what was worth saving is saved."""
