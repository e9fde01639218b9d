"""Stages on a bucket: what a stage reads is pulled first, what it writes is pushed when it ends.

The stage itself knows folders alone, so its logic is the same with and without a bucket.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from skelift.config import Config
from skelift.errors import InputError
from skelift.storage.bucket import Location

# A run that is going on needs them at once and writes them often: they stay on the disk.
LOCAL_ONLY = ("checkpoints",)


@contextmanager
def stored(config: Config, reads: Iterable[str], writes: Iterable[str]) -> Iterator[None]:
    """Around a stage: with ``config.storage.uri``, its folders come from and go to the bucket.

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
    from skelift.storage.folders import exists, pull, push

    root = Location.parse(config.storage.uri)
    reads, writes = ([n for n in names if n not in LOCAL_ONLY] for names in (reads, writes))
    for name in (*reads, *writes):
        folder = _folder(config, name)
        if name in reads or exists(root / _key(folder)):
            pull(root / _key(folder), folder)
    yield
    if int(os.environ.get("RANK", "0")) == 0:  # of the processes of torchrun, the first
        for name in writes:
            folder = _folder(config, name)
            push(folder, root / _key(folder))


def _folder(config: Config, name: str) -> Path:
    return Path(getattr(config.paths, name))


def _key(folder: Path) -> str:
    """Where a folder lies below ``storage.uri``: as it does below the current folder."""
    try:
        return folder.absolute().resolve().relative_to(Path.cwd().resolve()).as_posix()
    except ValueError:
        raise InputError(
            f"{folder}: not below the current folder, so it has no place in the bucket; give "
            "paths.* relative to it"
        ) from None
