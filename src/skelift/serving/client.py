"""Requests to a server, repeated where a worker died or the queue is full."""

import base64
import json
import random
import time
from collections.abc import Sequence
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from skelift.errors import InputError, RequestError, RunError
from skelift.inference.cropping import Query
from skelift.serving.settings import DEFAULT_NAME

RETRIED = (502, 503, 504, 507)  # the queue is full, a worker died, a proxy found no server
# Seconds between tries: doubled each time, then multiplied by a random 0.5 to 1.
FIRST_WAIT, LONGEST_WAIT = 0.1, 3.0


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
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"{url}: not an HTTP URL; try http://127.0.0.1:8080")
        path = parts.path.rstrip("/") or f"/predictions/{DEFAULT_NAME}"
        self.url = parts._replace(path=path).geturl()
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._patience = patience
        self._timeout = timeout

    def predict(self, queries: Sequence[Query]) -> dict[str, Any]:
        """The answer, with one entry of ``predictions`` per query, in their order.

        Raises:
            RequestError: the server refuses the request.
            RunError: no answer within ``patience``.
        """
        body = json.dumps({"instances": [_instance(query) for query in queries]}).encode()
        end = time.monotonic() + self._patience
        wait = FIRST_WAIT
        while True:
            try:
                return dict(json.loads(self._post(body)))
            except HTTPError as error:
                with error:
                    answer = error.read()
                if error.code not in RETRIED and not _worker_died(answer):
                    raise _refused(error.code, answer) from None
                fault = f"answers {error.code}"
            except (URLError, HTTPException, OSError) as error:
                fault = f"cannot be reached ({getattr(error, 'reason', None) or error!r})"
            pause = wait * random.uniform(0.5, 1)  # noqa: S311 no secret
            if time.monotonic() + pause > end:
                raise RunError(f"{self.url}: {fault}, for {self._patience:.0f} s")
            time.sleep(pause)
            wait = min(2 * wait, LONGEST_WAIT)

    def _post(self, body: bytes) -> bytes:
        request = Request(self.url, data=body, headers=self._headers)  # noqa: S310 checked in __init__
        with urlopen(request, timeout=self._timeout) as answer:  # noqa: S310
            return bytes(answer.read())


def _instance(query: Query) -> dict[str, Any]:
    fields = {name: value for name, value in vars(query).items() if value is not None}
    images = {
        name: base64.b64encode(value).decode()
        for name, value in fields.items()
        if isinstance(value, bytes)
    }
    return fields | images


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
