"""Errors that end a command with one line instead of a traceback."""

from collections.abc import Iterable


class InputError(Exception):
    """Bad input. The message is one line that names the file (or option) and the mend.

    The command line prints it without a traceback and exits with code 2.
    """


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


def require(section: str, rules: Iterable[tuple[bool, str]]) -> None:
    """InputError with the first rule that is not kept.

    Args:
        section: part of the configuration that the rules are of, as ``data.h36m``.
        rules: whether each is kept, and ``KEY: what it has to be``.
    """
    for kept, rule in rules:
        if not kept:
            raise InputError(f"{section}.{rule}; correct it")
