"""Look at predicted poses in time, with rerun.

Needs pip install 'skelift[view]'.
"""

from argparse import ArgumentParser
from pathlib import Path


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options that ``run`` takes."""
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="the .json or .npz that predict wrote"
    )
    parser.add_argument(
        "--save", type=Path, metavar="FILE.rrd", help="write a recording and open no window"
    )


def run(file: Path, save: Path | None = None) -> str:
    """Open the viewer, or write a recording.

    Raises:
        InputError: the file holds no poses, rerun is not installed, or there is no display.
    """
    from skelift.inference.viewer import view

    return view(file, save)
