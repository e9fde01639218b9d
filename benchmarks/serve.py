"""TorchServe as configured against the bare predictor, FastAPI + uvicorn and LitServe.

``python -m benchmarks.serve``: some minutes. JSON goes to standard output and, with a plot, to
``reports/benchmarks``. All have the same model (ONNX Runtime, one thread per worker), two workers,
batches of up to 8, and get rendered persons of 480 x 480 pixels as JPEG: raw, or, for LitServe,
which takes no raw bodies, in JSON. Bare is decode, forward pass and JSON without any server: one
process and one image for the lone client, else two processes that share what is under way.

CPU seconds are those of a server's whole process tree: Java's frontend counts, this client does
not. The servers take turns, after a warm-up (Java compiles its code while it runs); each figure is
the median of the rounds: the machine's own speed varies by a tenth within minutes.
"""

import argparse
import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, astuple, dataclass
from functools import cache
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks import children
from benchmarks.load import Call, Reply, send_all
from benchmarks.measure import report, tree_cpu_seconds
from benchmarks.peers import BATCH, MODEL, START_SECONDS, load_service
from skelift.inference.cropping import Query
from skelift.inference.predictor import GRAPH, Predictor
from skelift.serving.archive import package
from skelift.serving.export import export_onnx
from skelift.serving.server import serving
from skelift.serving.settings import DEFAULT_NAME, WORKERS, ServerSettings
from skelift.weights import SHIPPED

AT_ONCE = (1, 8, 32)
BARE, TORCHSERVE, FASTAPI, LITSERVE = "bare", "torchserve", "fastapi", "litserve"
GOALS = {
    "cpu_over_bare_at_8": ("at most", 1.10),
    "cpu_over_fastapi_at_8": ("at most", 1.0),
    "cpu_over_litserve_at_8": ("at most", 1.0),
    "lone_p50_ms_above_bare": ("at most", 20.0),
}


@dataclass(frozen=True)
class Figures:
    """One server at one concurrency."""

    cpu_ms: float
    p50_ms: float
    p99_ms: float
    requests_per_second: float


Measure = Callable[[int, int], Figures]  # of requests, so many at once


