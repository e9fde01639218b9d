"""A training that loses processes and pods: the TrainJob's own command, as Trainer starts it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from tiny_run import overrides, pretrained
from torch.distributed import TCPStore

ROOT = Path(__file__).parents[1]
TRAINER = yaml.safe_load((ROOT / "k8s/components/trainjob/trainjob.yaml").read_text())["spec"][
    "trainer"
]
STEPS = 100


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrained(tmp_path_factory.mktemp("torchrun"))


class Cluster:
    """Pods of one training as processes, with what Trainer's torch plug-in puts into their env."""

    def __init__(self, home: Path, run: str, nodes: int, processes: int) -> None:
        self.folder = home / run
        self.arguments = overrides(home, run, f"train.steps={STEPS}", "train.device=cpu")
        self.nodes, self.processes = nodes, processes

    def start(self) -> list["subprocess.Popen[bytes]"]:
        """The pods of one attempt of the JobSet."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [*TRAINER["command"], *self.arguments]
        # Same program, this environment's.
        command[0] = shutil.which(command[0], path=str(Path(sys.executable).parent))
        shared = {
            "PET_NNODES": str(self.nodes),
            "PET_NPROC_PER_NODE": str(self.processes),
            "PET_MASTER_ADDR": "127.0.0.1",
            "PET_MASTER_PORT": str(port),
            "OMP_NUM_THREADS": "1",
            "GLOO_SOCKET_IFNAME": "lo",
        }
        return [
            subprocess.Popen(
                command,
                env=os.environ | shared | {"PET_NODE_RANK": str(rank)},
                start_new_session=True,
            )
            for rank in range(self.nodes)
        ]

    @property
    def curve(self) -> list[str]:
        file = self.folder / "checkpoints" / "stats.jsonl"
        return file.read_text().splitlines() if file.exists() else []

    def train_for_a_while(self, pods: list["subprocess.Popen[bytes]"]) -> None:
        before = len(self.curve)
        while len(self.curve) < before + 2:
            assert all(pod.poll() is None for pod in pods)
            time.sleep(0.02)
        assert len(self.curve) < STEPS // 5

    def assert_finished_from(self, first: str) -> None:
        rows = [json.loads(line) for line in self.curve]
        assert [row["step"] for row in rows] == list(range(5, STEPS + 1, 5))
        # The line holds the speed at the time: only the run that lost something has written it.
        assert self.curve[0] == first
        assert (self.folder / "model" / "model.safetensors").exists()


@pytest.mark.slow
@pytest.mark.load
def test_a_killed_process_is_started_again_and_the_training_goes_on(home: Path) -> None:
    cluster = Cluster(home, "process", nodes=1, processes=2)
    (pod,) = pods = cluster.start()
    cluster.train_for_a_while(pods)
    first = cluster.curve[0]
    os.kill(_workers(pod)[1], signal.SIGKILL)
    assert pod.wait() == 0
    cluster.assert_finished_from(first)


@pytest.mark.slow
@pytest.mark.load
def test_a_lost_pod_ends_the_attempt_and_the_next_one_goes_on(home: Path) -> None:
    """What the JobSet does: one pod fails, so all are started again."""
    cluster = Cluster(home, "pod", nodes=2, processes=1)
    pods = cluster.start()
    cluster.train_for_a_while(pods)
    first = cluster.curve[0]
    lost, left = ([pod.pid, *_workers(pod)] for pod in reversed(pods))
    for process in lost:
        os.kill(process, signal.SIGKILL)
    pods[1].wait()
    for process in left:  # the controller stops the pods that are left
        os.kill(process, signal.SIGTERM)
    assert pods[0].wait() != 0
    assert not (cluster.folder / "model" / "model.safetensors").exists()

    assert [pod.wait() for pod in cluster.start()] == [0, 0]
    cluster.assert_finished_from(first)


DIES_AFTER_A_SUM = """
import os, time
import torch
from skelift.training.distributed import join

if os.environ["TORCHELASTIC_RESTART_COUNT"] == "1" and os.environ["RANK"] == "1":
    time.sleep(3)
with join("cpu") as world:
    print(2 * world.mean(torch.tensor(float(world.rank + 1))).item(), flush=True)
    os._exit(0)
"""


@pytest.mark.slow
def test_what_is_started_again_does_not_call_the_dead() -> None:
    """torchrun's store holds the addresses of the last attempt; one process comes later.

    Whether a dead address makes the attempt fail, hang or pass is up to the ports drawn, so the
    keys are counted too: each attempt has its own.
    """
    agent = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    for attempt in range(2):
        before = agent.num_keys()
        assert _sums(agent.port, attempt) == ["3.0\n", "3.0\n"]
        assert agent.num_keys() >= before + 2


def _sums(port: int, attempt: int) -> list[str]:
    shared = {
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": str(attempt),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", DIES_AFTER_A_SUM],
            env=os.environ | shared | {"RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        return [worker.communicate(timeout=200)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def _workers(pod: "subprocess.Popen[bytes]") -> list[int]:
    """Process ids of a torchrun's workers, by local rank."""
    children = Path(f"/proc/{pod.pid}/task/{pod.pid}/children").read_text().split()
    return [
        int(child)
        for child in children
        if b"skelift" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
