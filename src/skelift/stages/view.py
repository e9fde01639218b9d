"""Stage: a file of poses in rerun's viewer."""

from pathlib import Path

from skelift.inference.viewer import view


def run(file: Path, save: Path | None = None) -> str:
    """Open the viewer, or write a recording.

    Args:
        file: .json or .npz that ``skelift predict`` wrote.
        save: .rrd to write; no window is opened then.

    Raises:
        InputError: the file holds no poses, rerun is not there, or there is no display.
    """
    return view(file, save)
