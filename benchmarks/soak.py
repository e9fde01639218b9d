"""TorchServe under thousands of requests of every kind, a tenth of them bad.

``python -m benchmarks.soak``: 20,000 requests and 1,000 fuzzed ones, minutes on two cores. Every
good one has to get the pose that the model has in this process (joints within 1e-4 of the pose's
largest coordinate, or within the digit that they are rounded to), every bad one its status with a
typed error (but for two that TorchServe refuses by itself, see ``requests.py``), no worker may end
and memory has to stay. The seed decides what is sent in which order. JSON goes to standard output
and to ``reports/benchmarks/soak.json``; the exit code is 1 where a goal is missed.
"""

import argparse
import json
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import psutil

from benchmarks import children
from benchmarks.load import Call, Reply, send_all
from benchmarks.measure import report, tree_bytes
from benchmarks.requests import (
    Bad,
    Good,
    ImageArray,
    bad_requests,
    fuzzed_request,
    good_requests,
)
from skelift.inference.predictor import Predictor
from skelift.serving.archive import package
from skelift.serving.server import Server, serving
from skelift.serving.settings import ServerSettings
from skelift.weights import SHIPPED

GOALS = {
    "good_failed": ("at most", 0.0),
    "bad_failed": ("at most", 0.0),
    "fuzzed_failed": ("at most", 0.0),
    "workers_lost": ("at most", 0.0),
    "memory_drift": ("at most", 0.05),
}
TOLERANCE = 1e-4
DIGIT = 0.01  # answers are rounded to it; a tie may fall either way
FUZZED = 20  # one for so many others
RARE = 200  # one large bad request for so many others
SAMPLES = 200  # of the memory
EXCEPTION_TEXT = re.compile(r"Traceback|\w(Error|Exception)\b|\bat [\w.$]+\(|0x[0-9a-f]{6}")
FUZZ = "fuzzed"


def main() -> int:
    """Send all, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=SHIPPED)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--port", type=int, default=8180, help="and the four after it")
    parser.add_argument("--out", type=Path, default=Path("reports/benchmarks/soak.json"))
    args = parser.parse_args()
    images = bodies()
    with tempfile.TemporaryDirectory() as name:
        archive = package(args.model, Path(name))
        with serving(archive, ServerSettings(port=args.port), Path(name) / "state") as server:
            server.wait_ready()
            judge = Judge(Predictor(args.model))
            calls = schedule(images, judge, args.requests, args.seed)
            measured = soak(server, args.port, calls, judge, args.at_once)
    head = {"benchmark": "soak", "model": str(args.model), "seed": args.seed}
    return 0 if report(head | measured, GOALS, args.out) else 1


class Judge:
    """Knows what each request is to be answered with.

    Args:
        predictor: the model, in this process.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._lock = Lock()
        self.sent: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self.statuses: dict[str, Counter[int]] = {}

    def poses(self, good: Good) -> list[dict[str, Any]]:
        """What the model answers here."""
        prepared = [self._predictor.prepare_query(query) for query in good.queries]
        return [pose.as_json() for pose in self._predictor.predict(prepared)]

    def __call__(self, call: Call, reply: Reply) -> None:
        """Count a reply and whether it is as it has to be."""
        kind, way, fault = self._verdict(call, reply)
        with self._lock:
            self.sent[kind] += 1
            self.statuses.setdefault(way, Counter())[reply.status] += 1
            if fault:
                self.failed[kind] += 1
                self.examples.setdefault(f"{way}: {fault}", repr(reply.body[:300]))

    def _verdict(self, call: Call, reply: Reply) -> tuple[str, str, str]:
        expected = call.expected
        if isinstance(expected, Bad):
            fault = "" if reply.status in expected.statuses else f"status {reply.status}"
            if expected.typed:
                fault = fault or error_fault(reply)
            return "bad", expected.way, fault
        if expected == FUZZ:
            if reply.status == 200:
                return FUZZ, FUZZ, finite_fault(reply)
            fault = "" if 400 <= reply.status < 500 else f"status {reply.status}"
            return FUZZ, FUZZ, fault or error_fault(reply)
        fault = f"status {reply.status}" if reply.status != 200 else pose_fault(reply, expected)
        return "good", "good", fault


def error_fault(reply: Reply) -> str:
    """What is wrong with the body of a refusal: it says code, type and message, and no more."""
    try:
        answer = json.loads(reply.body)
        error = answer.get("error", answer)  # TorchServe's own have no envelope
        code, message = error["code"], error["message"]
        typed = isinstance(error["type"], str)
    except (ValueError, KeyError, TypeError, AttributeError):
        return "no typed error"
    if code != reply.status or not typed:
        return "no typed error"
    return "exception text" if EXCEPTION_TEXT.search(message) else ""


