"""Errors that end a command with one line instead of a traceback."""


class InputError(Exception):
    """Bad input. The message is one line that names the file (or key) and the fix.

    The command line prints it without a traceback and exits with code 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))  # names in it may have line ends


class RunError(Exception):
    """A run that cannot go on, through no fault of its input. One line; exit code 1."""


class RequestError(InputError):
    """One image or request that cannot be answered, with what a server says of it.

    Args:
        status: HTTP status.
        kind: short, stable name of the fault, for programs.
        message: one line for people; never an exception's text.
    """

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
