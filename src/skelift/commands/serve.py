"""Answer images over HTTP, with TorchServe.

docs/serving.md describes requests, answers, tokens and updates.

Examples:
  skelift serve --sample person.jpg
  skelift serve models/quickstart/model --port 9000
"""

import signal
import sys
import tempfile
import threading
from argparse import ArgumentParser, BooleanOptionalAction
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from skelift.commands.options import add_server
from skelift.errors import InputError, RequestError, RunError
from skelift.numbers import non_negative
from skelift.weights import SHIPPED, model_folder

if TYPE_CHECKING:
    from skelift.serving.probe import Place

_STEP = 0.5


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options that ``run`` takes."""
    parser.add_argument(
        "model",
        nargs="?",
        type=model_folder,
        metavar="MODEL",
        help="a .mar, a model folder, or a model that ships with skelift: person (the default) or "
        "mouse",
    )
    parser.add_argument("--host", default="127.0.0.1", help="default: this machine only")
    parser.add_argument(
        "--tokens",
        action=BooleanOptionalAction,
        help="whether requests need a bearer token; required for any --host but loopback",
    )
    parser.add_argument("--updates", action="store_true", help="allow `skelift rollout`")
    parser.add_argument(
        "--grace",
        type=non_negative,
        default=0.0,
        metavar="S",
        help="seconds between being not ready and the end, for a load balancer to notice",
    )
    parser.add_argument(
        "--sample",
        type=Path,
        metavar="IMAGE",
        help="once ready, ask for its pose and draw it beside the image, as NAME.pose.png",
    )
    add_server(parser)


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
    """Serve until SIGTERM or Ctrl-C; then answer the requests under way, and stop.

    Raises:
        InputError: no model, a broken one, no Java, or the port or the state's folder is taken.
        RunError: the model was never ready, or TorchServe ended.
    """
    from skelift.files import check_file
    from skelift.serving.server import check_host, curl_line, serving
    from skelift.serving.settings import ServerSettings

    stop = threading.Event()
    if sample and not sample.is_file():
        raise InputError(f"{sample}: not found; name an image of a body after --sample")
    if sample:
        check_file(_drawing_of(sample))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    settings = ServerSettings(host, port, check_host(host, tokens), updates=updates)
    with ExitStack() as stack:
        archive = model or SHIPPED
        if archive.suffix != ".mar":
            from skelift.models.io import load_card  # loads PyTorch
            from skelift.serving.archive import package

            load_card(archive)
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


def _draw_answer(place: "Place", image: Path) -> Path:
    """Ask for the pose of an image, and draw it to ``NAME.pose.png`` beside the image."""
    from skelift.data.images import read_image
    from skelift.inference.cropping import Query
    from skelift.inference.drawings import draw_frame, write_png
    from skelift.inference.frames import Frame
    from skelift.serving.client import Client
    from skelift.serving.probe import token

    client = Client(place.predictions, token(place, "inference") if place.tokens else "")
    try:
        answer = client.predict([Query(image.read_bytes())])
    except RequestError as error:
        raise InputError(f"{image}: {error}") from None
    drawn = _drawing_of(image)
    frame = Frame(image, read_image(image))
    write_png(drawn, draw_frame(frame, answer["predictions"][0], answer, fixed=False))
    return drawn


def _drawing_of(image: Path) -> Path:
    return image.with_suffix(".pose.png")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
