"""The manifest of a folder in a bucket: which files it has, and their checksums.

The manifest is written last, and with a condition, so a folder in a bucket is there whole or not at
all. Its files lie below a name made of their checksums (the snapshot): another version never
overwrites them, and a reader of the old version is not disturbed until the new one is there.
"""

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from skelift import __version__
from skelift.errors import InputError
from skelift.files import sha256
from skelift.storage.bucket import MISSING, Location, code_of, told_plainly

NAME = "manifest.json"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class File:
    """Size in bytes and checksum of one file."""

    size: int
    sha256: str

    def is_at(self, path: Path) -> bool:
        """Whether a local file has this content."""
        return path.is_file() and path.stat().st_size == self.size and sha256(path) == self.sha256


@dataclass(frozen=True)
class Manifest:
    """Files of a folder by their path in it, with ``/`` between the parts."""

    files: Mapping[str, File]

    @property
    def snapshot(self) -> str:
        """Name of this very content."""
        lines = (f"{file.sha256} {file.size} {name}\n" for name, file in self.files.items())
        return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()[:32]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())

    def to_json(self) -> bytes:
        """What the bucket holds; no two writings are equal, so a condition tells them apart."""
        content = {
            "format_version": FORMAT_VERSION,
            "written_by": f"skelift {__version__}",
            "writing": uuid.uuid4().hex,
            "snapshot": self.snapshot,
            "files": {name: asdict(file) for name, file in self.files.items()},
        }
        return (json.dumps(content, indent=1) + "\n").encode()


def visible_files(folder: Path) -> list[Path]:
    """Files below a folder, without hidden ones (unfinished files, caches)."""
    paths = {path: path.relative_to(folder).parts for path in sorted(folder.rglob("*"))}
    return [
        path
        for path, parts in paths.items()
        if path.is_file() and not any(part.startswith(".") for part in parts)
    ]


def of_folder(folder: Path) -> Manifest:
    """The manifest of a local folder; InputError if it is missing or has no files."""
    if not folder.is_dir():
        raise InputError(f"{folder}: not a folder; name one with a data set or a model")
    files = {
        path.relative_to(folder).as_posix(): File(path.stat().st_size, sha256(path))
        for path in visible_files(folder)
    }
    if not files:
        raise InputError(f"{folder}: holds no files; nothing to push")
    return Manifest(files)


@dataclass(frozen=True)
class Published:
    """A manifest in a bucket, its ETag, and when it was written."""

    manifest: Manifest
    etag: str
    written: datetime


def in_bucket(client: Any, where: Location) -> Published | None:
    """The manifest of a folder in a bucket; None where there is none (yet)."""
    from botocore.exceptions import ClientError

    with told_plainly(where):
        try:
            answer = client.get_object(Bucket=where.bucket, Key=(where / NAME).prefix)
        except ClientError as error:
            if code_of(error) in MISSING:
                return None
            raise
        body = answer["Body"].read()
    return Published(_parse(body, where / NAME), answer["ETag"], answer["LastModified"])


def _parse(body: bytes, where: Location) -> Manifest:
    try:
        content = json.loads(body)
        if content["format_version"] != FORMAT_VERSION:
            raise InputError(
                f"{where}: format {content['format_version']}, this version reads "
                f"{FORMAT_VERSION}; push the folder again"
            )
        manifest = Manifest({name: File(**file) for name, file in content["files"].items()})
        named = content["snapshot"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{where}: not a manifest of skelift's ({error}); push the folder again"
        ) from None
    outside = [name for name in manifest.files if not _stays_inside(name)]
    if outside or named != manifest.snapshot:
        fault = f"names {outside[0]}" if outside else "does not fit its own checksums"
        raise InputError(f"{where}: {fault}; push the folder again")
    return manifest


def _stays_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\\" not in name and name != ""
