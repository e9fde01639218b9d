"""Stage: pictures or videos of one's own, and unpaired 2D poses -> a data set."""

from pathlib import Path

from skelift.config import Config


def run(config: Config) -> Path:
    """Cut, crop and split ``config.data.folder`` into ``config.paths.data``.

    Returns:
        The folder of the data set.

    Raises:
        InputError: pictures, masks or poses that cannot be used; nothing is written then.
    """
    from skelift.data.folder import prepare

    return prepare(config)
