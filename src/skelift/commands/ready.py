"""Ask whether the server is ready: exit code 0 or not.

A container's probe calls it.
"""

from argparse import ArgumentParser
from pathlib import Path

from skelift.commands.options import add_server


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options that ``run`` takes."""
    add_server(parser)


def run(port: int, state: Path | None) -> str:
    """Say ``ready`` when the model is READY and answers a canary.

    Raises:
        InputError: no server runs there.
        RunError: it is not ready.
    """
    from skelift.errors import RunError
    from skelift.serving.probe import default_state, is_ready, read_place

    place = read_place(state or default_state(port))
    if not is_ready(place):
        raise RunError(f"{place.inference}: not ready")
    return "ready"