def finite_fault(reply: Reply) -> str:
    """What is wrong with an answer of numbers that nobody knows."""
    answer = json.loads(reply.body)
    joints = np.array([entry["joints_3d_mm"] for entry in answer["predictions"]])
    return "" if np.isfinite(joints).all() else "not finite"


def pose_fault(reply: Reply, expected: Sequence[dict[str, Any]]) -> str:
    """How an answer differs from the one that is known."""
    answer = json.loads(reply.body)
    for name in ("joints_3d_mm", "joints_2d_px"):
        if "outputs" in answer:
            tensor = next(each for each in answer["outputs"] if each["name"] == name)
            got = np.reshape(tensor["data"], tensor["shape"])
        else:
            got = np.array([entry[name] for entry in answer["predictions"]])
        wanted = np.array([entry[name] for entry in expected])
        if got.shape != wanted.shape:
            return f"{name} of shape {got.shape}"
        apart = np.abs(got - wanted).max((1, 2))
        if (apart > np.maximum(TOLERANCE * np.abs(wanted).max((1, 2)), 1.001 * DIGIT)).any():
            return f"{name} differ by {apart.max():.4f}"
    return ""


def bodies() -> list[ImageArray]:
    """Rendered persons of several sizes."""
    from skelift.synth.sample import sample_images

    return [image for count, size in ((4, 480), (4, 192)) for image in sample_images(count, size)]


def schedule(images: list[ImageArray], judge: Judge, count: int, seed: int) -> list[Call]:
    """All calls in their order."""
    rng = np.random.default_rng(seed)
    good = [
        Call(g.call.path, g.call.body, g.call.method, g.call.headers, judge.poses(g))
        for g in good_requests(images)
    ]
    ways = bad_requests(images[-1])
    often, rare = ([b for b in ways if b.rare is which] for which in (False, True))
    bad = [
        rare[n // RARE % len(rare)] if n % RARE == 0 else often[n % len(often)]
        for n in range(count // 10)
    ]
    calls = [good[n % len(good)] for n in range(count - len(bad))]
    calls += [Call(b.call.path, b.call.body, b.call.method, b.call.headers, b) for b in bad]
    for _ in range(count // FUZZED):
        fuzzed = fuzzed_request(images, rng)
        calls.append(Call(fuzzed.path, fuzzed.body, fuzzed.method, fuzzed.headers, FUZZ))
    return [calls[n] for n in rng.permutation(len(calls))]


def soak(
    server: Server, port: int, calls: Sequence[Call], judge: Judge, at_once: int
) -> dict[str, Any]:
    """Send the calls and watch the server."""
    workers = worker_pids(server)
    memory: list[int] = []
    started = time.monotonic()
    send_all(port, watched(calls, server.process.pid, memory), at_once, judge)
    quarter = len(memory) // 4
    second, last = np.mean(memory[quarter : 2 * quarter]), np.mean(memory[-quarter:])
    return {
        "seconds": round(time.monotonic() - started, 1),
        "sent": dict(judge.sent),
        "good_failed": judge.failed["good"],
        "bad_failed": judge.failed["bad"],
        "fuzzed_failed": judge.failed[FUZZ],
        "examples_of_failures": judge.examples,
        "statuses": {way: dict(of) for way, of in sorted(judge.statuses.items())},
        "workers_lost": len(workers - worker_pids(server)),
        "memory_mib": [round(of / 2**20) for of in memory[:: max(len(memory) // 20, 1)]],
        "memory_drift": float(abs(last / second - 1)),
    }


def watched(calls: Sequence[Call], process: int, memory: list[int]) -> Iterator[Call]:
    """The calls, with progress shown and the memory of the server's processes noted."""
    from rich.console import Console
    from rich.progress import track

    every = max(len(calls) // SAMPLES, 1)
    console = Console(file=sys.stderr)
    for number, call in enumerate(track(calls, "Requests", console=console)):
        if number % every == 0:
            memory.append(tree_bytes(process))
        yield call


def worker_pids(server: Server) -> set[int]:
    """Processes of the workers."""
    started = psutil.Process(server.process.pid).children(recursive=True)
    return {
        each.pid for each in started if any("model_service_worker" in a for a in each.cmdline())
    }


if __name__ == "__main__":
    children.run(main)
