"""Any file or folder of a bucket, for steps; ``skelift.storage`` keeps checked folders there."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skelift.errors import InputError, RunError
from skelift.storage.bucket import SCHEME, Location, connect, told_plainly


def is_remote(place: str) -> bool:
    """Whether a place is in a bucket."""
    return place.startswith(SCHEME)


def upload(path: Path, uri: str) -> None:
    """Put a file, or a folder with all below it, to a URI; a folder's files keep their names."""
    client, where = connect(), _place(uri)
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    with told_plainly(where):
        for file in filter(Path.is_file, files):
            inside = file.relative_to(path).as_posix() if path.is_dir() else ""
            target = where / inside if inside else where
            with file.open("rb") as stream:
                client.upload_fileobj(stream, target.bucket, target.prefix)


def fetch(uri: str, folder: Path) -> Path:
    """Get a file or folder into ``folder``; returns its path there.

    Raises:
        InputError: there is nothing, or the bucket cannot be read.
    """
    path = folder / Path(_place(uri).prefix).name
    if not fetch_if_there(uri, path):
        raise InputError(f"{uri}: not there; name an existing object or folder of the bucket")
    return path


def fetch_if_there(uri: str, path: Path) -> bool:
    """Get a file or folder as ``path``; False, and no file, when there is none."""
    client, where = connect(), _place(uri)
    found = False
    with told_plainly(where):
        pages = client.get_paginator("list_objects_v2").paginate(
            Bucket=where.bucket, Prefix=where.prefix
        )
        for name in (item["Key"] for page in pages for item in page.get("Contents", [])):
            inside = name.removeprefix(where.prefix).removeprefix("/")
            target = path / inside if inside else path
            if name not in (where.prefix, f"{where.prefix}/{inside}") or name.endswith("/"):
                continue  # another object whose name starts alike, or an empty folder's marker
            if not target.resolve().is_relative_to(path.resolve()):
                raise InputError(f"{where / inside}: leads out of its folder; rename it")
            target.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(where.bucket, name, str(target))
            found = True
    return found


@contextmanager
def mirrored(folder: Path, uri: str, seconds: float = 1.0) -> Iterator[None]:
    """Start from the bucket's copy of a folder, and keep that copy up to date meanwhile.

    Files have to appear whole (``skelift.files``). They are put up in the order of their names
    from the last to the first, so that ``stats.jsonl`` is never behind ``last.safetensors``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fetch_if_there(uri, folder)
    seen: dict[Path, int] = {f: f.stat().st_mtime_ns for f in folder.rglob("*") if f.is_file()}
    done = threading.Event()

    def put_changed() -> None:
        for file in sorted(folder.rglob("*"), reverse=True):
            if not file.is_file() or file.name.endswith(".tmp"):
                continue
            changed = file.stat().st_mtime_ns
            if seen.get(file) != changed:
                upload(file, f"{uri}/{file.relative_to(folder).as_posix()}")
                seen[file] = changed

    def watch() -> None:
        while not done.wait(seconds):
            try:
                put_changed()
            except (InputError, RunError) as error:  # all is put up once more at the end
                print(f"checkpoint not put up, trying again: {error}", flush=True)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        put_changed()


def _place(uri: str) -> Location:
    where = Location.parse(uri)
    if not where.prefix:
        raise InputError(f"{uri}: names no file or folder; write s3://BUCKET/FOLDER")
    return where
