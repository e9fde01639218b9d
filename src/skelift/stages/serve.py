"""Verb: a model behind an endpoint, until it is told to stop."""

import signal
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

from skelift.errors import RunError
from skelift.serving.archive import package
from skelift.serving.server import check_host, curl_line, serving
from skelift.serving.settings import Endpoint

_STEP = 0.5


def run(
    model: Path,
    host: str,
    port: int,
    tokens: bool | None,
    updates: bool,
    state: Path | None,
    grace: float,
) -> str:
    """Serve until SIGTERM or Ctrl-C; then answer what is under way, and stop.

    Args:
        model: a .mar, or a model folder that is packaged first.
        host: address to listen on.
        port: of inference; the four after it are used too.
        tokens: whether requests need a token; None: no, on loopback.
        updates: whether ``skelift rollout`` may bring other versions.
        state: folder for settings and tokens.
        grace: seconds between being not ready and the end, for a load balancer to notice.

    Raises:
        InputError: no model, no Java, or the port is taken.
        RunError: the model was never ready, or TorchServe ended.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    endpoint = Endpoint(host, port, check_host(host, tokens), updates=updates)
    with ExitStack() as stack:
        archive = model
        if model.suffix != ".mar":
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            _say(f"packaging {model}")
            archive = package(model, Path(folder))
        server = stack.enter_context(serving(archive, endpoint, state))
        _say("starting TorchServe")
        if not server.wait_ready(stop=stop):
            return "stopped before it was ready"
        _say(f"READY: {server.place.predictions}, metrics at {endpoint.metrics}")
        _say(f"try:   {curl_line(server.place)}")
        while not stop.wait(_STEP):
            if server.process.poll() is not None:
                raise RunError("TorchServe ended by itself; its log above says why")
        _say("draining")
        drained = server.drain(grace)
        server.stop()
    return "stopped" if drained else "stopped, with requests unanswered"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
