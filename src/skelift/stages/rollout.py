"""Verb: another version of the model on a running server, with no request lost."""

from pathlib import Path

from skelift.serving.probe import default_state, read_place
from skelift.serving.rollout import roll_out


def run(archive: Path, port: int, state: Path | None) -> str:
    """Bring the archive's version, see ``roll_out``."""
    return roll_out(archive, read_place(state or default_state(port)))
