"""The loop from frames to entries: batch after batch, never more than one in memory."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from skelift.inference.engines import Answer, Engine
from skelift.inference.frames import Frame

BATCH = 16  # frames of 1080p in memory: 100 MB


def predict_frames(
    engine: Engine, frames: Iterable[Frame], focal: float | None = None
) -> Iterator[tuple[Frame, Answer, dict[str, Any] | None]]:
    """Poses of frames, in their order.

    Args:
        engine: what finds them.
        frames: read as they are needed.
        focal: focal length in pixels, where known.

    Yields:
        The frame; the answer without its predictions, empty as long as there is none; the frame's
        entry, None where no body is visible.
    """
    remaining, header = iter(frames), {}
    while batch := list(islice(remaining, BATCH)):
        shown = [frame for frame in batch if not frame.empty]
        entries: Iterator[dict[str, Any]] = iter(())
        if shown:
            answer = engine(shown, focal)
            header = {key: value for key, value in answer.items() if key != "predictions"}
            entries = iter(answer["predictions"])
        for frame in batch:
            yield frame, header, None if frame.empty else _placed(next(entries), frame)


def _placed(entry: dict[str, Any], frame: Frame) -> dict[str, Any]:
    """The entry under its file's name, with its place in the video."""
    place: dict[str, Any] = {"image": str(frame.file)}
    if frame.index is not None:
        place |= {"frame": frame.index, "time_s": frame.time_s}
    return place | {key: value for key, value in entry.items() if key != "image"}
