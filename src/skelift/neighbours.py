"""Threads of torch spin while the cores are this process's own, and sleep beside other work.

A training step has thousands of tiny parallel parts a second. Threads that sleep between them have
to be woken for each, and a step takes 1.4 to 1.7 times as long. Threads that spin beside other work
keep out the very thread that they wait for. So others are looked for while a process trains.
Results do not depend on it.

libgomp reads how long threads spin as it is loaded (``threads.settle``), but none spins while it
has more threads than there are cores (``GOMP_SPINCOUNT`` in its manual). One more team, which does
nothing, puts all to sleep.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import torch

from skelift.threads import spins

SECONDS = 0.25  # between two looks
BUSY, QUIET = 0.4, 0.2  # cores that others keep busy: from here on threads sleep, spin again
STAT = Path("/proc/stat")


@contextmanager
def beside_others() -> Iterator[None]:
    """Threads sleep here while others keep this process's cores busy, if they spin otherwise."""
    if not spins() or not STAT.exists():
        yield
        return
    done = Event()
    watcher = Thread(target=_watch, args=[done], name="neighbours", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _watch(done: Event) -> None:
    idle: IdleTeam | None = None
    before = Use.now()
    try:
        while not done.wait(SECONDS):
            now = Use.now()
            others = now.of_others_since(before)
            before = now
            if idle is None and others > BUSY:
                idle = IdleTeam()
            elif idle is not None and others < QUIET:
                idle.end()
                idle = None
    finally:
        if idle is not None:
            idle.end()


@dataclass(frozen=True)
class Use:
    """How long the cores that this process may use have been busy so far."""

    clock: float  # seconds, as all of these
    busy: float  # of all cores
    own: float  # of these, with this process

    @classmethod
    def now(cls) -> "Use":
        """As Linux counts it."""
        return cls(time.monotonic(), busy_seconds(STAT.read_text()), time.process_time())

    def of_others_since(self, before: "Use") -> float:
        """Cores that others have kept busy since."""
        others = (self.busy - before.busy) - (self.own - before.own)
        return others / (self.clock - before.clock)


def busy_seconds(stat: str) -> float:
    """What /proc/stat says of this process's cores, without the time that they were idle."""
    names = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    cores = [row for line in stat.splitlines() if (row := line.split()) and row[0] in names]
    # user, nice, system; then, after idle and iowait: irq, softirq, steal (proc_stat(5))
    ticks = sum(int(tick) for row in cores for tick in (*row[1:4], *row[6:9]))
    return ticks / os.sysconf("SC_CLK_TCK")


class IdleTeam:
    """Threads of OpenMP, beside those that work, that do nothing until ``end``."""

    def __init__(self) -> None:
        self._end = Event()
        self._master = Thread(target=self._start, name="idle team", daemon=True)
        self._master.start()

    def _start(self) -> None:
        torch.zeros(1 << 20).add_(1)  # large enough to be shared out
        self._end.wait()

    def end(self) -> None:
        """Let its threads end."""
        self._end.set()
        self._master.join()
