"""Stage: render a data set with known truth."""

from pathlib import Path

from skelift.config import Config


def run(config: Config) -> Path:
    """Render ``config.data.synth`` into ``config.paths.data``.

    Returns:
        The folder of the data set.

    Raises:
        InputError: the data set is not a rendered one, or its bodies or motion cannot be used.
    """
    from skelift.synth.generate import synthesize

    return synthesize(config)
