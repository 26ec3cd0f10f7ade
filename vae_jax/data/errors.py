"""What can go wrong with a data set, each as one sentence for the user."""


class DataError(ValueError):
    """The data set cannot be had; the message is one sentence for the user."""


class NotAvailableError(DataError):
    """The data set is not on this machine and cannot be brought here.

    `reason` is the message without its last part, on what to use instead.
    """

    def __init__(self, reason: str, instead: str = ""):
        super().__init__(reason + instead)
        self.reason = reason
