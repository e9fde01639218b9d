"""The S3 client: whose bucket, where, and what its refusals mean in one line.

Endpoint, region and credentials come from the environment (``AWS_ENDPOINT_URL``,
``AWS_DEFAULT_REGION``, ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_PROFILE``, a role):
they are in no configuration, so no record of a run can hold them.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from skelift.errors import InputError, RunError
from skelift.http import Unexpected, is_loopback, origin

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

SCHEME = "s3://"
ATTEMPTS = 6  # of a request, with exponential backoff between them; AWS_MAX_ATTEMPTS changes it
CONNECTIONS = 8  # for parts of files; one more asks what is there
MISSING = ("NoSuchKey", "404", "NotFound")
OF_OBJECTS = ("GetObject", "HeadObject")
REDIRECTS = (301, 302, 303, 307, 308)
AWS = (".amazonaws.com", ".amazonaws.com.cn")  # whose redirects lead to other hosts of its own
CHANGED = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409")
REFUSED = (
    "SignatureDoesNotMatch",
    "InvalidAccessKeyId",
    "AccessDenied",
    "ExpiredToken",
    "InvalidToken",
    "403",
)


@dataclass(frozen=True)
class Location:
    """A folder in a bucket: ``s3://bucket/prefix``."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, uri: str) -> "Location":
        """Read ``s3://bucket/prefix``; ``s3:///prefix`` means the bucket SKELIFT_S3_BUCKET."""
        if not uri.startswith(SCHEME):
            raise InputError(f"{uri}: no bucket; write s3://BUCKET/PREFIX")
        bucket, _, prefix = uri.removeprefix(SCHEME).partition("/")
        bucket = bucket or os.environ.get("SKELIFT_S3_BUCKET", "")
        if not bucket:
            raise InputError(f"{uri}: names no bucket; write s3://BUCKET or set SKELIFT_S3_BUCKET")
        return cls(bucket, prefix.strip("/"))

    def __truediv__(self, name: str) -> "Location":
        return Location(self.bucket, f"{self.prefix}/{name}".strip("/"))

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.prefix}"


def connect() -> Any:
    """A boto3 S3 client for what the environment says; retries with backoff are its own."""
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise InputError("s3:// needs boto3; install it with: pip install 'skelift[s3]'") from None
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    attempts = int(os.environ.get("AWS_MAX_ATTEMPTS", ATTEMPTS))
    config = Config(
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=CONNECTIONS + 1,
        # None: by the environment's proxies. This machine itself is never behind one.
        proxies={} if endpoint and is_loopback(endpoint) else None,
        connect_timeout=10,
        read_timeout=60,
        s3={
            # Servers other than AWS's own have one name, not one per bucket.
            "addressing_style": "path" if endpoint else "auto",
            "payload_signing_enabled": True,  # the server refuses bytes that changed on their way
        },
        request_checksum_calculation="when_required",  # not every server knows the newer checksums
        response_checksum_validation="when_required",  # what is read is compared with sha256
    )
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    with told_plainly("the environment"):
        try:
            client = boto3.session.Session(region_name=region).client("s3", config=config)
        except ValueError:  # botocore's word for an invalid address
            raise InputError(f"AWS_ENDPOINT_URL: {endpoint} is not an http(s) address") from None
    client.meta.events.register_first("needs-retry.s3", _check_answer)
    return client


def _check_answer(
    response: tuple[Any, Any] | None, request_dict: Mapping[str, Any], operation: Any, **_: Any
) -> None:
    """Unexpected for a page, and for a redirect that is not S3's own to a bucket's region."""
    if response is None:
        return
    answer, asked = response[0], request_dict["url"]
    status, headers = answer.status_code, answer.headers
    of_aws = (urlsplit(asked).hostname or "").endswith(AWS)
    if status in REDIRECTS and not (of_aws and "x-amz-bucket-region" in headers):
        raise Unexpected(
            f"{origin(asked)}: redirects to {headers.get('location', 'nowhere')}, and nothing was "
            "sent there; check AWS_ENDPOINT_URL"
        )
    page = headers.get("content-type", "").startswith("text/html")
    # An object may be a page itself; and a server may say so of nothing.
    if status < 300 and page and operation.name not in OF_OBJECTS and answer.content.strip():
        raise Unexpected(
            f"{origin(asked)}: answers with a page, a login perhaps; check AWS_ENDPOINT_URL"
        )


@contextmanager
def told_plainly(where: Location | str) -> Iterator[None]:
    """Turn what boto3 raises into one line without a request or a credential in it.

    Raises:
        InputError: credentials, bucket or settings are wrong.
        RunError: the server cannot be reached, or fails.
    """
    import s3transfer.exceptions as transfer
    from boto3.exceptions import Boto3Error
    from botocore import exceptions as core

    broken = (core.ConnectionError, core.HTTPClientError, core.IncompleteReadError)
    try:
        yield
    except (core.NoCredentialsError, core.PartialCredentialsError):
        raise InputError(
            f"{where}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from None
    except core.ClientError as error:
        raise _refusal(where, error) from None
    except (*broken, Boto3Error, transfer.RetriesExceededError) as error:
        raise RunError(
            f"{where}: the server does not answer ({type(error).__name__}); check "
            "AWS_ENDPOINT_URL and the network, then run the command again: it goes on where it "
            "stopped"
        ) from None
    except core.BotoCoreError as error:
        raise InputError(
            f"{where}: {type(error).__name__}: check the AWS_* variables of the environment"
        ) from None


def code_of(error: "ClientError") -> str:
    """The server's word for an error, such as ``NoSuchKey``."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _refusal(where: Location | str, error: "ClientError") -> InputError | RunError:
    code = code_of(error)
    if code == "NoSuchBucket":
        return InputError(f"{where}: bucket not found; create it or name another")
    if code in REFUSED:
        return InputError(
            f"{where}: the server refused the credentials ({code}); check AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY and the rights on the bucket"
        )
    return RunError(f"{where}: the server answered {code}; try again")
