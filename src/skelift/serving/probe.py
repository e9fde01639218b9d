"""What is known of a running server from beside it: ready, busy, its tokens. Light to import."""

import base64
import json
import os
import struct
import tempfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from skelift.errors import InputError

_SECONDS = 10.0
Unreachable = (URLError, OSError, ValueError)


@dataclass(frozen=True)
class Place:
    """Where a server listens and keeps its state.

    Attributes:
        folder: its state.
        inference: URL.
        management: URL.
        tokens: whether requests need one.
        name: of its model.
    """

    FILE: ClassVar[str] = "server.json"

    folder: Path
    inference: str
    management: str
    tokens: bool
    name: str

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


def is_ready(place: Place) -> bool:
    """Whether the model is READY and answers a canary, and the server is not about to stop."""
    if place.draining.exists():
        return False
    try:
        states = [worker["status"] for worker in describe(place)["workers"]]
        return "READY" in states and answers_canary(place)
    except (*Unreachable, KeyError, IndexError):
        return False


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
    except (*Unreachable, KeyError):
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
    content_type: str = "application/octet-stream",
    seconds: float = _SECONDS,
) -> bytes:
    """One HTTP request with the token that it needs; raises urllib's errors."""
    headers = {"Content-Type": content_type} if body is not None else {}
    if place.tokens:
        headers["Authorization"] = f"Bearer {token(place, kind)}"
    request = Request(url, data=body, headers=headers, method=method)  # noqa: S310 our own server
    with urlopen(request, timeout=seconds) as answer:  # noqa: S310
        return bytes(answer.read())


def canary() -> bytes:
    """A small grey PNG, made of nothing but the standard library."""
    side = 16
    rows = b"".join(b"\0" + bytes(range(64, 64 + side)) for _ in range(side))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def answers_canary(place: Place, version: str = "") -> bool:
    """Whether a version of the model, or the default one, gives a small image a pose."""
    body = json.dumps({"instances": [base64.b64encode(canary()).decode()]}).encode()
    url = place.predictions + (f"/{version}" if version else "")
    try:
        answer = ask(place, url, method="POST", body=body, content_type="application/json")
    except HTTPError:
        return False
    return len(json.loads(answer)["predictions"]) == 1


def default_state(port: int) -> Path:
    """The folder in which ``serve`` keeps its state, and others on this machine find it."""
    return Path(tempfile.gettempdir()) / f"skelift-serve-{os.getuid()}-{port}"
