"""Files and folders in an S3 bucket, for steps.

Address and keys come from the variables that every S3 client reads: ``AWS_ENDPOINT_URL``,
``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from skelift.errors import InputError

REMOTE = "s3://"


def is_remote(place: str) -> bool:
    """Whether a place is in a bucket."""
    return place.startswith(REMOTE)


def upload(path: Path, uri: str) -> None:
    """Put a file, or a folder with all below it, to a URI; a folder's files keep their names."""
    client, (bucket, key) = _client(), _split(uri)
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    with _one_line(uri):
        for file in filter(Path.is_file, files):
            inside = file.relative_to(path).as_posix() if path.is_dir() else ""
            client.upload_file(str(file), bucket, f"{key}/{inside}" if inside else key)


def fetch(uri: str, folder: Path) -> Path:
    """Get a file or folder into ``folder``; returns its path there.

    Raises:
        InputError: there is nothing, or the bucket cannot be read.
    """
    path = folder / Path(_split(uri)[1]).name
    if not fetch_if_there(uri, path):
        raise InputError(f"{uri}: not there; name an existing object or folder of the bucket")
    return path


def fetch_if_there(uri: str, path: Path) -> bool:
    """Get a file or folder as ``path``; False, and no file, when there is none."""
    client, (bucket, key) = _client(), _split(uri)
    found = False
    with _one_line(uri):
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
        for name in (item["Key"] for page in pages for item in page.get("Contents", [])):
            inside = name.removeprefix(key).removeprefix("/")
            target = path / inside if inside else path
            if name not in (key, f"{key}/{inside}") or name.endswith("/"):
                continue  # another object whose name starts alike, or an empty folder's marker
            if not target.resolve().is_relative_to(path.resolve()):
                raise InputError(f"{REMOTE}{bucket}/{name}: leads out of its folder; rename it")
            target.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(bucket, name, str(target))
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
    done, failures = threading.Event(), []

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
            except InputError as error:  # told at the end, when the files are put up once more
                failures.append(error)
                print(f"checkpoint not put up, trying again: {error}", flush=True)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        put_changed()


def _split(uri: str) -> tuple[str, str]:
    parts = urlparse(uri)
    key = parts.path.strip("/")
    if parts.scheme != "s3" or not parts.netloc or not key:
        raise InputError(f"{uri!r}: no place in a bucket; write s3://BUCKET/FOLDER")
    return parts.netloc, key


def _client() -> Any:
    try:
        import boto3
    except ModuleNotFoundError:
        raise InputError("s3:// places need boto3: pip install 'skelift[s3]'") from None
    return boto3.client("s3")


@contextmanager
def _one_line(uri: str) -> Iterator[None]:
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError, Boto3Error) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{uri}: {reason}; check the address, AWS_ENDPOINT_URL and the keys"
        ) from None
