"""A model behind an endpoint as an engine: what a frame becomes on its way there and back."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from numpy.typing import NDArray

from skelift.errors import InputError, RequestError, RunError
from skelift.inference.cropping import Query
from skelift.inference.engines import Answer
from skelift.inference.frames import Frame
from skelift.serving.client import Client

TOKEN = "SKELIFT_TOKEN"  # noqa: S105  # environment variable with a bearer token, never an option
AT_ONCE = 8  # requests under way, which the server batches
PATIENCE = 60.0  # seconds of asking a busy server again
SENT_AS_THEY_ARE = (".jpg", ".jpeg", ".png", ".webp")


class Endpoint:
    """An engine that asks a server; see ``Client`` for what is asked again.

    Args:
        url: the server's address, or the full address of its predictions. A bearer token stands
            in the environment variable SKELIFT_TOKEN.

    Raises:
        InputError: that is no HTTP address.
    """

    def __init__(self, url: str) -> None:
        self._client = Client(url, os.environ.get(TOKEN, ""), PATIENCE)

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
        mask = _png(frame.mask) if frame.mask is not None else None
        try:
            answer = self._client.predict([Query(_encoded(frame), mask, focal_px=focal)])
            if len(answer["predictions"]) == 1:
                return answer
        except RequestError as error:
            raise InputError(
                f"{frame.label}: refused by {self._client.url} ({error.status}): {error}"
            ) from None
        except (ValueError, KeyError, TypeError):
            pass  # said below
        raise RunError(f"{self._client.url}: does not answer as skelift does; check the address")


def _encoded(frame: Frame) -> bytes:
    """The image without loss; what a mask hides is blacked out, which packs much better."""
    if frame.mask is not None:
        return _png(frame.image[..., ::-1] * (frame.mask[..., None] > 0))
    if frame.index is None and frame.file.suffix.lower() in SENT_AS_THEY_ARE:
        return frame.file.read_bytes()
    return _png(frame.image[..., ::-1])


def _png(image: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes())
