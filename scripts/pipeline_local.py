"""The compiled pipeline in real containers on this machine: ``make pipeline-local``.

    python scripts/pipeline_local.py [release] [killed] [invalid] [served]

- ``release``: the whole pipeline on a tiny data set, with a sweep of two trials, to a .mar.
- ``killed``: the same again, its training container killed once in mid-run; the scores have to be
  the same.
- ``invalid``: a data set with a damaged file; the pipeline has to stop at validation and say why.
- ``served``: the .mar in the serve image, as the Deployment of k8s/ runs it: ready, one prediction,
  an answer to what is under way when the container is told to stop, and exit code 0.

Containers come from the project's Dockerfile (scripts/docker_local.sh), artifacts lie in a real S3
server (SeaweedFS), tasks are run by kfp.local.DockerRunner. Node selectors, GPUs, volumes and
secrets have no meaning there: the training runs in the cpu image, and the bucket's keys come as
variables. Without Docker, and with no way to start one, it says so and ends well.
"""

import argparse
import contextlib
import io
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import numpy as np
import yaml
from PIL import Image

from skelift import __version__
from skelift.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
COMPILED = ROOT / "pipelines" / "skelift.yaml"
DOCKER = ROOT / "scripts" / "docker_local.sh"
OUTPUTS = ROOT / "outputs" / "pipeline-local"
NO_DOCKER = 3
BUCKET = "skelift"
STATS = "stats.jsonl"
# S3, master, volume and filer of SeaweedFS; gRPC listens 10000 above each.
PORTS = range(15000, 16000)

# A run of minutes on two cores: tiny people, tiny networks, a few hundred steps.
TINY: dict[str, Any] = {
    "experiment": "quickstart",
    "train_steps": 400,
    "flow_steps": 60,
    "sweep": True,
    "sweep_trials": 2,
    "overrides": [
        "data.size=32",
        "data.synth.train=240",
        "data.synth.test=60",
        "data.synth.prior=400",
        "data.synth.workers=2",
        "flow.hidden=32",
        "flow.blocks=2",
        "model.width=4",
        "model.disc_width=8",
        "model.lifter_width=64",
        "train.interval=20",
        "train.checkpoint_every=20",
        "train.precision=fp32",
        "heads.front_back.steps=200",
        "heads.refiner.steps=200",
        "evaluate.baselines=[mean_pose]",
        "evaluate.shown=4",
        "sweep.overrides=['train.steps=40','train.dvclive=false',"
        "'heads.refiner.enabled=false','heads.front_back.enabled=false']",
    ],
}


class Unexpected(Exception):
    """The pipeline did not do what it has to."""


@dataclass(frozen=True)
class Store:
    """A running S3 server: ``environment`` is what a client needs."""

    environment: dict[str, str]

    def client(self) -> Any:
        """A boto3 client."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            region_name=self.environment["AWS_DEFAULT_REGION"],
        )

    def names(self, prefix: str) -> list[str]:
        """Keys below a prefix, oldest first."""
        pages = (
            self.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        )
        found = [item for page in pages for item in page.get("Contents", [])]
        return [item["Key"] for item in sorted(found, key=lambda item: item["LastModified"])]

    def read(self, name: str) -> bytes:
        """An object's content."""
        content: bytes = self.client().get_object(Bucket=BUCKET, Key=name)["Body"].read()
        return content


