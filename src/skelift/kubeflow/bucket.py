"""Any file or folder of a bucket, for steps; ``skelift.storage`` keeps checked folders there.

A place is ``s3://BUCKET/...``, or a path of this machine.
"""

import shutil
from pathlib import Path

from skelift.errors import InputError
from skelift.storage.bucket import SCHEME, Location, connect, told_plainly


def is_remote(place: str) -> bool:
    """Whether a place is in a bucket."""
    return place.startswith(SCHEME)


def upload(path: Path, place: str) -> None:
    """Put a file, or a folder with all below it, to a place; a folder's files keep their names."""
    if not is_remote(place):
        shutil.copytree(path, place, dirs_exist_ok=True)
        return
    client, where = connect(), _location(place)
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    with told_plainly(where):
        for file in filter(Path.is_file, files):
            target = where if file == path else where / file.relative_to(path).as_posix()
            with file.open("rb") as stream:
                client.upload_fileobj(stream, target.bucket, target.prefix)


def fetch(place: str, folder: Path) -> Path:
    """As ``fetch_if_there``; InputError where there is nothing."""
    path = fetch_if_there(place, folder)
    if path is None:
        raise InputError(f"{place}: not found; name an existing file or folder")
    return path


def fetch_if_there(place: str, folder: Path) -> Path | None:
    """A file or folder on this machine, out of a bucket into ``folder``; None if not found."""
    if not is_remote(place):
        return Path(place) if Path(place).exists() else None
    client, where = connect(), _location(place)
    path = folder / Path(where.prefix).name
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
    return path if path.exists() else None


def _location(uri: str) -> Location:
    where = Location.parse(uri)
    if not where.prefix:
        raise InputError(f"{uri}: names no file or folder; write s3://BUCKET/FOLDER")
    return where
