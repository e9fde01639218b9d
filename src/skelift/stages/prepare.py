"""Stage: images, videos or a public data set, and unpaired 2D poses -> a data set."""

from importlib import import_module
from pathlib import Path

from skelift.config import Config
from skelift.errors import InputError

# Section of ``config.data`` -> the module that reads what it describes.
LOADERS = {
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
        InputError: images, masks or poses that cannot be used; nothing is written then.
    """
    for section, module in LOADERS.items():
        if getattr(config.data, section) is not None:
            made: Path = import_module(module).prepare(config)
            return made
    raise InputError(f"data={config.data.name}: no own images; `skelift synthesize` makes it")