def main() -> None:
    """Measure, print and plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=SHIPPED)
    parser.add_argument(
        "--requests", type=int, default=400, help="per server, concurrency and round"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--port", type=int, default=8180, help="and the six after it")
    parser.add_argument("--out", type=Path, default=Path("reports/benchmarks"))
    args = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        archive = package(args.model, folder)
        model = exported(args.model, folder / "model")
        images = jpegs(16)
        measures: dict[str, Measure] = {
            BARE: stack.enter_context(bare(model, images)),
            TORCHSERVE: stack.enter_context(torchserve(archive, args.port, folder, images)),
            FASTAPI: stack.enter_context(peer(FASTAPI, model, args.port + 5, images)),
            LITSERVE: stack.enter_context(peer(LITSERVE, model, args.port + 6, images)),
        }
        figures = take_turns(measures, args.requests, args.rounds)
    plot(figures, args.out / "serve.png")
    at_8 = {name: of[8].cpu_ms for name, of in figures.items()}
    lone = {name: of[1].p50_ms for name, of in figures.items()}
    report(
        {
            "benchmark": "serve: CPU milliseconds per request, and latency",
            "model": str(args.model),
            "requests": args.requests,
            "rounds": args.rounds,
            "servers": {
                name: {str(at_once): asdict(f) for at_once, f in of.items()}
                for name, of in figures.items()
            },
            "cpu_over_bare_at_8": at_8[TORCHSERVE] / at_8[BARE],
            "cpu_over_fastapi_at_8": at_8[TORCHSERVE] / at_8[FASTAPI],
            "cpu_over_litserve_at_8": at_8[TORCHSERVE] / at_8[LITSERVE],
            "lone_p50_ms_above_bare": lone[TORCHSERVE] - lone[BARE],
        },
        GOALS,
        args.out / "serve.json",
    )


def take_turns(
    measures: dict[str, Measure], requests: int, rounds: int
) -> dict[str, dict[int, Figures]]:
    """The median of each figure over the rounds, by server and concurrency."""
    found: dict[str, dict[int, list[Figures]]] = {
        name: {at_once: [] for at_once in AT_ONCE} for name in measures
    }
    for measure in measures.values():
        for at_once in AT_ONCE:
            measure(requests, at_once)
    for turn in range(rounds):
        for at_once in AT_ONCE:
            for name, measure in measures.items():
                one = measure(requests // (1 if at_once > 1 else 4), at_once)
                found[name][at_once].append(one)
                print(
                    f"round {turn + 1}/{rounds}, {at_once:2} at once: {name} {one}", file=sys.stderr
                )
    return {name: {c: median(each) for c, each in of.items()} for name, of in found.items()}


def median(figures: Sequence[Figures]) -> Figures:
    """Of each figure by itself."""
    return Figures(*np.median([astuple(each) for each in figures], axis=0).tolist())


@contextmanager
def torchserve(
    archive: Path, port: int, folder: Path, images: Sequence[bytes]
) -> Iterator[Measure]:
    """TorchServe, as ``skelift serve`` starts it."""
    calls = [raw_call(f"/predictions/{DEFAULT_NAME}", image) for image in images]
    with serving(archive, ServerSettings(port=port), folder / "state") as server:
        server.wait_ready()
        yield lambda count, at_once: loaded(server.process.pid, port, calls, count, at_once)


@contextmanager
def peer(name: str, model: Path, port: int, images: Sequence[bytes]) -> Iterator[Measure]:
    """One of the other servers."""
    as_call = json_call if name == LITSERVE else raw_call
    calls = [as_call("/predict", image) for image in images]
    command = [sys.executable, "-m", "benchmarks.peers", name, str(model), str(port)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, start_new_session=True) as process:
        try:
            wait_for(port, calls[0], process)
            yield lambda count, at_once: loaded(process.pid, port, calls, count, at_once)
        finally:
            children.end_tree(process.pid)


@contextmanager
def bare(model: Path, images: Sequence[bytes]) -> Iterator[Measure]:
    """The predictor without a server, in processes of its own."""
    with ProcessPoolExecutor(
        WORKERS, get_context("spawn"), initializer=start_bare, initargs=(str(model),)
    ) as pool:

        def measure(count: int, at_once: int) -> Figures:
            processes = min(at_once, WORKERS)
            batch = min(at_once // processes, BATCH)
            started = time.perf_counter()
            tasks = [
                pool.submit(run_bare, images, count // processes, batch) for _ in range(processes)
            ]
            done = [task.result() for task in tasks]
            wall = time.perf_counter() - started
            seconds = np.concatenate([each for _, each in done])
            answered = len(seconds) * batch
            p50, p99 = 1000 * np.percentile(seconds, (50, 99))
            return Figures(1000 * sum(cpu for cpu, _ in done) / answered, p50, p99, answered / wall)

        yield measure


def start_bare(model: str) -> None:
    """Load the model in a process of its own."""
    os.environ[MODEL] = model
    bare_predictor()


@cache
def bare_predictor() -> Predictor:
    """The predictor of this process."""
    return load_service().predictor


def run_bare(images: Sequence[bytes], count: int, batch: int) -> tuple[float, list[float]]:
    """CPU seconds of answering ``count`` images, and the seconds of each batch."""
    predictor, seconds = bare_predictor(), []
    started = time.process_time()
    for number in range(max(count // batch, 1)):
        begun = time.perf_counter()
        queries = [Query(images[(number + i) % len(images)]) for i in range(batch)]
        poses = predictor.predict([predictor.prepare_query(query) for query in queries])
        for pose in poses:
            json.dumps(predictor.answer([("0", pose)]))
        seconds.append(time.perf_counter() - begun)
    return time.process_time() - started, seconds


def loaded(process: int, port: int, calls: Sequence[Call], count: int, at_once: int) -> Figures:
    """Measure a server under load; every request has to be answered."""
    replies: list[Reply] = []
    before, started = tree_cpu_seconds(process), time.perf_counter()
    all_calls = (calls[number % len(calls)] for number in range(count))
    send_all(port, all_calls, at_once, lambda call, reply: replies.append(reply))
    wall = time.perf_counter() - started
    spent = tree_cpu_seconds(process) - before
    failed = [reply for reply in replies if reply.status != 200]
    if failed:
        raise RuntimeError(f"{calls[0].path}: {len(failed)} of {count} failed, as {failed[0]}")
    p50, p99 = 1000 * np.percentile([reply.seconds for reply in replies], (50, 99))
    return Figures(1000 * spent / count, p50, p99, count / wall)


def raw_call(path: str, image: bytes) -> Call:
    """An image as it is."""
    return Call(path, image, headers={"Content-Type": "application/octet-stream"})


def json_call(path: str, image: bytes) -> Call:
    """An image in JSON."""
    body = json.dumps({"image": base64.b64encode(image).decode()}).encode()
    return Call(path, body, headers={"Content-Type": "application/json"})


def wait_for(port: int, call: Call, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server answers an image."""
    end = time.monotonic() + START_SECONDS
    seen: list[int] = []
    while 200 not in seen:
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"the server on port {port} does not answer: {seen[-3:]}")
        send_all(port, [call], 1, lambda _, reply: seen.append(reply.status))
        time.sleep(0.2)


def exported(model: Path, folder: Path) -> Path:
    """A copy of a model folder with its graph, as the archive has it."""
    folder.mkdir()
    for file in model.iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    export_onnx(model, folder / GRAPH)
    return folder


def jpegs(count: int) -> list[bytes]:
    """Rendered persons as JPEG."""
    from PIL import Image

    from skelift.synth.sample import sample_images

    encoded = []
    for image in sample_images(count):
        stream = BytesIO()
        Image.fromarray(image).save(stream, "JPEG", quality=90)
        encoded.append(stream.getvalue())
    return encoded


def plot(figures: dict[str, dict[int, Figures]], file: Path) -> None:
    """Bars: CPU time and median latency of each server, by concurrency."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(9, 3.4), layout="constrained")
    axes = drawing.subplots(1, 2)
    titles = {"cpu_ms": "CPU ms per request", "p50_ms": "median latency, ms"}
    for axis, (name, title) in zip(axes, titles.items(), strict=True):
        for number, (server, of) in enumerate(figures.items()):
            if name == "p50_ms" and server == BARE:
                continue  # its batches are none that a client would wait for
            heights = [getattr(of[at_once], name) for at_once in AT_ONCE]
            places = np.arange(len(AT_ONCE)) + 0.2 * (number - 1.5)
            axis.bar(places, heights, 0.2, label=server, color=f"C{number}")
        axis.set_xticks(range(len(AT_ONCE)), [f"{at_once} at once" for at_once in AT_ONCE])
        axis.set_title(title)
    axes[0].legend()
    file.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(file, dpi=100)


if __name__ == "__main__":
    children.run(main)
