"""One file into a bucket, in parts; parts that are there already are not sent again."""

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from skelift.storage.bucket import MISSING, Location, code_of
from skelift.storage.manifest import File

PART = 16 * 2**20  # bytes of a part; S3 wants at least 5 MiB
MOST_PARTS = 10_000  # S3's limit

Sent = Callable[[int], None]  # told the bytes that went over the line


def upload(
    client: Any, path: Path, file: File, where: Location, sent: Sent, *, check: bool = False
) -> None:
    """Send a file unless the bucket has it already; ``check``: read it back to know for certain."""
    if has(client, file, where) and not (check and _digest(client, where) != file.sha256):
        return
    if file.size <= PART:
        body = path.read_bytes()
        client.put_object(
            Bucket=where.bucket,
            Key=where.prefix,
            Body=body,
            ContentMD5=_md5(body),
            Metadata={"sha256": file.sha256},
        )
        sent(len(body))
    else:
        _in_parts(client, path, file, where, sent)


def has(client: Any, file: File, where: Location) -> bool:
    """Whether the bucket has this content there, by size and the checksum it was sent with."""
    from botocore.exceptions import ClientError

    try:
        found = client.head_object(Bucket=where.bucket, Key=where.prefix)
    except ClientError as error:
        if code_of(error) in MISSING:
            return False
        raise
    return bool(
        found["ContentLength"] == file.size and found["Metadata"].get("sha256") == file.sha256
    )


def _digest(client: Any, where: Location) -> str:
    """SHA-256 of what the bucket really holds there."""
    digest = hashlib.sha256()
    for chunk in client.get_object(Bucket=where.bucket, Key=where.prefix)["Body"].iter_chunks(PART):
        digest.update(chunk)
    return digest.hexdigest()


def _in_parts(client: Any, path: Path, file: File, where: Location, sent: Sent) -> None:
    """Multipart upload that goes on with what an interrupted one has left."""
    key = {"Bucket": where.bucket, "Key": where.prefix}
    upload_id = _unfinished(client, where)
    if not upload_id:
        begun = client.create_multipart_upload(**key, Metadata={"sha256": file.sha256})
        upload_id = begun["UploadId"]
    there = _parts(client, key, upload_id)
    size = max(PART, -(-file.size // MOST_PARTS))
    parts = []
    with path.open("rb") as stream:
        for number in range(1, -(-file.size // size) + 1):
            body = stream.read(size)
            tag = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
            if there.get(number) != tag:
                answer = client.upload_part(
                    **key,
                    UploadId=upload_id,
                    PartNumber=number,
                    Body=body,
                    ContentMD5=_md5(body),
                )
                tag = answer["ETag"]
                sent(len(body))
            parts.append({"PartNumber": number, "ETag": tag})
    client.complete_multipart_upload(**key, UploadId=upload_id, MultipartUpload={"Parts": parts})


def _unfinished(client: Any, where: Location) -> str | None:
    """The last upload of this object that was begun and not completed."""
    found = client.list_multipart_uploads(Bucket=where.bucket, Prefix=where.prefix)
    own = [item for item in found.get("Uploads", []) if item["Key"] == where.prefix]
    own.sort(key=lambda item: item["Initiated"])
    return own[-1]["UploadId"] if own else None


def _parts(client: Any, key: dict[str, str], upload_id: str) -> dict[int, str]:
    """ETag (the quoted MD5) of each part that has arrived."""
    pages = client.get_paginator("list_parts").paginate(**key, UploadId=upload_id)
    return {part["PartNumber"]: part["ETag"] for page in pages for part in page.get("Parts", [])}


def _md5(body: bytes) -> str:
    """The checksum that lets the server refuse bytes which changed on their way."""
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
