"""Who finds the poses: a model in this process, or one behind an endpoint. Both answer alike."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from skelift.errors import InputError
from skelift.inference.frames import Frame
from skelift.weights import SHIPPED

Answer = dict[str, Any]


class Engine(Protocol):
    """Finds the poses of a batch of frames."""

    def __call__(self, frames: Sequence[Frame], focal: float | None = None) -> Answer:
        """The answer's JSON form, with one entry of ``predictions`` a frame, in their order.

        Raises:
            InputError: a frame cannot be used.
            RunError: the endpoint cannot be reached.
        """


class InProcess:
    """A model folder, loaded here.

    Raises:
        InputError: the folder is no model.
    """

    def __init__(self, model: Path) -> None:
        from skelift.inference.predictor import Predictor

        self._predictor = Predictor(model)

    def __call__(self, frames: Sequence[Frame], focal: float | None = None) -> Answer:
        """See ``Engine``."""
        prepared = []
        for frame in frames:
            try:
                prepared.append(self._predictor.prepare(frame.image, frame.mask, focal_px=focal))
            except InputError as error:
                raise InputError(f"{frame.label}: {error}") from None
        names = (str(frame.file) for frame in frames)
        return self._predictor.answer(
            list(zip(names, self._predictor.predict(prepared), strict=True))
        )


def choose_engine(model: Path | None, endpoint: str | None) -> tuple[Engine, str]:
    """The engine that the command line asks for, and one line that says which it is.

    Raises:
        InputError: the folder is no model, or the address is none.
    """
    if endpoint:
        from skelift.inference.endpoint import Endpoint

        return Endpoint(endpoint), f"answers come from {endpoint}"
    folder = model or SHIPPED
    return InProcess(folder), f"model {folder}"
