"""A training step shared by several processes, as on several GPUs, against one process.

``python -m benchmarks.scaling``: some minutes; meant for a machine of two or more cores that does
nothing else. The same global batch of the quickstart is trained by one process of one thread, by
one process of ``--workers`` threads, and by ``--workers`` processes of one thread that average
their gradients (gloo). They take turns: windows of a few steps each. Figures are medians over the
windows; ``cpu_limit`` is how many times as fast the processes could be by their CPU time alone,
which others on the machine change less than the clock. JSON goes to standard output and to
``reports/benchmarks/scaling.json``.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median

from benchmarks import children
from benchmarks.measure import report

GOALS = {"processes_over_one": ("at least", 1.7)}
TRAIN = "from benchmarks.scaling import train; train()"


@dataclass(frozen=True)
class Window:
    """What a few steps have cost, per step."""

    seconds: float
    cpu_seconds: float  # of all processes of a team


class Team:
    """Processes that train together, a window at a time."""

    def __init__(self, members: list["subprocess.Popen[str]"]) -> None:
        self.members = members

    def window(self, steps: int) -> Window:
        """Let all take some steps; the slowest counts."""
        for member in self.members:
            assert member.stdin
            member.stdin.write(f"{steps}\n")
            member.stdin.flush()
        answers = [_numbers(member) for member in self.members]
        return Window(
            max(seconds for seconds, _ in answers) / steps, sum(cpu for _, cpu in answers) / steps
        )


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=25, help="per window")
    parser.add_argument("--rounds", type=int, default=5, help="windows of each team")
    parser.add_argument("--workers", type=int, default=2, help="threads, or processes")
    args = parser.parse_args()
    teams = {"one": (1, 1), "threads": (1, args.workers), "processes": (args.workers, 1)}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        batch = prepare(Path(folder))
        started = {n: stack.enter_context(team(Path(folder), *of)) for n, of in teams.items()}
        for each in started.values():
            each.window(args.steps)
        windows: dict[str, list[Window]] = {name: [] for name in teams}
        for _ in range(args.rounds):
            for name, each in started.items():
                windows[name].append(each.window(args.steps))
    seconds = {name: median(w.seconds for w in of) for name, of in windows.items()}
    cpu_seconds = {name: median(w.cpu_seconds for w in of) for name, of in windows.items()}
    report(
        {
            "benchmark": "scaling: images per second of training by one process and by several",
            "workers": args.workers,
            "batch": batch,
            "images_per_second": {name: batch / s for name, s in seconds.items()},
            "cpu_seconds_per_step": cpu_seconds,
            "windows": {name: [batch / w.seconds for w in of] for name, of in windows.items()},
            "threads_over_one": seconds["one"] / seconds["threads"],
            "processes_over_one": seconds["one"] / seconds["processes"],
            "cpu_limit": args.workers * cpu_seconds["one"] / cpu_seconds["processes"],
        },
        GOALS,
        "scaling",
    )


def prepare(folder: Path) -> int:
    """Write what all teams read, and return the global batch."""
    from benchmarks.train_step import sticks

    config, _ = sticks(folder, [])
    return config.train.batch


@contextmanager
def team(folder: Path, processes: int, threads: int) -> Iterator[Team]:
    """So many processes of so many threads that train when they are told to."""
    shared = {
        "OMP_NUM_THREADS": str(threads),
        "SKELIFT_THREADS": str(threads),
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "GLOO_SOCKET_IFNAME": "lo",
    }
    members = [
        subprocess.Popen(
            [sys.executable, "-c", TRAIN, str(folder)],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    try:
        yield Team(members)
    finally:
        for member in members:
            children.end_tree(member.pid)
            member.communicate()


def train() -> None:
    """Take as many steps as each line of standard input says; print seconds and CPU seconds."""
    from benchmarks.train_step import loss_of, settings
    from skelift.data.format import Dataset
    from skelift.training.build import build_trainer
    from skelift.training.distributed import join

    config = settings(Path(sys.argv[1]), [])
    with join("cpu") as world:
        trainer = build_trainer(config, Dataset(config.paths.data), world)
        steps = count()
        for line in sys.stdin:
            started, cpu_started = time.perf_counter(), time.process_time()
            for _ in range(int(line)):
                loss_of(trainer, next(steps))
            print(time.perf_counter() - started, time.process_time() - cpu_started, flush=True)


def _numbers(member: "subprocess.Popen[str]") -> tuple[float, float]:
    assert member.stdout
    seconds, cpu_seconds = map(float, member.stdout.readline().split())
    return seconds, cpu_seconds


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


if __name__ == "__main__":
    children.run(main)
