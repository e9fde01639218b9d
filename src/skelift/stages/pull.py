"""A bucket -> a folder."""

from pathlib import Path


def run(uri: str, folder: Path) -> str:
    """Pull what was pushed to ``s3://bucket/prefix`` into a folder.

    Returns:
        The folder, and how much had to be fetched.

    Raises:
        InputError: nothing complete is there, an object is broken, or the bucket cannot be used.
        RunError: the server does not answer.
    """
    from skelift.storage.bucket import Location
    from skelift.storage.folders import pull

    done = pull(Location.parse(uri), folder)
    return f"{folder} ({done.moved:,} of {done.total:,} bytes fetched)"
