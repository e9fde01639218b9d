"""What a benchmark starts ends with it: at its end, by Ctrl-C and by SIGTERM."""

import ctypes
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

import psutil

_SET_CHILD_SUBREAPER = 36  # of prctl(2)
_STOPPING = (signal.SIGINT, signal.SIGTERM)
_SECONDS = 10.0


def run(main: Callable[[], int | None]) -> NoReturn:
    """Exit with ``main``'s code, or with that of the signal that stopped it; nothing is left."""
    with ending():
        code = main()
    sys.exit(code)


@contextmanager
def ending() -> Iterator[None]:
    """End every process that was started inside, whoever started it and however this one ends.

    SIGTERM raises SystemExit, so that every ``finally`` runs, as Ctrl-C has it. While all end,
    further signals wait. On Linux what a dead child leaves behind becomes a child of this process;
    elsewhere it would be lost.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1)
    before = {number: signal.signal(number, _stop) for number in _STOPPING}
    try:
        yield
    finally:
        for number in _STOPPING:
            signal.signal(number, signal.SIG_IGN)
        end_all(psutil.Process().children(recursive=True))
        for number, handler in before.items():
            signal.signal(number, handler)


def end_tree(process: int) -> None:
    """End a process and all that it began."""
    root = psutil.Process(process)
    end_all([*root.children(recursive=True), root])


def end_all(processes: list[psutil.Process]) -> None:
    """Terminate processes, and kill what is left some seconds later."""
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            each.terminate()
    for each in psutil.wait_procs(processes, timeout=_SECONDS)[1]:
        with suppress(psutil.NoSuchProcess):
            each.kill()


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    for each in _STOPPING:
        signal.signal(each, signal.SIG_IGN)  # of impatient people, who press Ctrl-C again
    sys.exit(128 + number)
