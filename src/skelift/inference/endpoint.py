"""A model behind an endpoint, asked over HTTP; busy and restarting servers are asked again."""

import base64
import json
import os
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import cv2
import numpy as np
from numpy.typing import NDArray

from skelift.errors import InputError, RunError
from skelift.inference.engines import Answer
from skelift.inference.frames import Frame

PATH = "/predictions/skelift"  # where `skelift serve` answers
TOKEN = "SKELIFT_TOKEN"  # noqa: S105  # environment variable with a bearer token, never an option
AT_ONCE = 8  # requests under way, which the server batches
TRIES = 7
FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0  # seconds; a killed worker is back within 4
TIMEOUT = 60.0  # seconds
BUSY = (503, 507)  # the queue is full; the worker died under the request
SENT_AS_THEY_ARE = (".jpg", ".jpeg", ".png", ".webp")


class Endpoint:
    """An engine that asks a server.

    Args:
        url: the server's address, or the full address of its predictions. A bearer token stands
            in the environment variable SKELIFT_TOKEN.

    Raises:
        InputError: that is no HTTP address.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise InputError(f"--endpoint {url}: no address; give one like http://127.0.0.1:8080")
        self.url = url if parts.path.strip("/") else f"{url.rstrip('/')}{PATH}"

    def __call__(self, frames: Sequence[Frame], focal: float | None = None) -> Answer:
        """See ``Engine``: a request a frame, several at once.

        Raises:
            InputError: the server refuses a frame.
            RunError: it does not answer, or not as skelift does, however often it is asked.
        """
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(lambda frame: self._ask(frame, focal), frames))
        return answers[0] | {"predictions": [a["predictions"][0] for a in answers]}

    def _ask(self, frame: Frame, focal: float | None) -> Answer:
        question: dict[str, Any] = {"image": _base64(_encoded(frame))}
        if frame.mask is not None:
            question["mask"] = _base64(_png(frame.mask))
        if focal:
            question["focal_px"] = focal
        status, body = self._post(json.dumps(question).encode())
        try:
            answer = json.loads(body)
            if status == 200 and len(answer["predictions"]) == 1:
                return dict(answer)
            message = str(answer["error"]["message"])
        except (ValueError, KeyError, TypeError, IndexError):
            raise RunError(
                f"{self.url}: answers {status}, and not as skelift does; check the address"
            ) from None
        if 400 <= status < 500:
            raise InputError(f"{frame.label}: refused by {self.url} ({status}): {message}")
        raise RunError(f"{self.url}: fails with {status} ({message}); see the server's log")

    def _post(self, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer, after as many tries as it takes."""
        headers = {"Content-Type": "application/json"}
        if os.environ.get(TOKEN):
            headers["Authorization"] = f"Bearer {os.environ[TOKEN]}"
        fault = ""
        for number in range(TRIES):
            if number:
                wait = min(FIRST_WAIT * 2 ** (number - 1), LONGEST_WAIT)
                time.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311  # spreads clients out
            try:
                request = Request(self.url, body, headers)  # noqa: S310  # checked in __init__
                with urlopen(request, timeout=TIMEOUT) as reply:  # noqa: S310
                    return reply.status, reply.read()
            except HTTPError as error:
                if error.code not in BUSY:
                    return error.code, error.read()
                fault = f"status {error.code}"
            except (OSError, HTTPException) as error:
                fault = str(getattr(error, "reason", "")) or str(error) or type(error).__name__
        raise RunError(f"{self.url}: no answer after {TRIES} tries ({fault}); is the server ready?")


def _encoded(frame: Frame) -> bytes:
    """The picture without loss; what a mask hides is blacked out, which packs much better."""
    if frame.mask is not None:
        return _png(frame.picture[..., ::-1] * (frame.mask[..., None] > 0))
    if frame.index is None and frame.file.suffix.lower() in SENT_AS_THEY_ARE:
        return frame.file.read_bytes()
    return _png(frame.picture[..., ::-1])


def _png(picture: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