def main() -> int:
    """Run the chosen cases; 0 when all came out as they have to."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        return run_here(arguments.run)
    if unknown := sorted(set(arguments.cases) - set(CASES)):
        parser.error(f"no case {unknown[0]}; choose from {', '.join(CASES)}")
    running = subprocess.run([DOCKER, "status"], stdout=subprocess.PIPE, check=True).stdout
    host = docker_up()
    if host is None:
        print("pipeline-local: skipped: no Docker daemon here, and none can be started")
        return 0
    os.environ["DOCKER_HOST"] = host
    try:
        subprocess.run([DOCKER, "images"], check=True)
        check(TINY)
        started = time.monotonic()
        with store() as s3:
            for case in arguments.cases or CASES:
                CASES[case](s3)
        print(f"pipeline-local: done in {time.monotonic() - started:.0f} s; see {OUTPUTS}")
    except (Unexpected, InputError) as error:
        print(f"pipeline-local: error: {error}", file=sys.stderr)
        return 1
    finally:
        if not running:  # it was started above
            subprocess.run([DOCKER, "down"], check=True)
    return 0


def check(parameters: dict[str, Any]) -> None:
    """InputError for a parameter that the pipeline does not have, or that no run could take."""
    from skelift.kubeflow.parameters import check_parameters, read_spec

    check_parameters(read_spec(COMPILED), parameters)


def release(s3: Store) -> None:
    """The whole pipeline ends with an archive."""
    log = run_pipeline(s3, "release", TINY)
    archives = [name for name in s3.names("release/champion/archive") if name.endswith(".mar")]
    if log.failed or len(archives) != 1:
        raise Unexpected(f"the pipeline ended without one archive ({archives}); see {log.file}")
    trials = set(re.findall(r"sweep/trial-(\d+)\.json", log.text))
    if len(trials) != TINY["sweep_trials"]:
        raise Unexpected(f"{len(trials)} trials left results, {TINY['sweep_trials']} are wanted")
    for name in archives:
        keep("release", Path(name).name, s3.read(name))
    keep("release", "report.html", s3.read(_last(s3, "release", "report")))
    keep("release", "scores.json", s3.read(_last(s3, "release", "scores")))
    print(f"pipeline-local: release: {archives[0]} ({len(s3.read(archives[0]))} bytes)")


def killed(s3: Store) -> None:
    """A training that is killed once ends with the scores of one that is not."""
    if not s3.names("release/champion/model"):
        release(s3)
    log = run_pipeline(s3, "killed", TINY, meanwhile=lambda done: kill_training(s3, done))
    ends = re.findall(r"Task 'train' finished with status \W*([A-Z]+)", log.plain)
    if log.failed or ends != ["FAILURE", "SUCCESS"]:
        raise Unexpected(f"the training was not killed, or did not recover; see {log.file}")
    before = (OUTPUTS / "killed" / STATS).read_bytes()
    if s3.read(_kept(s3, STATS)[-1]).splitlines()[0] != before.splitlines()[0]:
        raise Unexpected("the training started over instead of going on from its checkpoint")
    scores = [json.loads(s3.read(_last(s3, run, "scores"))) for run in ("release", "killed")]
    if scores[0] != scores[1]:
        raise Unexpected("the scores differ from those of the training that was not killed")
    first = next(iter(scores[1]["rows"].values()))["overall"]
    print(f"pipeline-local: killed: the same scores, P-MPJPE {first['p_mpjpe_mm']!r} mm")


def invalid(s3: Store) -> None:
    """Damaged data stop the pipeline at validation, with the reason in the task's log."""
    if not s3.names("release/artifacts/prepare"):
        release(s3)
    source = _folder(s3.names("release/artifacts/prepare"), "data")
    damaged = ""
    for name in s3.names(source):
        content = s3.read(name)
        if "test/images" in name:
            damaged = Path(name).name
            content = content[:-1] + bytes([content[-1] ^ 255])
        target = f"damaged{name.removeprefix(source)}"
        s3.client().put_object(Bucket=BUCKET, Key=target, Body=content)
    log = run_pipeline(s3, "invalid", TINY | {"data_uri": f"s3://{BUCKET}/damaged"})
    reason = [line for line in log.text.splitlines() if "skelift validate: error" in line]
    if not log.failed or not reason or damaged not in reason[0]:
        raise Unexpected(f"validation did not stop at the damaged {damaged}; see {log.file}")
    if s3.names("invalid/artifacts/train"):
        raise Unexpected("the training ran on data that validation had refused")
    print(f"pipeline-local: invalid: stopped: {reason[0].strip()}")


