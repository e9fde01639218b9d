"""Worker processes: how many to use, and how they end with the process that started them."""

import math
import os
from multiprocessing import parent_process
from pathlib import Path
from threading import Thread

from skelift.cgroup import quota


def cores(root: Path = Path("/")) -> int:
    """Cores that this process may keep busy: by its affinity and its container's CPU limit.

    Of a limit of 1.5 CPUs two threads get more than one does, so it is rounded up.
    """
    limit = quota(root)
    return _own_cores() if limit is None else min(_own_cores(), max(math.ceil(limit), 1))


def unlimited_cores(root: Path = Path("/")) -> int:
    """Cores of this process where it may keep all of them busy at once; 0 where it may not."""
    limit = quota(root)
    return _own_cores() if limit is None or limit >= _own_cores() else 0


def _own_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def end_with_parent() -> None:
    """Let a worker, which calls this as it starts, end when its parent is killed.

    A killed parent cannot stop its workers; they would wait for tasks forever.
    """
    Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
