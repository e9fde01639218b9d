"""One file out of a bucket; an interrupted download goes on, and the checksum has the last word."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from skelift.errors import InputError, RunError
from skelift.files import sha256
from skelift.storage.bucket import ATTEMPTS, Location
from skelift.storage.manifest import File

CHUNK = 2**20

Received = Callable[[int], None]  # told the bytes that came over the line


def download(client: Any, where: Location, file: File, path: Path, received: Received) -> None:
    """Fetch an object to ``path``, going on from ``path`` + ``.part`` where that is there.

    Raises:
        InputError: the object has not the content that its manifest names.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    begun = part.exists()
    _fetch(client, where, file, part, received)
    if begun and not file.is_at(part):
        part.unlink()  # what was left of an earlier download may be to blame
        _fetch(client, where, file, part, received)
    size = part.stat().st_size
    if not file.is_at(part):
        found = f"{size} bytes, sha256 {sha256(part)[:12]}"
        part.unlink()
        raise InputError(
            f"{where}: has {found}, but its manifest names {file.size} bytes, sha256 "
            f"{file.sha256[:12]}; push the folder again with --check"
        )
    part.replace(path)


def _fetch(client: Any, where: Location, file: File, part: Path, received: Received) -> None:
    """Fetch what ``part`` lacks; a broken stream is taken up again where it broke."""
    from botocore.exceptions import ConnectionError, HTTPClientError, IncompleteReadError

    broken = (ConnectionError, HTTPClientError, IncompleteReadError)
    for attempt in range(ATTEMPTS):
        begun = part.stat().st_size if part.exists() else 0
        if begun >= file.size > 0:
            return
        try:
            _append(client, where, part, begun, received)
            return
        except broken:
            # The client waits between its own attempts at a request; no progress means it gave up.
            if attempt + 1 == ATTEMPTS or (part.exists() and part.stat().st_size == begun):
                raise
    raise RunError(f"{where}: the connection breaks again and again; try again later")


def _append(client: Any, where: Location, part: Path, begun: int, received: Received) -> None:
    from botocore.exceptions import ClientError

    wanted = {"Range": f"bytes={begun}-"} if begun else {}
    try:
        answer = client.get_object(Bucket=where.bucket, Key=where.prefix, **wanted)
    except ClientError as error:
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 416:
            return  # the object is shorter than what is here; the checksum will tell
        raise
    with part.open("ab") as stream:
        for chunk in answer["Body"].iter_chunks(CHUNK):
            stream.write(chunk)
            received(len(chunk))
