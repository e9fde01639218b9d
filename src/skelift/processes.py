"""Worker processes: how many to use, and how they end with the process that started them."""

import os
from multiprocessing import parent_process
from threading import Thread


def cores() -> int:
    """Cores that this process may use."""
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
