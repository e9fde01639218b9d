"""Errors that a person can mend."""


class InputError(Exception):
    """Bad input. The message is one line that names the file (or option) and the mend.

    The command line prints it without a traceback and exits with code 2.
    """
