"""Bring another version to a running server, without losing a request."""

from argparse import ArgumentParser
from pathlib import Path

from skelift.commands.options import add_server


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options that ``run`` takes."""
    parser.add_argument("archive", type=Path, metavar="ARCHIVE", help="a .mar of another version")
    add_server(parser)


def run(archive: Path, port: int, state: Path | None) -> str:
    """Bring the archive's version, see ``roll_out``."""
    from skelift.serving.probe import default_state, read_place
    from skelift.serving.rollout import roll_out

    return roll_out(archive, read_place(state or default_state(port)))
