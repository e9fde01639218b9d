"""What finds the poses: a model in this process, or one behind a server. Both answer alike."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from skelift.errors import InputError, RequestError
from skelift.http import read_token
from skelift.inference.cropping import Query
from skelift.inference.frames import Frame
from skelift.inference.steady import Found, steadied
from skelift.serving.client import Client
from skelift.weights import SHIPPED

TOKEN = "SKELIFT_TOKEN"  # noqa: S105  # environment variable with a bearer token, never an option
BATCH = 16  # frames of 1080p in memory: 100 MB
AT_ONCE = 8  # requests under way, which the server batches
PATIENCE = 60.0  # seconds of asking a busy server again
SENT_AS_THEY_ARE = (".jpg", ".jpeg", ".png", ".webp")

Answer = dict[str, Any]


class Engine(Protocol):
    """Finds the poses of a batch of frames."""

    def __call__(self, frames: Sequence[Frame], focal_px: float | None = None) -> Answer:
        """The answer's JSON form, with one entry of ``predictions`` per frame, in their order.

        Raises:
            InputError: a frame cannot be used, or what answers is not skelift.
            RunError: a server does not answer, however often it is asked.
        """


class LocalEngine:
    """A model folder, loaded here; InputError when it is not a model."""

    def __init__(self, model: Path) -> None:
        from skelift.inference.predictor import Predictor  # loads PyTorch

        self._predictor = Predictor(model)

    def __call__(self, frames: Sequence[Frame], focal_px: float | None = None) -> Answer:
        """See ``Engine``."""
        prepared = []
        for frame in frames:
            try:
                prepared.append(
                    self._predictor.prepare(
                        frame.image,
                        frame.mask,
                        focal_px=focal_px,
                        camera=frame.camera,
                        facing=frame.facing,
                    )
                )
            except InputError as error:
                raise InputError(f"{frame.label}: {error}") from None
        names = (str(frame.file) for frame in frames)
        poses = self._predictor.predict(prepared)
        return self._predictor.answer(list(zip(names, poses, strict=True)))


class RemoteEngine:
    """A server that is asked, see ``Client``; SKELIFT_TOKEN in the environment is its token."""

    def __init__(self, url: str) -> None:
        self._client = Client(url, read_token(TOKEN), PATIENCE)

    def __call__(self, frames: Sequence[Frame], focal_px: float | None = None) -> Answer:
        """See ``Engine``: one request per frame, several at once."""
        if any(frame.camera for frame in frames):
            raise InputError(
                "--camera: a server takes no calibration; predict here, or give --focal"
            )
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(lambda frame: self._ask(frame, focal_px), frames))
        for answer in answers:  # a server of an older version does not tell front from back
            answer["predictions"][0].setdefault("facing", None)
        return answers[0] | {"predictions": [a["predictions"][0] for a in answers]}

    def _ask(self, frame: Frame, focal_px: float | None) -> Answer:
        mask = _png(frame.mask) if frame.mask is not None else None
        query = Query(_encoded(frame), mask, focal_px=focal_px, facing=frame.facing)
        try:
            return self._client.predict([query])
        except RequestError as error:
            raise InputError(
                f"{frame.label}: refused by {self._client.url} ({error.status}): {error}"
            ) from None


def choose_engine(model: Path | None, endpoint: str | None) -> tuple[Engine, str]:
    """The engine that the command line asks for, and one line that says which it is."""
    if endpoint:
        return RemoteEngine(endpoint), f"answers come from {endpoint}"
    folder = model or SHIPPED
    return LocalEngine(folder), f"model {folder}"


def predict_frames(
    engine: Engine,
    frames: Iterable[Frame],
    focal: float | None = None,
    *,
    steady: bool = True,
) -> Iterator[Found]:
    """What frames show, in their order; never more than a batch and ``steadied``'s in memory.

    Args:
        engine: what finds the poses.
        frames: of one camera, in temporal order.
        focal: focal length of all, in pixels.
        steady: whether frames of a video are steadied over time.
    """
    found = _each_by_itself(engine, frames, focal)
    if not steady:
        return found

    def ask(frame: Frame) -> dict[str, Any]:
        return _placed(engine([frame], focal)["predictions"][0], frame)

    return steadied(found, ask)


def _each_by_itself(
    engine: Engine, frames: Iterable[Frame], focal: float | None
) -> Iterator[Found]:
    remaining, header = iter(frames), {}
    while batch := list(islice(remaining, BATCH)):
        shown = [frame for frame in batch if not frame.empty]
        entries: Iterator[dict[str, Any]] = iter(())
        if shown:
            answer = engine(shown, focal)
            header = {key: value for key, value in answer.items() if key != "predictions"}
            entries = iter(answer["predictions"])
        for frame in batch:
            yield Found(frame, header, None if frame.empty else _placed(next(entries), frame))


def _placed(entry: dict[str, Any], frame: Frame) -> dict[str, Any]:
    """The entry under its file's name, with its place in the video."""
    place: dict[str, Any] = {"image": str(frame.file)}
    place |= {"frame": frame.index} if frame.index is not None else {}
    place |= {"time_s": frame.time_s} if frame.time_s is not None else {}
    own = {"mask": frame.mask_from} if frame.mask is not None else {}
    return place | {key: value for key, value in entry.items() if key != "image"} | own


def _encoded(frame: Frame) -> bytes:
    """The image without loss; what a mask hides is black, which compresses much better."""
    if frame.mask is not None:
        return _png(frame.image[..., ::-1] * (frame.mask[..., None] > 0))
    if frame.index is None and frame.file.suffix.lower() in SENT_AS_THEY_ARE:
        return frame.file.read_bytes()
    return _png(frame.image[..., ::-1])


def _png(image: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes())
