"""How processes end, and how many workers to use."""

import math
import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from pathlib import Path
from types import FrameType

from skelift.cgroup import quota

AGAIN_S = 0.5  # seconds until an exception that was swallowed is raised again


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
    """Let SIGTERM raise ``Terminated`` in the block, until it arrives; later ones are ignored.

    Not where the signal is handled or ignored already, and not in processes that ``torchrun``
    started: they wait for each other where no exception reaches them, and have to end at once.
    """
    alone = int(os.environ.get("WORLD_SIZE", 1)) == 1
    in_main = threading.current_thread() is threading.main_thread()
    if not (alone and in_main and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL):
        yield
        return
    ending = _Ending()
    signal.signal(signal.SIGTERM, ending)
    try:
        yield
    finally:
        ending.disarm()


class _Ending:
    """Handler of SIGTERM that raises ``Terminated`` until it arrives.

    Python swallows exceptions in callbacks from C (numba calls some while it compiles) and in
    ``__del__``. Nothing refers to the exception then, which is how it is noticed, and it is raised
    again. Until it has been handled, further signals are ignored: `timeout` sends two.
    """

    def __init__(self) -> None:
        self._raised: Callable[[], Terminated | None] = lambda: None
        self._hook = sys.unraisablehook

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._raised() is not None:
            return
        if signal.getsignal(signal.SIGALRM) == signal.SIG_DFL:  # a thread could not start here
            signal.signal(signal.SIGALRM, self)
            signal.setitimer(signal.ITIMER_REAL, AGAIN_S, AGAIN_S)
        sys.unraisablehook = self._say_lost
        told = Terminated()
        self._raised = weakref.ref(told)
        try:
            raise told
        finally:
            del told  # its traceback has this frame, which would keep it alive

    def _say_lost(self, lost: "sys.UnraisableHookArgs") -> None:
        if not isinstance(lost.exc_value, Terminated):  # that comes again
            self._hook(lost)

    def disarm(self) -> None:
        """Leave the signals as they were, but for those that others handle by now."""
        if signal.getsignal(signal.SIGALRM) is self:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
        if signal.getsignal(signal.SIGTERM) is self:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if sys.unraisablehook == self._say_lost:
            sys.unraisablehook = self._hook


def _wait_for_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
