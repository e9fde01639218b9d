"""Errors that end a command with one line instead of a traceback."""


class InputError(Exception):
    """Bad input. The message is one line that names the file (or option) and the mend.

    The command line prints it without a traceback and exits with code 2.
    """


class RunError(Exception):
    """A run that cannot go on, through no fault of its input. One line; exit code 1."""
