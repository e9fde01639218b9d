"""A folder -> a bucket."""

from pathlib import Path


def run(folder: Path, uri: str, check: bool = False) -> str:
    """Push a folder to ``s3://bucket/prefix``; ``check`` also fixes what has changed there.

    Returns:
        Where it lies now, and how much had to be sent.

    Raises:
        InputError: nothing to push, or the bucket cannot be used.
        RunError: the server does not answer, or somebody else pushed meanwhile.
    """
    from skelift.storage.bucket import Location
    from skelift.storage.folders import push

    where = Location.parse(uri)
    done = push(folder, where, check=check)
    return f"{where} ({done.moved:,} of {done.total:,} bytes sent)"
