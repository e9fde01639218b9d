"""What is known of a running server from beside it: ready, busy, its tokens. Light to import."""

import base64
import json
import os
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http.client import HTTPException
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar
from urllib.error import HTTPError, URLError
from urllib.request import Request

from PIL import Image

from skelift.errors import InputError, RunError
from skelift.http import Unexpected, opener

_SECONDS = 10.0
# What a request to a server raises that is gone, starting, or something else.
Unreachable = (URLError, OSError, HTTPException, Unexpected, ValueError, LookupError, TypeError)


@dataclass(frozen=True)
class Place:
    """Where a server listens and keeps its state."""

    FILE: ClassVar[str] = "server.json"

    folder: Path  # its state
    inference: str  # URL
    management: str  # URL
    tokens: bool  # whether requests need one
    name: str  # of its model

    @property
    def predictions(self) -> str:
        """URL that images are posted to."""
        return f"{self.inference}/predictions/{self.name}"

    @property
    def draining(self) -> Path:
        """A file that exists once the server is about to stop."""
        return self.folder / "draining"

    @property
    def busy(self) -> Path:
        """A file that workers hold a lock on while they work."""
        return self.folder / "busy"

    @property
    def failed(self) -> Path:
        """A file that says why a worker could not start, once that has happened."""
        return self.folder / "failed"

    @property
    def store(self) -> Path:
        """The folder of the archives that the server may load."""
        return self.folder / "model-store"

    def write(self) -> None:
        """Write what ``read_place`` reads."""
        self.busy.touch()
        described = asdict(self) | {"folder": str(self.folder)}
        (self.folder / self.FILE).write_text(json.dumps(described, indent=2))


def read_place(folder: Path) -> Place:
    """The server that keeps its state in ``folder``; InputError when there is none."""
    try:
        described = json.loads((folder / Place.FILE).read_text())
        return Place(**described | {"folder": folder})
    except (OSError, ValueError, TypeError):
        raise InputError(f"{folder}: no server found; start one with `skelift serve`") from None


def failure(place: Place) -> InputError | RunError | None:
    """Why a worker could not start, if that has happened: the model's fault, or another."""
    try:
        why = place.failed.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    kind, _, message = why.partition(": ")
    if kind == f"{InputError.__module__}.{InputError.__qualname__}":
        # Without the folder that the archive was unpacked to.
        return InputError(re.sub(r"/.*/models/[0-9a-f]+/", "", message))
    return RunError(f"its workers cannot start: {why}")


def is_ready(place: Place, version: str = "") -> bool:
    """Whether a version of the model, or the default one, is READY and answers a canary.

    A server that is about to stop is not ready.

    Raises:
        RunError: the model itself refuses the canary, so it will never be ready.
    """
    if place.draining.exists():
        return False
    try:
        states = [worker["status"] for worker in describe(place, version)["workers"]]
        return "READY" in states and _answers_canary(place, version)
    except Unreachable:
        return False


def holds(condition: Callable[[], bool], seconds: float, times: int = 1, step: float = 0.1) -> bool:
    """Wait until a condition holds so many times in a row; False when the seconds are over."""
    end = time.monotonic() + seconds
    held = 0
    while held < times and time.monotonic() < end:
        held = held + 1 if condition() else 0
        time.sleep(step)
    return held >= times


def describe(place: Place, version: str = "") -> dict[str, Any]:
    """The management API's account of a version of the model, or of the default one."""
    url = f"{place.management}/models/{place.name}" + (f"/{version}" if version else "")
    return dict(json.loads(ask(place, url, kind="management"))[0])


def pending(place: Place) -> int:
    """Requests that wait for a worker, of all versions; 0 when the server is gone."""
    try:
        url = f"{place.management}/models/{place.name}/all"
        versions = json.loads(ask(place, url, kind="management"))
        return sum(int(each["jobQueueStatus"]["pendingRequests"]) for each in versions)
    except Unreachable:
        return 0


def token(place: Place, kind: str) -> str:
    """The current ``inference`` or ``management`` token, from the server's key file."""
    keys = json.loads((place.folder / "key_file.json").read_text())
    return str(keys[kind]["key"])


def ask(
    place: Place,
    url: str,
    kind: str = "inference",
    *,
    method: str = "GET",
    body: bytes | None = None,
    seconds: float = _SECONDS,
) -> bytes:
    """One HTTP request with the token that it needs; raises ``Unreachable``."""
    headers = {"Content-Type": "application/json"} if body is not None else {}
    if place.tokens:
        headers["Authorization"] = f"Bearer {token(place, kind)}"
    request = Request(url, data=body, headers=headers, method=method)  # noqa: S310 our own server
    with opener(url).open(request, timeout=seconds) as answer:
        return bytes(answer.read())


def canary() -> bytes:
    """A small grey PNG."""
    stream = BytesIO()
    Image.new("RGB", (16, 16), (96, 96, 96)).save(stream, "PNG")
    return stream.getvalue()


def _answers_canary(place: Place, version: str) -> bool:
    body = json.dumps({"instances": [base64.b64encode(canary()).decode()]}).encode()
    url = place.predictions + (f"/{version}" if version else "")
    try:
        answer = ask(place, url, method="POST", body=body)
    except HTTPError as error:
        with error:
            # A worker that died, or a full queue, has no such body.
            message = json.loads(error.read())["error"]["message"]
        raise RunError(f"{url}: refuses a test image: {message}") from None
    return len(json.loads(answer)["predictions"]) == 1


def default_state(port: int) -> Path:
    """The folder in which ``serve`` keeps its state, and others on this machine find it."""
    return Path(tempfile.gettempdir()) / f"skelift-serve-{os.getuid()}-{port}"
