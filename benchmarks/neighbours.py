"""Training beside other work: threads that look out for others against threads that spin.

``python -m benchmarks.neighbours``: some minutes; meant for a machine of two or more cores that
does nothing else. Three processes train the quickstart on as many threads as there are cores (or on
one), in turns: windows of a few steps each, quiet and beside processes that keep ``--busy`` cores
busy. ``spinning`` has OpenMP's own settings, ``skelift`` those of ``skelift.threads``. Figures are
medians of images per second over the windows. JSON goes to standard output and to
``reports/benchmarks/neighbours.json``.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from statistics import median

from benchmarks import children
from benchmarks.measure import report

GOALS = {"quiet_over_spinning": ("at least", 0.95), "busy_over_spinning": ("at least", 1.6)}
OPENMP = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "SKELIFT_THREADS")
TRAIN = "from benchmarks.neighbours import train; train()"
LOOKING_OUT = f"from skelift.neighbours import beside_others\nwith beside_others(): {TRAIN}"
# What is loaded before skelift settles its threads keeps the library's own settings.
SETTINGS: dict[str, tuple[str, dict[str, str]]] = {
    "spinning": (f"import torch, numba, cv2; {TRAIN}", {}),
    "asleep": (TRAIN, {"GOMP_SPINCOUNT": "0"}),
    "skelift": (f"import benchmarks; {LOOKING_OUT}", {}),
    "one_thread": (TRAIN, {"SKELIFT_THREADS": "1"}),
}
SPIN = "while True: pass"


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=25, help="per window")
    parser.add_argument("--rounds", type=int, default=5, help="windows of each setting")
    parser.add_argument("--busy", type=int, default=1, help="busy processes beside it")
    parser.add_argument("--out", type=Path, default=Path("reports/benchmarks/neighbours.json"))
    args = parser.parse_args()
    with ExitStack() as stack:
        trainers = {name: stack.enter_context(trainer(name)) for name in SETTINGS}
        for each in trainers.values():
            images_per_second(each, args.steps)
        seen: dict[str, dict[str, list[float]]] = {
            state: {name: [] for name in SETTINGS} for state in ("quiet", "busy")
        }
        for _ in range(args.rounds):
            for state, windows in seen.items():
                with busy(args.busy if state == "busy" else 0):
                    for name, each in trainers.items():
                        windows[name].append(images_per_second(each, args.steps))
    rates = {s: {n: median(one) for n, one in of.items()} for s, of in seen.items()}
    report(
        {
            "benchmark": "neighbours: images per second of training, quiet and beside others",
            "busy_processes": args.busy,
            "images_per_second": rates,
            "windows": seen,
            "quiet_over_spinning": rates["quiet"]["skelift"] / rates["quiet"]["spinning"],
            "busy_over_spinning": rates["busy"]["skelift"] / rates["busy"]["spinning"],
        },
        GOALS,
        args.out,
    )


@contextmanager
def trainer(setting: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that trains when it is told to."""
    program, variables = SETTINGS[setting]
    environment = {k: v for k, v in os.environ.items() if k not in OPENMP} | variables
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            children.end_tree(process.pid)


def images_per_second(process: "subprocess.Popen[str]", steps: int) -> float:
    """Of one window of training."""
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"{steps}\n")
    process.stdin.flush()
    return float(process.stdout.readline())


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Other work: processes that never wait."""
    started = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def train() -> None:
    """Take as many steps as each line of standard input says; print their images per second."""
    from benchmarks.train_step import loss_of, quickstart

    with tempfile.TemporaryDirectory() as folder, quickstart(Path(folder)) as trained:
        steps = count()
        for line in sys.stdin:
            started = time.perf_counter()
            for _ in range(int(line)):
                loss_of(trained, next(steps))
            images = int(line) * trained.train.batch
            print(images / (time.perf_counter() - started), flush=True)


if __name__ == "__main__":
    children.run(main)