def served(s3: Store) -> None:
    """The archive answers in the serve image, confined as on a cluster, and drains."""
    import docker

    if not s3.names("release/champion/archive"):
        release(s3)
    with _shared_folder() as folder, contextlib.closing(docker.from_env()) as client:
        (archive,) = s3.names("release/champion/archive")
        (folder / Path(archive).name).write_bytes(s3.read(archive))
        (folder / "person.png").write_bytes(_image(s3))
        command, probe = _deployment()
        container = client.containers.run(
            image=f"skelift:{__version__}-serve",
            command=command,
            detach=True,
            network_mode="none",
            read_only=True,
            tmpfs={"/tmp": "mode=1777"},  # noqa: S108 (a mount of the container)
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            volumes={str(folder): {"bind": "/archives", "mode": "ro"}},
        )
        try:
            _drained_after_a_prediction(container, probe)
        finally:
            keep("served", "log.txt", container.logs())
            container.remove(force=True)


# Light, so that it asks within the seconds between SIGTERM and the end.
ASK = """
import sys, urllib.request
image = open("/archives/person.png", "rb").read()
kind = {"Content-Type": "application/octet-stream"}
url = "http://127.0.0.1:8080/predictions/skelift"
request = urllib.request.Request(url, image, kind)
sys.stdout.buffer.write(urllib.request.urlopen(request, timeout=30).read())
"""


def _drained_after_a_prediction(container: Any, probe: list[str]) -> None:
    def ask() -> list[Any]:
        code, said = container.exec_run(["python", "-c", ASK])
        if code:
            raise Unexpected(f"the served model did not answer: {said.decode()}")
        return list(json.loads(said)["predictions"][0]["joints_3d_mm"])

    end = time.monotonic() + 180
    while container.exec_run(probe).exit_code:
        container.reload()
        if container.status != "running" or time.monotonic() > end:
            raise Unexpected(f"the served model is not ready: {container.logs().decode()}")
        time.sleep(1)
    joints = ask()
    with ThreadPoolExecutor(1) as other:
        under_way = other.submit(ask)
        container.kill("SIGTERM")
        if container.exec_run(probe).exit_code == 0:
            raise Unexpected("a server that is about to stop says that it is ready")
        if under_way.result() != joints:
            raise Unexpected("the server answered otherwise while it was about to stop")
    code = container.wait(timeout=120)["StatusCode"]
    if code or not container.logs().decode().rstrip().endswith("stopped"):
        raise Unexpected(f"the server did not stop well (exit code {code})")
    print(f"pipeline-local: served: {len(joints)} joints; stopped with exit code {code}")


CASES: dict[str, Callable[[Store], None]] = {
    "release": release,
    "killed": killed,
    "invalid": invalid,
    "served": served,
}


@dataclass(frozen=True)
class Log:
    """What a run printed, and whether it failed."""

    file: Path
    text: str
    failed: bool

    @property
    def plain(self) -> str:
        """The text without colours."""
        return re.sub(r"\x1b\[\d+m", "", self.text)


