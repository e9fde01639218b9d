"""What a dropped file becomes: poses, drawings and files to take away."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from skelift.errors import InputError
from skelift.inference.cropping import KEEP, OF_ONE_IMAGE, Facing
from skelift.inference.drawings import video_writer
from skelift.inference.engines import Engine, predict_frames
from skelift.inference.frames import find_sources
from skelift.inference.pose_files import write_poses
from skelift.reporting.draw import overlay
from skelift.skeleton import Skeleton

LONGEST = 240  # frames of a clip that the page shows
HEIGHT = 540  # of an overlay, in pixels
QUALITY = 85


@dataclass(frozen=True)
class Shown:
    """The poses of an image or clip, ready to show."""

    skeleton: Skeleton
    entries: list[dict[str, Any]]  # of an answer, in temporal order
    overlays: list[bytes]  # the 2D pose over the image of each, as JPEG
    every: int  # only every n-th frame of the clip was used
    json: Path  # the file of poses
    video: Path | None  # the overlays as a video; None for an image

    def overlay(self, number: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB overlay of a pose."""
        decoded = cv2.imdecode(np.frombuffer(self.overlays[number], np.uint8), cv2.IMREAD_COLOR_RGB)
        return np.asarray(decoded, dtype=np.uint8)


def show(
    file: Path,
    engine: Engine,
    background: str,
    progress: Callable[[float], None],
    facing: Facing | None = None,
) -> Shown:
    """Find and draw the poses of a file.

    Args:
        file: an image or a video.
        engine: what finds the poses.
        background: see ``Source.frames``; one that needs a clip is not used for an image.
        progress: called with the share that is done.
        facing: front or back, where it is known of the body.

    Raises:
        InputError: the file cannot be used; the message says ``file`` where it names it.
        RunError: the endpoint cannot be reached.
    """
    every = -(-len(find_sources([file])[0].clip.indices) // LONGEST)
    (source,) = find_sources([file], every=every)
    is_video = source.clip.is_video
    total, entries, overlays = len(source.clip.indices), [], []
    # One image alone does not show what is behind the body.
    usable = background if is_video or background in OF_ONE_IMAGE else KEEP
    known = (replace(frame, facing=facing) for frame in source.frames(usable))
    found = predict_frames(engine, known)
    for number, (frame, header, entry) in enumerate(found):
        progress((number + 1) / total)
        if entry is None:
            continue
        skeleton = Skeleton.from_mapping(header["skeleton"])
        entries.append(entry)
        overlays.append(_jpeg(overlay(frame.image, entry["joints_2d_px"], skeleton, HEIGHT)))
    if not entries:
        raise InputError(f"{file}: no body found in it; try another background")
    answer, video = (file.with_name(f"{file.stem}.poses{end}") for end in (".json", ".webm"))
    write_poses(answer, ((header, entry) for entry in entries))
    shown = Shown(skeleton, entries, overlays, every, answer, video if is_video else None)
    if shown.video:
        with video_writer(shown.video, source.rate) as write:
            for number in range(len(overlays)):
                write(shown.overlay(number))
    return shown


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    return bytes(encoded.tobytes())
