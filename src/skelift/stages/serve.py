"""Verb: a model behind an settings, until it is told to stop."""

import signal
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

from skelift.errors import InputError, RequestError, RunError
from skelift.inference.cropping import Query
from skelift.serving.archive import package
from skelift.serving.client import Client
from skelift.serving.probe import Place, token
from skelift.serving.server import check_host, curl_line, serving
from skelift.serving.settings import ServerSettings
from skelift.weights import SHIPPED

_STEP = 0.5


def run(
    model: Path | None,
    host: str,
    port: int,
    tokens: bool | None,
    updates: bool,
    state: Path | None,
    grace: float,
    sample: Path | None = None,
) -> str:
    """Serve until SIGTERM or Ctrl-C; then answer what is under way, and stop.

    Args:
        model: a .mar, or a model folder that is packaged first; None takes the one that ships.
        host: address to listen on.
        port: of inference; the four after it are used too.
        tokens: whether requests need a token; None: no, on loopback.
        updates: whether ``skelift rollout`` may bring other versions.
        state: folder for settings and tokens.
        grace: seconds between being not ready and the end, for a load balancer to notice.
        sample: an image to ask for once it is ready; the answer is drawn beside it.

    Raises:
        InputError: no model, no Java, or the port is taken.
        RunError: the model was never ready, or TorchServe ended.
    """
    stop = threading.Event()
    if sample and not sample.is_file():
        raise InputError(f"{sample}: not found; name an image of a body after --sample")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    settings = ServerSettings(host, port, check_host(host, tokens), updates=updates)
    with ExitStack() as stack:
        archive = model or SHIPPED
        if archive.suffix != ".mar":
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            _say(f"packaging {archive}")
            archive = package(archive, Path(folder))
        server = stack.enter_context(serving(archive, settings, state))
        _say("starting TorchServe")
        if not server.wait_ready(stop=stop):
            return "stopped before it was ready"
        _say(f"READY: {server.place.predictions}, metrics at {settings.metrics}")
        if sample:
            _say(f"drawn: {_draw_answer(server.place, sample)}")
        _say(f"try:   {curl_line(server.place, str(sample or 'person.jpg'))}")
        while not stop.wait(_STEP):
            if server.process.poll() is not None:
                raise RunError("TorchServe ended by itself; its log above says why")
        _say("draining")
        drained = server.drain(grace)
        server.stop()
    return "stopped" if drained else "stopped, with requests unanswered"


def _draw_answer(place: Place, image: Path) -> Path:
    """Ask for the pose of an image, and draw it to ``NAME.pose.png`` beside the image."""
    from skelift.data.images import read_image
    from skelift.inference.drawings import draw_frame, write_png
    from skelift.inference.frames import Frame

    client = Client(place.predictions, token(place, "inference") if place.tokens else "")
    try:
        answer = client.predict([Query(image.read_bytes())])
    except RequestError as error:
        raise InputError(f"{image}: {error}") from None
    drawn = image.with_suffix(".pose.png")
    frame = Frame(image, read_image(image))
    write_png(drawn, draw_frame(frame, answer["predictions"][0], answer, fixed=False))
    return drawn


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
