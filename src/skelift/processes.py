"""How processes end, and how many workers to use."""

import math
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from pathlib import Path
from types import FrameType

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
    """Let a worker, which calls this as it starts, end when its parent is killed, or by SIGTERM.

    A killed parent cannot stop its workers; they would wait for tasks forever. What is to clean up
    is the parent's, so a worker does not handle SIGTERM as its parent may.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_wait_for_parent, daemon=True).start()


class Terminated(KeyboardInterrupt):
    """SIGTERM came: all is left as by Ctrl-C."""


@contextmanager
def cleaning_up_on_sigterm() -> Iterator[None]:
    """Let the first SIGTERM raise ``Terminated`` in the block; later ones change nothing.

    Not where the signal is handled or ignored already, and not in processes that ``torchrun``
    started: they wait for each other where no exception reaches them, and have to end at once.
    """
    alone = int(os.environ.get("WORLD_SIZE", 1)) == 1
    in_main = threading.current_thread() is threading.main_thread()
    if not (alone and in_main and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL):
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) in (_terminate, signal.SIG_IGN):
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminate(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # `timeout` sends it twice
    raise Terminated


def _wait_for_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
