"""Whole folders to and from a bucket: ``push`` and ``pull``."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from skelift.errors import InputError, RunError
from skelift.files import locked, replace_folder, sha256
from skelift.storage.bucket import CHANGED, MISSING, Location, code_of, connect, told_plainly
from skelift.storage.manifest import NAME, File, Manifest, in_bucket, of_folder
from skelift.storage.transfer import Gone, has, transferring


@dataclass(frozen=True)
class Transfer:
    """What a push or pull did, in bytes."""

    total: int
    moved: int  # over the line; the others were there already


def push(folder: Path, where: Location, *, check: bool = False, show: bool = True) -> Transfer:
    """Make the bucket's folder equal to a local one, at once and as a whole.

    Files are sent first, the manifest last and only if nobody else has written it meanwhile.
    Interrupted and started again, it goes on where it stopped.

    Args:
        folder: local folder.
        where: folder in a bucket; what was pushed there before is replaced.
        check: read back what the bucket has already, and send again what has changed there.
        show: with a progress bar.

    Raises:
        InputError: nothing to push, bucket missing, credentials refused.
        RunError: the server does not answer, or somebody else pushed meanwhile.
    """
    manifest, client = of_folder(folder), connect()
    before = in_bucket(client, where)
    files, title = where / manifest.snapshot, f"push {where}" if show else ""
    with transferring(client, where, title, manifest.size) as transfers:
        for name, file in manifest.files.items():
            if not has(client, file, files / name, check=check):
                transfers.send(folder / name, file, files / name)
    if before is None or before.manifest.snapshot != manifest.snapshot:
        _publish(client, where, manifest, before.etag if before else None)
        if before:
            _remove(client, where / before.manifest.snapshot, before.manifest)
    return Transfer(manifest.size, transfers.moved)


def pull(where: Location, folder: Path) -> Transfer:
    """Make a local folder equal to the bucket's, at once and as a whole.

    Files that are there already with the right checksum are not fetched. Interrupted and started
    again, it goes on where it stopped. Processes that pull the same folder wait for one another.

    Raises:
        InputError: nothing complete has been pushed there, an object is not what the manifest
            says, bucket missing, credentials refused.
        RunError: the server does not answer.
    """
    client = connect()
    with locked(folder.parent / f".{folder.name}.pull.lock"):
        while found := in_bucket(client, where):
            try:
                return _fetch(client, where, found.manifest, folder)
            except Gone as gone:
                now = in_bucket(client, where)
                if now and now.etag == found.etag:  # not replaced by another version meanwhile
                    raise InputError(
                        f"{gone}: missing, though {where / NAME} lists it; push the folder again"
                    ) from None
    raise InputError(f"{where}: nothing complete there; push it first: skelift push FOLDER {where}")


def pushed_at(where: Location) -> datetime | None:
    """When the folder that is there was pushed; None where there is none."""
    found = in_bucket(connect(), where)
    return found.written if found else None


def _fetch(client: Any, where: Location, manifest: Manifest, folder: Path) -> Transfer:
    if _is_equal(folder, manifest):
        return Transfer(manifest.size, 0)
    unfinished = folder.parent / f".{folder.name}.pull"
    _keep_only(unfinished, manifest)
    files, fetched = where / manifest.snapshot, []
    with transferring(client, where, f"pull {where}", manifest.size) as transfers:
        for name, file in manifest.files.items():
            path = unfinished / name
            if file.is_at(path):
                continue
            if file.is_at(folder / name):
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(folder / name, path)
            else:
                transfers.fetch(files / name, path)
                fetched.append(name)
    for name in fetched:
        _check(unfinished / name, manifest.files[name], files / name)
    replace_folder(unfinished, folder)
    return Transfer(manifest.size, transfers.moved)


def _check(path: Path, file: File, where: Location) -> None:
    """InputError unless what has arrived has the content that the manifest names."""
    if not file.is_at(path):
        raise InputError(
            f"{where}: has {path.stat().st_size} bytes, sha256 {sha256(path)[:12]}, but its "
            f"manifest names {file.size} bytes, sha256 {file.sha256[:12]}; push the folder again "
            "with --check"
        )


def _is_equal(folder: Path, manifest: Manifest) -> bool:
    try:
        return of_folder(folder).files == manifest.files
    except InputError:
        return False  # missing or empty


def _keep_only(unfinished: Path, manifest: Manifest) -> None:
    """Drop what an earlier pull of another version has left."""
    unfinished.mkdir(parents=True, exist_ok=True)
    known = {unfinished / name for name in manifest.files}
    for path in unfinished.rglob("*"):
        if path.is_file() and path not in known:
            path.unlink()


def _publish(client: Any, where: Location, manifest: Manifest, replaces: str | None) -> None:
    """Write the manifest, provided that nobody else has done so since ``replaces`` was read."""
    from botocore.exceptions import ClientError

    condition: Mapping[str, str] = {"IfMatch": replaces} if replaces else {"IfNoneMatch": "*"}
    key = (where / NAME).prefix
    with told_plainly(where):
        try:
            client.put_object(Bucket=where.bucket, Key=key, Body=manifest.to_json(), **condition)
        except ClientError as error:
            if code_of(error) not in (*CHANGED, *MISSING):
                raise
            # The answer to a first attempt may have been lost: then our own manifest stands there.
            now = in_bucket(client, where)
            if now and now.manifest.snapshot == manifest.snapshot:
                return
            raise RunError(
                f"{where}: somebody else pushed there meanwhile; push again to replace it"
            ) from None


def _remove(client: Any, files: Location, manifest: Manifest) -> None:
    with told_plainly(files):
        for name in manifest.files:
            client.delete_object(Bucket=files.bucket, Key=(files / name).prefix)
