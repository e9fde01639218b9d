"""Any file or folder of a bucket, for steps; ``skelift.storage`` keeps checked folders there."""

from pathlib import Path

from skelift.errors import InputError
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
        raise InputError(f"{uri}: not found; name an existing object or folder of the bucket")
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


def _place(uri: str) -> Location:
    where = Location.parse(uri)
    if not where.prefix:
        raise InputError(f"{uri}: names no file or folder; write s3://BUCKET/FOLDER")
    return where
