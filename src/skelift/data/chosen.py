"""The data set on disk, checked against the configuration that chose it."""

from skelift.config import Config
from skelift.data.format import Dataset
from skelift.errors import InputError


def chosen_dataset(config: Config) -> Dataset:
    """The data set of ``config.paths.data``.

    Raises:
        InputError: it is missing, or another one than the configuration describes: its skeleton,
            ``data.size`` or ``data.name`` differ.
    """
    data = Dataset(config.paths.data)
    for key, has, asked in (
        ("data.name", data.info.name, config.data.name),
        ("data.size", data.info.size, config.data.size),
        ("skeleton", data.skeleton.name, config.body.name),
    ):
        if has != asked:
            raise InputError(
                f"{data.folder}: a data set of {key}={has}, the configuration has {key}={asked}; "
                f"set {key}={has}, or name another paths.data"
            )
    if data.skeleton.joints != config.body.joints:
        raise InputError(
            f"{data.folder}: the joints of its skeleton {data.skeleton.name} are not those of the "
            "configuration's; choose the skeleton that it was made with"
        )
    return data
