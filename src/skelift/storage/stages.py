"""Stages on a bucket: what a stage reads is pulled first, what it writes is pushed when it ends.

The stage itself knows folders alone, so its logic is the same with and without a bucket.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from skelift.config import Config
from skelift.errors import InputError
from skelift.storage.bucket import Location

# A stage reads and writes them while it runs, and may be killed: they are mirrored all the time.
MIRRORED = ("checkpoints",)


@contextmanager
def stored(config: Config, reads: Iterable[str], writes: Iterable[str]) -> Iterator[None]:
    """Around a stage: with ``config.storage.uri``, its folders come from and go to the bucket.

    Checkpoints, which need not exist, are pulled where the bucket has newer ones than the disk,
    and pushed whenever they change: a training that is killed goes on on another machine.

    Args:
        config: the run.
        reads: names in ``config.paths`` of the folders that the stage needs.
        writes: names of the folders that it writes; what is there already is pulled first, since
            several stages write into ``reports``.

    Raises:
        InputError: a folder to read is not in the bucket, or the bucket cannot be used.
    """
    if not config.storage.uri:
        yield
        return
    from skelift.storage.folders import pull, push, pushed_at
    from skelift.storage.mirror import mirrored

    root, is_main = Location.parse(config.storage.uri), int(os.environ.get("RANK", "0")) == 0
    places = {name: Path(getattr(config.paths, name)) for name in (*reads, *writes)}
    with ExitStack() as mirrors:
        for name, folder in places.items():
            where = root / _key(folder)
            if name in MIRRORED:
                mirrors.enter_context(mirrored(folder, where, pushes=is_main))
            elif name in reads or pushed_at(where):
                pull(where, folder)
        yield
    if is_main:  # of the processes of torchrun, the first
        for name in writes:
            push(places[name], root / _key(places[name]))


def _key(folder: Path) -> str:
    """Where a folder lies below ``storage.uri``: as it does below the current folder."""
    try:
        return folder.absolute().resolve().relative_to(Path.cwd().resolve()).as_posix()
    except ValueError:
        raise InputError(
            f"{folder}: not below the current folder, so it has no place in the bucket; give "
            "paths.* relative to it"
        ) from None
