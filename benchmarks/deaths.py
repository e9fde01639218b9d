"""Workers of TorchServe killed again and again under load; a client that asks again loses nothing.

``python -m benchmarks.deaths``: a minute, a SIGKILL every 5 seconds, and skelift's own client eight
times at once. Ready is what ``skelift ready`` says: a worker is READY and a canary was answered;
whole means that another worker has taken the place of the killed one, and all are READY.
JSON goes to standard output and to ``reports/benchmarks/deaths.json``; the exit code is 1 where a
goal is missed.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import psutil

from benchmarks import children
from benchmarks.measure import report
from benchmarks.serve import jpegs
from benchmarks.soak import worker_pids
from skelift.errors import InputError, RunError
from skelift.inference.cropping import Query
from skelift.serving.archive import package
from skelift.serving.client import Client
from skelift.serving.probe import describe, is_ready
from skelift.serving.server import Server, serving
from skelift.serving.settings import WORKERS, ServerSettings
from skelift.weights import SHIPPED

GOALS = {
    "lost": ("at most", 0.0),
    "answered": ("at least", 1.0),
    "longest_not_ready_s": ("at most", 10.0),
    "longest_not_whole_s": ("at most", 10.0),
}
CLIENTS = 8
READY_SECONDS = 60.0


@dataclass
class Tally:
    """What became of the requests."""

    answered: int = 0
    lost: list[str] = field(default_factory=list)
    slowest_s: float = 0.0


def main() -> int:
    """Kill, count and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=SHIPPED)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--every", type=float, default=5, help="seconds between two kills")
    parser.add_argument("--port", type=int, default=8180, help="and the four after it")
    parser.add_argument("--out", type=Path, default=Path("reports/benchmarks/deaths.json"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        archive = package(args.model, Path(name))
        with serving(archive, ServerSettings(port=args.port), Path(name) / "state") as server:
            server.wait_ready()
            measured = kill_under_load(server, jpegs(8), args.seconds, args.every)
    head = {"benchmark": "deaths: workers killed under load", "model": str(args.model)}
    return 0 if report(head | measured, GOALS, args.out) else 1


def kill_under_load(
    server: Server, images: Sequence[bytes], seconds: float, every: float
) -> dict[str, Any]:
    """Kill a worker every so many seconds, and note how long the server is not ready."""
    end = Event()
    rng = np.random.default_rng(0)
    not_ready: list[float] = []
    not_whole: list[float] = []
    with ThreadPoolExecutor(CLIENTS) as pool:
        tallies = [pool.submit(ask_until, end, server, images) for _ in range(CLIENTS)]
        try:
            started = time.monotonic()
            for kill in range(int(seconds / every)):
                killed_at = time.monotonic()
                killed = int(rng.choice(sorted(worker_pids(server))))
                psutil.Process(killed).kill()
                not_ready.append(seconds_until(partial(is_ready, server.place)))
                not_whole.append(not_ready[-1] + seconds_until(partial(is_whole, server, killed)))
                print(
                    f"kill {kill + 1}: ready after {not_ready[-1]:.2f} s, "
                    f"whole after {not_whole[-1]:.2f} s",
                    file=sys.stderr,
                )
                time.sleep(max(every - (time.monotonic() - killed_at), 0))
            lasted = time.monotonic() - started
        finally:
            end.set()
        done = [tally.result() for tally in tallies]
    return {
        "seconds": round(lasted, 1),
        "kills": len(not_ready),
        "answered": sum(tally.answered for tally in done),
        "lost": sum(len(tally.lost) for tally in done),
        "examples_of_losses": [text for tally in done for text in tally.lost][:3],
        "slowest_answer_s": round(max(tally.slowest_s for tally in done), 2),
        "not_ready_s": [round(s, 2) for s in not_ready],
        "longest_not_ready_s": max(not_ready),
        "not_whole_s": [round(s, 2) for s in not_whole],
        "longest_not_whole_s": max(not_whole),
    }


def ask_until(end: Event, server: Server, images: Sequence[bytes]) -> Tally:
    """Ask for one pose after the other, as an application does."""
    client, tally = Client(server.place.inference), Tally()
    while not end.is_set():
        started = time.monotonic()
        try:
            client.predict([Query(images[tally.answered % len(images)])])
            tally.answered += 1
        except (InputError, RunError) as error:
            tally.lost.append(str(error))
        tally.slowest_s = max(tally.slowest_s, time.monotonic() - started)
    return tally


def seconds_until(fulfilled: Callable[[], bool]) -> float:
    """Until that is so, at most ``READY_SECONDS``."""
    started = time.monotonic()
    while not fulfilled() and time.monotonic() - started < READY_SECONDS:
        time.sleep(0.1)
    return time.monotonic() - started


def is_whole(server: Server, killed: int) -> bool:
    """Whether all workers are READY, and none is the process that was killed."""
    workers = describe(server.place)["workers"]
    states = [worker["status"] for worker in workers]
    return states == ["READY"] * WORKERS and killed not in {worker["pid"] for worker in workers}


if __name__ == "__main__":
    children.run(main)