def run_pipeline(
    s3: Store,
    name: str,
    parameters: dict[str, Any],
    meanwhile: Callable[[threading.Event], None] | None = None,
) -> Log:
    """Run the compiled pipeline in a process of its own; its log goes to the screen and a file."""
    place = f"s3://{BUCKET}/{name}"
    places = {"checkpoints": f"{place}/checkpoints", "champion": f"{place}/champion"}
    environment = {**s3.environment, "SKELIFT_ARTIFACTS": f"{place}/artifacts"}
    parameters = {**parameters, **places}
    check(parameters)
    work = Path(mkdtemp(prefix="skelift-run-"))
    request = work / "request.json"
    # The keys are in it: nobody else may read them.
    request.touch(mode=0o600)
    request.write_text(json.dumps({"parameters": parameters, "environment": environment}))
    print(f"pipeline-local: {name}: {COMPILED.name} {json.dumps(parameters)}", flush=True)
    log = keep(name, "log.txt", b"")
    done = threading.Event()
    other = threading.Thread(target=meanwhile, args=(done,)) if meanwhile else None
    with subprocess.Popen(
        [sys.executable, __file__, "--run", str(request)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as child:
        if other:
            other.start()
        assert child.stdout
        with log.open("w") as file:
            for line in child.stdout:
                print(line, end="", flush=True)
                file.write(line)
    done.set()
    if other:
        other.join()
    shutil.rmtree(work, ignore_errors=True)
    return Log(log, log.read_text(), child.returncode != 0)


def run_here(request: Path) -> int:
    """Run the pipeline in this process by kfp.local."""
    from kfp import components, local
    from kfp.local import docker_task_handler

    sys.path.insert(0, str(ROOT))
    from pipelines.local import fix_kfp_local

    asked = json.loads(request.read_text())
    pipeline_root = request.parent / "kfp"
    pipeline_root.mkdir()
    # The image's user, which is not root, writes there what kfp reads.
    pipeline_root.chmod(0o777)
    user = {} if os.getuid() == 0 else {"user": f"{os.getuid()}:{os.getgid()}"}
    # One thread per process: of tensors this small a second one mostly waits, and waits busily.
    environment = {"OMP_NUM_THREADS": "1", **asked["environment"]}
    runner = local.DockerRunner(network_mode="host", environment=environment, **user)
    local.init(
        runner,
        pipeline_root=str(pipeline_root),
        enable_caching=True,
        cache_root=str(OUTPUTS / "cache" / asked["environment"]["AWS_ACCESS_KEY_ID"]),
    )
    docker_task_handler.run_docker_container = run_container
    fix_kfp_local()
    text = COMPILED.read_text().replace("-gpu\n", "-cpu\n")
    try:
        components.load_component_from_text(text)(**asked["parameters"])
    except RuntimeError as error:
        print(f"pipeline-local: the pipeline failed: {error}", flush=True)
        return 1
    return 0


def run_container(
    client: Any, image: str, command: list[str], volumes: dict[str, Any], **arguments: Any
) -> int:
    """Run a container and return its exit code.

    kfp's own lets Docker remove the container when it ends, and takes one that is gone before it
    has asked for the code as one that succeeded: a killed container would count as done.
    """
    container = client.containers.run(
        image=image, command=command, detach=True, volumes=volumes, **arguments
    )
    try:
        for line in container.logs(stream=True):
            print(line.decode(errors="replace"), end="", flush=True)
        code: int = container.wait()["StatusCode"]
        return code
    finally:
        container.remove(force=True)


def kill_training(s3: Store, done: threading.Event) -> None:
    """Kill the training's container once, when its first checkpoints are in the bucket."""
    import docker

    with contextlib.closing(docker.from_env()) as client:
        while not done.wait(0.2):
            if not _kept(s3, "last.safetensors"):
                continue
            try:
                stats = s3.read(_kept(s3, STATS)[-1])
            except s3.client().exceptions.NoSuchKey:
                continue  # a later state has taken its place
            if stats.count(b"\n") < 3:
                continue
            for container in client.containers.list():
                if "train" in container.attrs["Config"]["Cmd"]:
                    container.kill()
                    # Each line has the speed at that time: a second training would differ.
                    keep("killed", STATS, stats)
                    print(f"pipeline-local: killed container {container.short_id}", flush=True)
                    return


@contextmanager
def store() -> Iterator[Store]:
    """A SeaweedFS server on the loopback interface, with keys and a bucket of its own."""
    folder = Path(mkdtemp(prefix="skelift-s3-"))
    key, secret = secrets.token_hex(10), secrets.token_hex(20)
    identity = {
        "name": "owner",
        "credentials": [{"accessKey": key, "secretKey": secret}],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    ports = free_ports(4)
    command = [
        str(Path(sys.executable).parent / "weed"),
        *("server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"),
        *(f"-s3.port={ports[0]}", f"-s3.config={folder / 's3.json'}"),
        *(f"-master.port={ports[1]}", f"-volume.port={ports[2]}", f"-filer.port={ports[3]}"),
        *("-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=100"),
        *("-s3.port.iceberg=0", "-s3.port.lance=0"),
    ]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    s3 = Store(
        {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports[0]}",
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
    )
    try:
        make_bucket(s3, process, folder / "log")
        yield s3
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
        shutil.rmtree(folder, ignore_errors=True)


def make_bucket(s3: Store, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait for the server and make the bucket."""
    from botocore.exceptions import BotoCoreError, ClientError

    for _ in range(120):
        if process.poll() is not None:
            break
        try:
            if not any(b["Name"] == BUCKET for b in s3.client().list_buckets()["Buckets"]):
                s3.client().create_bucket(Bucket=BUCKET)
            s3.client().put_object(Bucket=BUCKET, Key="ready", Body=b"ready")
            return
        except (BotoCoreError, ClientError):
            time.sleep(0.5)
    raise Unexpected(f"the S3 server did not come up: {log.read_text()[-500:]}")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, nor 10000 above them."""
    free = []
    for port in PORTS:
        with socket.socket() as one, socket.socket() as grpc, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            grpc.bind(("127.0.0.1", port + 10000))
            free.append(port)
        if len(free) == count:
            return free
    raise Unexpected(f"fewer than {count} free ports from {PORTS.start} to {PORTS.stop}")


def docker_up() -> str | None:
    """Address of a Docker daemon, started if need be; None where there is none."""
    started = subprocess.run([DOCKER, "up"], stdout=subprocess.PIPE, text=True, check=False)
    if started.returncode == NO_DOCKER:
        return None
    started.check_returncode()
    return started.stdout.strip()


def keep(case: str, name: str, content: bytes) -> Path:
    """Write a file that people may want to look at."""
    file = OUTPUTS / case / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def _kept(s3: Store, name: str) -> list[str]:
    """Key of a file that the training which is killed keeps in the bucket, if it is there yet."""
    form = re.compile(rf"/final/[^/]+/{re.escape(name)}$")  # in between: the pushed state's digest
    return [n for n in s3.names("killed/checkpoints") if form.search(n)]


def _last(s3: Store, run: str, artifact: str) -> str:
    """Key of the last ``artifact`` that the run's evaluation has put up."""
    return [n for n in s3.names(f"{run}/artifacts/evaluate") if n.endswith(f"/{artifact}")][-1]


def _deployment() -> tuple[list[str], list[str]]:
    """Command of the serving container and of its readiness probe, as on a cluster."""
    text = (ROOT / "k8s/components/serving/deployment.yaml").read_text()
    (deployment,) = [m for m in yaml.safe_load_all(text) if m["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return container["command"] + container["args"], container["readinessProbe"]["exec"]["command"]


def _image(s3: Store) -> bytes:
    """A person of the test split as PNG."""
    (name, *_) = [n for n in s3.names("release/artifacts/prepare") if "test/images" in n]
    out = io.BytesIO()
    Image.fromarray(np.load(io.BytesIO(s3.read(name)))[0]).save(out, "png")
    return out.getvalue()


@contextmanager
def _shared_folder() -> Iterator[Path]:
    """A folder that a container's user may read."""
    with TemporaryDirectory(prefix="skelift-archives-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _folder(names: list[str], artifact: str) -> str:
    """Prefix of an artifact that is a folder."""
    head, _, _ = names[-1].partition(f"/{artifact}/")
    return f"{head}/{artifact}"


if __name__ == "__main__":
    sys.exit(main())
