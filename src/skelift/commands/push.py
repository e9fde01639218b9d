"""Copy a data set or a model into a bucket.

Others see the folder once all of it has arrived, never half of it. What was pushed to the same
place before is replaced. Interrupted and started again, it sends what is missing.
Server and keys come from the environment (docs/storage.md): AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION, AWS_ENDPOINT_URL, SKELIFT_S3_BUCKET.

Examples:
  skelift push models/quickstart/model s3://lab/models/quickstart
"""

from argparse import ArgumentParser
from pathlib import Path


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options that ``run`` takes."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the folder to copy")
    parser.add_argument("uri", metavar="s3://BUCKET/PREFIX", help="where it goes")
    parser.add_argument(
        "--check",
        action="store_true",
        help="read back what the bucket has already, and send again what has changed",
    )


def run(folder: Path, uri: str, check: bool = False) -> str:
    """Push a folder to ``s3://bucket/prefix``.

    Returns:
        Where it is now, and how much had to be sent.

    Raises:
        InputError: nothing to push, or the bucket cannot be used.
        RunError: the server does not answer, or somebody else pushed meanwhile.
    """
    from skelift.storage.bucket import Location
    from skelift.storage.folders import push

    where = Location.parse(uri)
    done = push(folder, where, check=check)
    return f"{where} ({done.moved:,} of {done.total:,} bytes sent)"
