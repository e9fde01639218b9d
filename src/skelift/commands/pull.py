"""Fetch a data set or a model from a bucket.

FOLDER becomes what was pushed: checked file by file, replaced as a whole. Files that it has already
are not fetched again; interrupted and started again, it fetches what is missing.
Server and keys come from the environment (docs/storage.md): AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION, AWS_ENDPOINT_URL, SKELIFT_S3_BUCKET.

Examples:
  skelift pull s3://lab/models/quickstart models/quickstart/model
"""

from argparse import ArgumentParser
from pathlib import Path


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options that ``run`` takes."""
    parser.add_argument("uri", metavar="s3://BUCKET/PREFIX", help="where it was pushed to")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the folder to make")


def run(uri: str, folder: Path) -> str:
    """Pull what was pushed to ``s3://bucket/prefix`` into a folder.

    Returns:
        The folder, and how much had to be fetched.

    Raises:
        InputError: no complete folder is found there, an object is broken, or the bucket cannot be
            used.
        RunError: the server does not answer.
    """
    from skelift.storage.bucket import Location
    from skelift.storage.folders import pull

    done = pull(Location.parse(uri), folder)
    return f"{folder} ({done.moved:,} of {done.total:,} bytes fetched)"
