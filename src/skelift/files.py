"""Files and folders that appear whole or not at all."""

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, BinaryIO

from skelift.errors import InputError

STATISTICS = "stats.jsonl"  # one JSON line per interval of a training, beside its model
OF_THE_SYSTEM = (".DS_Store", "._*", "Thumbs.db", "desktop.ini")  # left where folders are opened
_RANDOM = "[a-z0-9_]{8}"  # of tempfile's names
_UNFINISHED = re.compile(rf"\..+\.{_RANDOM}\.tmp")
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}


@contextmanager
def atomic_file(path: Path, suffix: str = ".tmp") -> Iterator[Path]:
    """Yield a path to write to; it takes the place of ``path`` when the block ends well.

    ``suffix`` is the yielded path's, for writers that choose the format by it. An OSError of a disk
    that takes no more names ``path``. It lies in a hidden folder, since writers such as safetensors
    make files of their own beside it; what a killed one leaves, the next removes.
    """
    with _beside(path) as folder:
        unfinished = folder / f"unfinished{suffix}"
        with naming(path, unfinished):
            unfinished.touch()
            yield unfinished
            with unfinished.open("rb") as stream:
                os.fsync(stream.fileno())
            unfinished.chmod(0o644)
            unfinished.replace(path)


@contextmanager
def atomic_folder(path: Path, mark: str, *own: str) -> Iterator[Path]:
    """Yield an empty folder to fill; it takes the place of ``path`` when the block ends well.

    A killed process leaves at most a hidden ``.NAME.*.tmp`` folder beside it, which the next
    writer of the same folder removes, and never a half-filled ``path``.

    Args:
        path: the folder.
        mark: a file that every such folder has.
        own: patterns of its other files; a folder that holds anything else is not replaced.

    Raises:
        InputError: another process is writing the folder, or what stands there is something else.
    """
    path = _place(path)
    check_replaceable(path, mark, *own)
    with (
        claimed(path, by="replace", beside=True),
        _beside(path, alone=True) as unfinished,
        naming(path, unfinished),
    ):
        yield unfinished
        replace_folder(unfinished, path)


@contextmanager
def staged_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; its files join those of ``path`` when the block ends well."""
    with _beside(path) as staged, naming(path, staged):
        yield staged
        for file in sorted(file for file in staged.rglob("*") if file.is_file()):
            target = path / file.relative_to(staged)
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)


@contextmanager
def locked(file: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a file, which is made, and removed at the end.

    Raises:
        BlockingIOError: it is held, and not to ``wait``.
    """
    made = [folder for folder in file.parents if not folder.exists()]
    file.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with file.open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_at(handle.fileno(), file):
                continue  # its holder removed it as it let go: this one guards nothing
            try:
                yield
            finally:
                file.unlink(missing_ok=True)
                fcntl.flock(handle, fcntl.LOCK_UN)  # worker processes may have the handle too
                with suppress(OSError):  # of the first that is not empty
                    for folder in made:
                        folder.rmdir()
            return


@contextmanager
def claimed(*folders: Path, by: str, beside: bool = False) -> Iterator[None]:
    """Be the only process that writes into folders, as long as the block runs.

    Args:
        folders: they need not exist.
        by: what writes; writers of another kind make other files, and are not in the way.
        beside: the folders are replaced, so their locks lie beside them and not in them.

    Raises:
        InputError: another process is writing there, or nothing can be written there. What stands
            in the way is a matter of the start, not of the end of the work.
    """
    with ExitStack() as held:
        for folder in dict.fromkeys(map(_place, folders)):
            check_folder(folder)
            name = f"{by}.lock"
            lock = folder.with_name(_prefix(folder) + name) if beside else folder / f".{name}"
            try:
                with naming(folder, lock):
                    held.enter_context(locked(lock, wait=False))
            except BlockingIOError:
                raise InputError(
                    f"{folder}: another process is writing there; wait for it, or name another "
                    "folder"
                ) from None
        yield


