"""Benchmarks end what they start, however they end, and show their goals in one table."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks import __main__ as every
from benchmarks import measure, train_step
from benchmarks.renderer import PlainKappa
from skelift.training.build import build_trainer
from skelift.training.distributed import join
from skelift.training.objective import SelfSupervised

ROOT = Path(__file__).parents[1]
# A server in a session of its own, with a worker in another; a server that died and left a worker;
# and one that will not be terminated.
TREE = """
import subprocess, sys, time
from benchmarks import children

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
SERVER = f"import subprocess; w = subprocess.Popen({SLEEP}, start_new_session=True); "

def main():
    subprocess.Popen([sys.executable, "-c", SERVER + "w.wait()"], start_new_session=True)
    subprocess.run([sys.executable, "-c", SERVER], start_new_session=True)
    subprocess.Popen([sys.executable, "-c", STUBBORN])
    time.sleep(1)
    print("started", flush=True)
    if sys.argv[1:] == ["stay"]:
        time.sleep(600)
    return 3

children._SECONDS = 1.0
children.run(main)
"""


def started(*command: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        start_new_session=True,
    )


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux alone")
@pytest.mark.parametrize(
    ("stop", "code"), [(None, 3), (signal.SIGTERM, 128 + 15), (signal.SIGINT, 128 + 2)]
)
def test_nothing_is_left_of_a_benchmark(stop: signal.Signals | None, code: int) -> None:
    tree = started("-c", TREE, *(["stay"] if stop else []))
    assert tree.stdout
    assert tree.stdout.readline() == "started\n"
    left = psutil.Process(tree.pid).children(recursive=True)
    try:
        assert stop is None or len(left) == 4
        if stop:
            tree.send_signal(stop)
            tree.send_signal(signal.SIGINT)  # by someone who is impatient
        # Python handles signals that come together in the order of their numbers: SIGINT first.
        assert tree.wait(30) in ((code, 128 + signal.SIGINT) if stop else (code,))
        assert not alive(left)
    finally:
        for process in [*alive(left), tree]:
            process.kill()
        tree.wait()


@pytest.mark.slow
@pytest.mark.load
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_no_server_is_left_of_a_stopped_benchmark(stop: signal.Signals, tmp_path: Path) -> None:
    """TorchServe, FastAPI and LitServe with their workers, in the middle of their requests."""
    command = ["benchmarks.serve", "--port", "8580", "--requests", "100", "--out", str(tmp_path)]
    serve = started("-m", *command)
    root = psutil.Process(serve.pid)
    seen: set[psutil.Process] = set()
    end = time.monotonic() + 240
    try:
        while not any("LitServe" in line or "litserve" in line for line in map(command_of, seen)):
            assert serve.poll() is None
            assert time.monotonic() < end
            seen |= set(root.children(recursive=True))
            time.sleep(0.5)
        time.sleep(10)
        seen |= set(root.children(recursive=True))
        lines = " ".join(map(command_of, seen))
        assert all(name in lines for name in ("org.pytorch.serve", "fastapi", "litserve"))
        serve.send_signal(stop)
        assert serve.wait(60) == 128 + stop
        assert not alive(list(seen))
    finally:
        for process in [*alive(list(seen)), serve]:
            process.kill()
        serve.wait()


def command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def test_the_table_has_each_goal_and_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(measure, "RESULTS", tmp_path)
    goals = {"ratio": ("at least", 4.0), "peak": ("at most", 0.2), "none": ("at most", 1.0)}
    measured = {"ratio": 5.0, "peak": 1234.5, "none": None}
    assert not measure.report({"benchmark": "one", **measured}, goals, "one")
    written = json.loads((tmp_path / "one.json").read_text())
    assert written["machine"]["cores"] == os.cpu_count()
    assert json.loads(capsys.readouterr().out) == written
    rows = every.goals_of("one", tmp_path / "one.json") + every.goals_of(
        "two", tmp_path / "two.json"
    )
    assert every.table(rows).splitlines() == [
        "| benchmark | figure            | value        | goal        | met |",
        "| --------- | ----------------- | ------------ | ----------- | --- |",
        "| one       | ratio             | 5            | at least 4  | yes |",
        "| one       | peak              | 1,234        | at most 0.2 | no  |",
        "| one       | none              | not measured | at most 1   | no  |",
        "| two       | failed, see above |              |             | no  |",
    ]


def test_the_plain_step_computes_the_same_losses(tmp_path: Path) -> None:
    small = ["data.size=32", "train.batch=4", "model.width=4", "model.disc_width=4"]
    small += ["loss.lifted_prior=4", "model.lifter_width=16"]
    with join("cpu") as world:
        config, data = train_step.sticks(tmp_path, small)
        ours = build_trainer(config, data, world)
        plain = train_step.plain_trainer(config, data, world)
    assert isinstance(ours.objective, SelfSupervised)
    assert isinstance(plain.objective, SelfSupervised)
    for kappa in (plain.objective.kappa, plain.objective.flesh.limbs):
        assert isinstance(kappa, PlainKappa)
    assert not isinstance(ours.objective.kappa, PlainKappa)
    for step in range(2):
        first, second = (train_step.loss_of(trainer, step) for trainer in (ours, plain))
        assert first == pytest.approx(second, rel=1e-4)


def test_every_benchmark_is_listed() -> None:
    """All modules that report figures, and no others."""
    files = (ROOT / "benchmarks").glob("*.py")
    assert {f.stem for f in files if "GOALS = {" in f.read_text()} == set(every.NAMES)
