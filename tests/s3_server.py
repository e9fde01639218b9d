"""A real S3 server (SeaweedFS) on the loopback interface, for tests.

``s3`` is the fixture: one server a session, and the environment that reaches it. A test that kills
its server takes one of its own with ``running_server``.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

KEY = "test-key-of-the-owner"
SECRET = "do-not-print-this-secret-9f31c"  # noqa: S105 (opens a server that lives for a test)
BUCKET = "skelift-test"
# Base ports; gRPC listens 10000 above each, and all of them stay below the ephemeral range.
FIRST_PORT, LAST_PORT = 12000, 12990


class S3Server:
    """A SeaweedFS process with its data in ``folder``; ``kill`` and ``start`` keep the data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self._ports = _free_ports(4)
        self._process: subprocess.Popen[bytes] | None = None
        identity = {
            "name": "owner",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "List", "Tagging", "Write"],
        }
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._ports[0]}"

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs in its environment."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "SKELIFT_S3_BUCKET": BUCKET,
        }

    def client(self) -> Any:
        """A plain boto3 client, independent of skelift's."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
        )

    def start(self) -> None:
        """Start, and wait until a bucket can be listed."""
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        s3, master, volume, filer = self._ports
        command = [
            str(Path(sys.executable).parent / "weed"),
            *("server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"),
            *(f"-s3.port={s3}", f"-s3.config={self.folder / 's3.json'}"),
            *(f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}"),
            *("-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=100"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0"),
        ]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(  # own group: it ends with all it started
                command, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                client = self.client()
                there = client.exceptions
                with contextlib.suppress(there.BucketAlreadyOwnedByYou, there.BucketAlreadyExists):
                    client.create_bucket(Bucket=BUCKET)
                client.put_object(Bucket=BUCKET, Key="ready", Body=b"ready")
                return
            except Exception as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.kill()
                    log_end = (self.folder / "server.log").read_text()[-2000:]
                    raise RuntimeError(f"no S3 server: {error}\n{log_end}") from None
                time.sleep(0.2)

    def kill(self) -> None:
        """End the process at once, as a crash would."""
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@contextlib.contextmanager
def running_server(folder: Path) -> Iterator[S3Server]:
    """A server that ends, with its data, when the block does."""
    server = S3Server(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One server for the session."""
    with running_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The session's server, with the environment that reaches it."""
    use(s3_server, monkeypatch)
    return s3_server


def use(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process's environment reach ``server`` and nothing else."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, nor 10000 above them (where gRPC will)."""
    spread = range(FIRST_PORT + os.getpid() % 90 * 10, LAST_PORT)
    free = [p for p in (*spread, *range(FIRST_PORT, LAST_PORT)) if _free(p) and _free(p + 10000)]
    return free[:count]


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
