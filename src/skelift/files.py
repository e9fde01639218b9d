"""Files and folders that appear whole or not at all."""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from skelift.errors import InputError

STATISTICS = "stats.jsonl"  # one JSON line per interval of a training, beside its model


@contextmanager
def atomic_file(path: Path, suffix: str = ".tmp") -> Iterator[Path]:
    """Yield a path to write to; it takes the place of ``path`` when the block ends well.

    ``suffix`` is the yielded path's, for writers that choose the format by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name may be as long as the file system allows, and its temporary one is longer.
    prefix = f".{path.name[:40]}."
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=suffix)
    os.close(handle)
    unfinished = Path(name)
    try:
        yield unfinished
        with unfinished.open("rb") as stream:
            os.fsync(stream.fileno())
        unfinished.chmod(0o644)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; it takes the place of ``path`` when the block ends well.

    A killed process leaves at most a hidden ``.NAME.*.tmp`` folder beside it, which the next
    writer of the same folder removes, and never a half-filled ``path``.
    """
    for stale in path.parent.glob(f".{path.name}.*.tmp"):
        shutil.rmtree(stale, ignore_errors=True)
    with _beside(path) as unfinished:
        yield unfinished
        replace_folder(unfinished, path)


@contextmanager
def staged_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; its files join those of ``path`` when the block ends well."""
    with _beside(path) as staged:
        yield staged
        for file in sorted(file for file in staged.rglob("*") if file.is_file()):
            target = path / file.relative_to(staged)
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)


@contextmanager
def locked(file: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a file, which is made; BlockingIOError if it is held and not to ``wait``."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def replace_folder(unfinished: Path, path: Path) -> None:
    """Let a filled folder take the place of ``path``, which need not exist."""
    unfinished.chmod(0o755)
    replaced = path.with_name(f".{path.name}.old.tmp")
    if path.exists():
        path.rename(replaced)
    unfinished.rename(path)
    if replaced.exists():
        shutil.rmtree(replaced)


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically; NaN and infinity are refused (ValueError)."""
    with atomic_file(path) as unfinished:
        unfinished.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path: Path, made_by: str) -> Any:
    """Read JSON, or say which file is missing or broken and that ``made_by`` makes it."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: not found; run `{made_by}` first") from None
    except (ValueError, OSError) as error:
        raise InputError(
            f"{path}: cannot be read ({error}); recreate it with `{made_by}`"
        ) from None


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def printable(path: str | os.PathLike[str]) -> str:
    r"""A path as text that any file can hold: bytes that are no UTF-8 as ``\xe9``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


@contextmanager
def ascii_name(path: Path) -> Iterator[str]:
    """A name by which libraries in C open a file: absolute, and a link's where it is no UTF-8.

    A relative name could be taken for an address, as in ``12:30.mp4``.
    """
    name = str(path.absolute())
    if printable(name) == name:
        yield name
        return
    with tempfile.TemporaryDirectory(prefix="skelift-") as folder:
        link = Path(folder) / f"file{path.suffix if path.suffix.isascii() else ''}"
        link.symlink_to(name)
        yield str(link)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """An empty hidden folder next to a path; removed at the end, where it is still there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
