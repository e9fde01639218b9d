"""Stage: rendered bodies, one's own images or a public data set -> a data set."""

import sys
from importlib import import_module
from pathlib import Path

from skelift.config import Config
from skelift.data.chosen import of_unknown_camera
from skelift.data.format import FILES, Dataset
from skelift.errors import InputError
from skelift.files import check_replaceable, claimed

# Section of ``config.data`` -> the module that makes what it describes.
LOADERS = {
    "synth": "skelift.synth.generate",
    "folder": "skelift.data.folder",
    "h36m": "skelift.data.sources.h36m",
    "mpi_inf_3dhp": "skelift.data.sources.mpi_inf_3dhp",
    "handdb": "skelift.data.sources.handdb",
    "mix": "skelift.data.sources.mixture",
}


def run(config: Config) -> Path:
    """Make the data set that ``config.data`` describes at ``config.paths.data``.

    Returns:
        The folder of the data set.

    Raises:
        InputError: not exactly one source is described, it cannot be used, or the folder cannot be
            written; nothing is written then.
    """
    described = [section for section in LOADERS if getattr(config.data, section) is not None]
    if len(described) != 1:
        raise InputError(
            f"data={config.data.name}: describes {' and '.join(described) or 'no source'}; "
            f"set one of data.{', data.'.join(LOADERS)}, and the others to null"
        )
    out = Path(config.paths.data)
    check_replaceable(out, *FILES)
    with claimed(out, by="prepare", beside=True):
        made: Path = import_module(LOADERS[described[0]]).prepare(config)
    if config.model.units == "camera" and (unknown := of_unknown_camera(Dataset(made))):
        print(
            f"{made}: warning: {unknown} without a focal length; prepare them again with one "
            "(data.folder.focal_px, `focal` of an .npz), or give model.units=crop to each later "
            "command (and here, to drop this line)",
            file=sys.stderr,
        )
    return made
