"""Requests to a server, repeated where a worker died or the queue is full."""

import base64
import json
import random
import time
from collections.abc import Mapping, Sequence
from http.client import (
    BadStatusLine,
    HTTPException,
    IncompleteRead,
    LineTooLong,
    RemoteDisconnected,
)
from typing import Any, get_args
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request

import numpy as np

from skelift.errors import InputError, RequestError, RunError
from skelift.http import Unexpected, check_url, opener, read_object
from skelift.inference.cropping import Facing, Query
from skelift.serving.settings import DEFAULT_NAME
from skelift.skeleton import Skeleton

RETRIED = (502, 503, 504, 507)  # the queue is full, a worker died, a proxy found no server
# Seconds between tries: doubled each time, then multiplied by a random 0.5 to 1.
FIRST_WAIT, LONGEST_WAIT = 0.1, 3.0
MOST_CUT = 3  # answers in a row that a connection may cut short


class Client:
    """An endpoint of ``skelift serve``.

    Args:
        url: of the server (``http://127.0.0.1:8080``), or whole, with a path.
        token: of the inference API, where the server wants one.
        patience: seconds after which it gives up asking again.
        timeout: seconds that one answer may take.

    Raises:
        InputError: that is not an HTTP URL.
    """

    def __init__(
        self, url: str, token: str = "", patience: float = 60.0, timeout: float = 40.0
    ) -> None:
        parts = urlsplit(check_url(url, url))
        path = parts.path.rstrip("/") or f"/predictions/{DEFAULT_NAME}"
        self.url = parts._replace(path=path).geturl()
        self._opener = opener(self.url)
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._patience = patience
        self._timeout = timeout

    def predict(self, queries: Sequence[Query]) -> dict[str, Any]:
        """The answer, with one entry of ``predictions`` per query, in their order.

        Raises:
            RequestError: the server refuses the request.
            InputError: what answers is no endpoint of skelift, or redirects to another origin.
            RunError: no answer within ``patience``.
        """
        body = json.dumps({"instances": [_instance(query) for query in queries]}).encode()
        end = time.monotonic() + self._patience
        wait, cut = FIRST_WAIT, 0
        while True:
            try:
                return self._checked(self._post(body), len(queries))
            except HTTPError as error:
                answer = _body(error)
                if error.code not in RETRIED and not _worker_died(answer):
                    raise _refused(error.code, answer) from None
                fault = f"answers {error.code}"
            except IncompleteRead:
                fault, cut = "cuts its answers short", cut + 1
                if cut > MOST_CUT:
                    raise Unexpected(f"{self.url}: {fault}; check the address") from None
            except RemoteDisconnected:  # a BadStatusLine too, but of a server that restarts
                fault = "closes the connection"
            except (BadStatusLine, LineTooLong):
                raise Unexpected(f"{self.url}: does not speak HTTP; check the address") from None
            except (URLError, HTTPException, OSError) as error:
                fault = f"cannot be reached ({getattr(error, 'reason', None) or error!r})"
            pause = wait * random.uniform(0.5, 1)  # noqa: S311 no secret
            if time.monotonic() + pause > end:
                raise RunError(f"{self.url}: {fault}, for {self._patience:.0f} s")
            time.sleep(pause)
            wait = min(2 * wait, LONGEST_WAIT)

    def _post(self, body: bytes) -> dict[str, Any]:
        request = Request(self.url, data=body, headers=self._headers)  # noqa: S310 checked in __init__
        with self._opener.open(request, timeout=self._timeout) as answer:
            return read_object(self.url, answer.read(), answer.headers.get("Content-Type"))

    def _checked(self, answer: dict[str, Any], count: int) -> dict[str, Any]:
        """The answer, if it is of the form that ``Predictor.answer`` gives."""
        try:
            joints = len(Skeleton.from_mapping(answer["skeleton"]))
            fit = len(answer["joint_names"]) == joints and len(answer["predictions"]) == count
            fit &= all(_is_pose(entry, joints) for entry in answer["predictions"])
        except (InputError, KeyError, TypeError, ValueError):
            fit = False
        if not fit:
            raise Unexpected(f"{self.url}: does not answer as skelift does; check the address")
        return answer


def _is_pose(entry: Mapping[str, Any], joints: int) -> bool:
    """Whether an entry of ``predictions`` holds finite numbers of so many joints."""
    crop, focal = entry["crop"], entry["focal_px"]
    shapes: dict[tuple[int, ...], Any] = {
        (joints, 3): entry["joints_3d_mm"],
        (joints, 2): entry["joints_2d_px"],
        (2,): entry["image_size"],
        (4,): [crop["x"], crop["y"], crop["side"], focal["value"]],
    }
    named = all(isinstance(by, str) for by in (crop["from"], focal["from"], entry["mask"]))
    facing = entry.get("facing")  # a server of an older version does not know it
    if facing is not None:
        shapes[()] = facing["front_log_odds"]
        named &= facing["value"] in get_args(Facing) and isinstance(facing["from"], str)
    arrays = {shape: np.asarray(numbers, dtype=float) for shape, numbers in shapes.items()}
    fit = all(array.shape == shape for shape, array in arrays.items())
    return fit and named and all(np.isfinite(array).all() for array in arrays.values())


def _instance(query: Query) -> dict[str, Any]:
    fields = {name: value for name, value in vars(query).items() if value is not None}
    images = {
        name: base64.b64encode(value).decode()
        for name, value in fields.items()
        if isinstance(value, bytes)
    }
    return fields | images


def _body(error: HTTPError) -> bytes:
    """What came with a status; nothing, if that was cut short."""
    try:
        with error:
            return bytes(error.read())
    except (HTTPException, OSError):
        return b""


def _worker_died(answer: bytes) -> bool:
    """Whether TorchServe itself, not the model, says that it failed: it does so with 500."""
    try:
        return bool(json.loads(answer)["type"] == "InternalServerException")
    except (ValueError, KeyError, TypeError):
        return False


def _refused(status: int, answer: bytes) -> RequestError:
    try:
        fault = json.loads(answer)["error"]
        return RequestError(status, str(fault["type"]), str(fault["message"]))
    except (ValueError, KeyError, TypeError):
        return RequestError(status, "refused", f"the endpoint answers {status}")