def check_folder(folder: Path) -> None:
    """InputError unless files can be written into a folder, which need not exist."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; name a folder to write into")
    _check_room(folder, folder)


def check_file(file: Path) -> None:
    """InputError unless a file can be created or replaced."""
    if file.is_dir():
        raise InputError(f"{file}: is a folder; name a file to write")
    _check_room(file, file.parent)


def _check_room(path: Path, there: Path) -> None:
    """InputError unless something can be written where a path, below ``there``, will be."""
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise InputError(f"{path}: cannot be made, since {there} is a file; name another place")
    try:
        with tempfile.TemporaryFile(dir=there) as probe:
            reserve(probe, 1)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); name another place, or make room"
        ) from None


def check_replaceable(folder: Path, mark: str, *own: str) -> None:
    """InputError if a folder is not ours to replace, see ``atomic_folder``: none of its files is.

    ``own`` are the patterns of its files besides ``mark``; any other file would be lost.
    """
    folder = _place(folder)
    if os.path.ismount(folder):
        raise InputError(f"{folder}: is a mounted disk; name a folder in it")
    if not folder.is_dir():
        return
    if not (folder / mark).exists() and any(folder.iterdir()):
        raise InputError(
            f"{folder}: holds other files (no {mark}), and would be replaced; name another folder"
        )
    if foreign := _foreign(folder, {mark, *own}):
        raise InputError(
            f"{foreign}: would be deleted, since {folder} is replaced as a whole; move it, or name "
            "another folder to write"
        )


def _foreign(folder: Path, own: Iterable[str]) -> Path | None:
    """The first file below a folder that fits none of the patterns, if there is one."""
    known = {path for pattern in own for path in folder.glob(pattern)}
    for path in folder.rglob("*"):
        is_folder = path.is_dir() and not path.is_symlink()
        of_system = any(fnmatch(path.name, pattern) for pattern in OF_THE_SYSTEM)
        if not (is_folder or of_system or path in known):
            return path
    return None


def reserve(stream: BinaryIO | Any, size: int) -> None:
    """Let an open file have ``size`` bytes on the disk; OSError where there is no room for them.

    A file that is only made longer gets its room when it is written to: through a memory map, a
    full disk is then a SIGBUS and no exception.
    """
    stream.flush()
    if size and hasattr(os, "posix_fallocate"):
        os.posix_fallocate(stream.fileno(), 0, size)
    else:
        stream.truncate(size)


def replace_folder(unfinished: Path, path: Path) -> None:
    """Let a filled folder take the place of ``path``, which need not exist."""
    unfinished.chmod(0o755)
    replaced = _replaced(path)
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


def _place(path: Path) -> Path:
    """Where a folder really lies: a link is followed, so that it stays one."""
    return path.resolve() if path.is_symlink() or not path.name else path


def _prefix(path: Path) -> str:
    """How the names of hidden files beside a path begin; names have at most 255 bytes."""
    name = os.fsencode(path.name)
    if len(name) > 200:
        name = name[:100] + hashlib.sha256(name).hexdigest()[:16].encode()
    return f".{os.fsdecode(name)}."


def _replaced(path: Path) -> Path:
    """Where a folder waits while another takes its place."""
    return path.with_name(f"{_prefix(path)}old.tmp")


def _is_at(handle: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), file.stat())
    except FileNotFoundError:
        return False


@contextmanager
def _beside(path: Path, *, alone: bool = False) -> Iterator[Path]:
    """An empty hidden folder next to a path; removed at the end, where it is still there.

    What killed writers of the very same path left is removed first. A writer that is ``alone``
    knows that there is no other.
    """
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _clean(path, alone=alone)
        if alone:
            _bring_back(path)
        folder, owner = _owned_folder(path)
    try:
        with naming(path):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(owner)


def _owned_folder(path: Path) -> tuple[Path, int]:
    """A new hidden folder beside a path, and the handle by which its owner holds it."""
    while True:
        made = Path(tempfile.mkdtemp(dir=path.parent, prefix=_prefix(path), suffix=".tmp"))
        handle = os.open(made, os.O_RDONLY)
        with suppress(OSError):  # of file systems without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        if _is_at(handle, made):
            return made, handle
        os.close(handle)  # another process has taken it for one without an owner


def _clean(path: Path, *, alone: bool) -> None:
    """Remove what killed writers of ``path`` left beside it, nothing of its neighbours.

    What a living process holds stays, unless there is none (``alone``).
    """
    if any(_UNFINISHED.fullmatch(part) for part in path.parent.parts):
        return  # a new folder; there may be many files in it
    unfinished = re.compile(re.escape(_prefix(path)) + _RANDOM + r"\.tmp")
    try:
        beside = list(path.parent.iterdir())
    except PermissionError:
        return  # files can be made there, and not looked at
    for stale in (each for each in beside if unfinished.fullmatch(each.name)):
        if alone:
            shutil.rmtree(stale, ignore_errors=True)
        else:
            _remove_unowned(stale)


def _remove_unowned(stale: Path) -> None:
    with suppress(OSError):  # it is held, another user's, or gone
        handle = os.open(stale, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if stale.is_dir():
                shutil.rmtree(stale)
            else:
                stale.unlink()
        finally:
            os.close(handle)


def _bring_back(path: Path) -> None:
    """Put back the folder that a process was about to replace, killed between its two renames."""
    replaced = _replaced(path)
    if replaced.exists() and path.exists():
        shutil.rmtree(replaced)
    elif replaced.exists():
        replaced.rename(path)


@contextmanager
def naming(path: Path, unfinished: Path | None = None) -> Iterator[None]:
    """Let an OSError of the disk say ``path``, not the hidden file beside it, or no file at all.

    ``unfinished`` is what will be at ``path``; of a folder, its files will be below.
    """
    try:
        yield
    except OSError as error:
        code = error.errno
        if code is None and "requested and" in str(error):  # NumPy's, of a write cut short
            code = errno.ENOSPC
        place = path if code in _DISK and not error.filename else None
        if unfinished and isinstance(error.filename, str | bytes | os.PathLike):
            file = Path(os.fsdecode(error.filename))
            if file.is_relative_to(unfinished):
                place = path / file.relative_to(unfinished)
        if code is None or place is None:
            raise
        raise OSError(code, os.strerror(code), str(place)) from error
