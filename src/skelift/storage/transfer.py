"""Files to and from a bucket by boto3's transfer manager: in parts, several at a time."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from skelift.storage.bucket import CONNECTIONS, MISSING, Location, code_of, told_plainly
from skelift.storage.manifest import File

PART = 16 * 2**20  # bytes; larger files travel in parts of this size


class Gone(Exception):
    """An object was not found in the bucket; the message is its location."""


class Transfers:
    """Files on their way; ``transferring`` waits for them."""

    def __init__(self, manager: Any, moved: Callable[[int], None]) -> None:
        from boto3.s3.transfer import ProgressCallbackInvoker

        self._manager = manager
        self._subscribers = [ProgressCallbackInvoker(moved)]  # called from several threads
        self.started: list[tuple[Location, Any]] = []
        self.moved = 0  # bytes that went over the line, once all have arrived

    def send(self, path: Path, file: File, where: Location) -> None:
        """Start to upload a file. Its checksum goes along, for ``has``."""
        options = {"extra_args": {"Metadata": {"sha256": file.sha256}}}
        source = str(path), where.bucket, where.prefix
        future = self._manager.upload(*source, **options, subscribers=self._subscribers)
        self.started.append((where, future))

    def fetch(self, where: Location, path: Path) -> None:
        """Start to download an object; ``path`` appears when all of it has arrived."""
        path.parent.mkdir(parents=True, exist_ok=True)
        source = where.bucket, where.prefix, str(path)
        future = self._manager.download(*source, subscribers=self._subscribers)
        self.started.append((where, future))


@contextmanager
def transferring(client: Any, where: Location, title: str, size: int) -> Iterator[Transfers]:
    """Files that are started in the block have arrived after it; an exception cancels the rest.

    Args:
        client: of the bucket.
        where: named in error messages.
        title: of the progress bar; empty: no bar.
        size: bytes at its end.

    Raises:
        Gone: an object to download is not in the bucket.
        InputError: credentials, bucket or settings are wrong.
        RunError: the server does not answer.
    """
    from boto3.s3.transfer import TransferConfig
    from botocore.exceptions import ClientError
    from s3transfer.manager import TransferManager

    config = TransferConfig(
        multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=CONNECTIONS
    )
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with (
        Progress(*columns, transient=True, disable=not title) as progress,
        told_plainly(where),
        TransferManager(client, config) as manager,
    ):
        bar = progress.add_task(title, total=size)
        transfers = Transfers(manager, partial(progress.advance, bar))
        yield transfers
        for place, future in transfers.started:
            try:
                future.result()
            except ClientError as error:
                if code_of(error) in MISSING:
                    raise Gone(str(place)) from None
                raise
        transfers.moved = int(progress.tasks[bar].completed)


def has(client: Any, file: File, where: Location, *, check: bool) -> bool:
    """Whether the bucket has this content, by size and the checksum that it was sent with.

    ``check``: read the object and compute its checksum, too.
    """
    from botocore.exceptions import ClientError

    try:
        found = client.head_object(Bucket=where.bucket, Key=where.prefix)
    except ClientError as error:
        if code_of(error) in MISSING:
            return False
        raise
    says = found["ContentLength"] == file.size and found["Metadata"].get("sha256") == file.sha256
    return bool(says and (not check or _digest(client, where) == file.sha256))


def _digest(client: Any, where: Location) -> str:
    """SHA-256 of an object's content."""
    digest = hashlib.sha256()
    for chunk in client.get_object(Bucket=where.bucket, Key=where.prefix)["Body"].iter_chunks(PART):
        digest.update(chunk)
    return digest.hexdigest()
