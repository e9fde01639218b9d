"""Verb: whether a server of this machine is ready; a container's probe."""

from pathlib import Path

from skelift.errors import RunError
from skelift.serving.probe import default_state, is_ready, read_place


def run(port: int, state: Path | None) -> str:
    """Say ``ready`` when the model is READY and answers a canary.

    Raises:
        InputError: no server runs there.
        RunError: it is not ready.
    """
    place = read_place(state or default_state(port))
    if not is_ready(place):
        raise RunError(f"{place.inference}: not ready")
    return "ready"
