"""Threads sleep beside others: what the kernel counts by hand, and what real OpenMP threads do."""

import os
import subprocess
import sys
from threading import Event
from threading import enumerate as enumerate_threads

import pytest

from skelift import neighbours
from skelift.neighbours import Use, beside_others, busy_seconds
from skelift.processes import unlimited_cores
from skelift.training import distributed

STAT = """\
cpu  9000 900 900 9000 900 90 90 90 0 0
cpu0 1000 200 30 5000 600 7 8 9 0 0
cpu1 100 20 3 9000 900 4 5 6 50 60
cpu10 7000 700 700 700 700 70 70 70 0 0
intr 12345 1 2 3
"""


def test_busy_is_all_but_idle_on_the_cores_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    ticks = (1000 + 200 + 30 + 7 + 8 + 9) + (100 + 20 + 3 + 4 + 5 + 6)
    assert busy_seconds(STAT) == pytest.approx(ticks / os.sysconf("SC_CLK_TCK"))


def test_others_are_what_is_busy_and_not_this_process() -> None:
    before, after = Use(clock=10, busy=100, own=50), Use(clock=12, busy=103.5, own=52.5)
    assert after.of_others_since(before) == pytest.approx(0.5)


def test_the_kernel_sees_a_busy_neighbour() -> None:
    neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        before = Use.now()
        Event().wait(1)
        # It gets a third of one of two cores at the least, however busy the machine is.
        assert Use.now().of_others_since(before) > 0.2
    finally:
        neighbour.kill()
        neighbour.wait()


def test_threads_are_put_to_sleep_while_others_are_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = iter([0.0, 0.3, 0.5, 0.3, 1.0, 0.1, 0.0, 0.6])
    seen: list[str] = []
    over = Event()

    class TeamDouble:
        def __init__(self) -> None:
            seen.append("asleep")

        def end(self) -> None:
            seen.append("spinning")

    def share(self: Use, before: Use) -> float:
        value = next(shares, None)
        if value is None:
            over.set()
            return 0.6
        seen.append(str(value))
        return value

    monkeypatch.setattr(neighbours, "SECONDS", 0.001)
    monkeypatch.setattr(neighbours, "spins", lambda: True)
    monkeypatch.setattr(neighbours, "IdleTeam", TeamDouble)
    monkeypatch.setattr(Use, "of_others_since", share)
    with beside_others():
        assert over.wait(60)
    asleep, spinning = "asleep", "spinning"
    assert seen == [
        *(
            "0.0",
            "0.3",
            "0.5",
            asleep,
            "0.3",
            "1.0",
            "0.1",
            spinning,
            "0.0",
            "0.6",
            asleep,
            spinning,
        )
    ]


def test_nobody_looks_out_where_threads_never_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.setattr(neighbours, "_watch", lambda _: pytest.fail("looked out"))
    with beside_others():
        pass


WAITING = """
import sys, time, torch
from skelift.neighbours import IdleTeam

def work():
    torch.zeros(1 << 20).add_(1)

def cpu_seconds_of_waiting():
    work()
    before = time.process_time()
    time.sleep(0.6)
    return time.process_time() - before

torch.set_num_threads(2)
spinning = cpu_seconds_of_waiting()
team = IdleTeam()
time.sleep(0.2)
asleep = cpu_seconds_of_waiting()
team.end()
print(spinning, asleep, cpu_seconds_of_waiting())
"""


@pytest.mark.skipif(unlimited_cores() != 2, reason="of two threads on two cores")
def test_an_idle_team_puts_the_threads_of_openmp_to_sleep() -> None:
    """Of threads that would spin for minutes; by the processor time that they take."""
    environment = os.environ | {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "30000000000"}
    done = subprocess.run(
        [sys.executable, "-c", WAITING], env=environment, capture_output=True, text=True, check=True
    )
    spinning, asleep, again = map(float, done.stdout.split())
    assert asleep < 0.05 < 0.1 < min(spinning, again)


@pytest.mark.parametrize("size", [1, 2])
def test_each_process_of_a_training_looks_out(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process per machine may spin on all of its cores, too."""
    monkeypatch.setenv("WORLD_SIZE", str(size))
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setattr(distributed, "_store", lambda: None)
    for name in ("init_process_group", "destroy_process_group"):
        monkeypatch.setattr(distributed.dist, name, lambda *_, **__: None)
    monkeypatch.setattr(neighbours, "spins", lambda: True)
    with distributed.join("cpu") as world:
        assert world.size == size
        assert any(thread.name == "neighbours" for thread in enumerate_threads())
    assert all(thread.name != "neighbours" for thread in enumerate_threads())
