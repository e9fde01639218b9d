"""Poses drawn over their images: PNG for images, a video for videos."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from skelift.data.listing import is_video_file
from skelift.errors import InputError, RunError
from skelift.files import ascii_name, atomic_file
from skelift.inference.frames import Frame, Source
from skelift.inference.pose_files import Entry, Header
from skelift.reporting.draw import BACKGROUND, draw_prediction, enlarge, window_of_body
from skelift.skeleton import Skeleton

Image = NDArray[np.uint8]
HEIGHT = 384
LONGEST_NAME = 255  # bytes, of most file systems
CODECS = {".mp4": "mp4v", ".webm": "VP80"}  # what OpenCV writes without an encoder of its own


# Draws the frames of a source in their order: a frame, its entry of an answer (None where no body
# is visible) and the rest of the answer.
Drawer = Callable[[Frame, Entry | None, Header], None]


def drawn_names(sources: list[Source]) -> dict[Path, Path]:
    """Where each file is drawn, below the folder of drawings.

    InputError for two of one name, and for a name too long or that of a folder of others.
    """
    names: dict[Path, Path] = {}
    owners: dict[Path, Path] = {}
    for source in sources:
        for file in source.clip.files:
            suffix = ".mp4" if is_video_file(file) else ".png"
            name = file.relative_to(source.base).with_suffix(suffix)
            if owners.setdefault(name, file) != file:
                raise InputError(
                    f"{file}: would be drawn to {name}, as {owners[name]} is; rename one"
                )
            names[file] = name
    folders = {folder for name in owners for folder in name.parents}
    for name, file in owners.items():
        if name in folders or len(os.fsencode(name.name)) > LONGEST_NAME:
            why = "a folder of drawings" if name in folders else "too long a name"
            raise InputError(f"{file}: would be drawn to {name}, which is {why}; rename it")
    return names


@contextmanager
def drawing(source: Source, folder: Path, names: Mapping[Path, Path]) -> Iterator[Drawer]:
    """A drawer of a source: one PNG per image, or one video, below ``folder``."""
    if not source.clip.is_video:
        yield lambda frame, entry, header: write_png(
            folder / names[frame.file], draw_frame(frame, entry, header, fixed=False)
        )
        return
    with video_writer(folder / names[source.clip.files[0]], source.rate) as write:
        yield lambda frame, entry, header: write(draw_frame(frame, entry, header))


def draw_frame(frame: Frame, entry: Entry | None, header: Header, *, fixed: bool = True) -> Image:
    """The frame with its 2D pose, and the 3D pose from two views; (HEIGHT, W, 3) uint8 RGB.

    ``fixed`` draws all 3D poses at one scale around the root, so that a video does not jump.
    """
    if entry is None:
        plain = enlarge(frame.image, HEIGHT)
        return np.hstack([plain, np.full((HEIGHT, 2 * HEIGHT, 3), BACKGROUND, np.uint8)])
    skeleton = Skeleton.from_mapping(header["skeleton"])
    window = window_of_body(skeleton) if fixed else None
    joints = entry["joints_2d_px"], entry["joints_3d_mm"]
    return draw_prediction(frame.image, *joints, skeleton, height=HEIGHT, window=window)


def write_png(file: Path, image: Image) -> None:
    """Write an RGB image, atomically."""
    encoded = cv2.imencode(".png", image[..., ::-1])[1]
    with atomic_file(file) as unfinished:
        unfinished.write_bytes(encoded.tobytes())


@contextmanager
def video_writer(file: Path, rate: float) -> Iterator[Callable[[Image], None]]:
    """Write (H, W, 3) RGB frames of one size to a video; it appears when the block ends well.

    Args:
        file: .mp4 (MPEG-4) or .webm (VP8, which every browser plays).
        rate: frames per second.

    Raises:
        RunError: this OpenCV cannot encode it.
        OSError: the disk is full, which OpenCV tells nobody.
    """
    rate = round(rate, 2)  # encoders count time in fractions of a limited size
    with (
        atomic_file(file, suffix=f".tmp{file.suffix}") as unfinished,
        ascii_name(unfinished) as name,
    ):
        writer = cv2.VideoWriter()

        def write(image: Image) -> None:
            if shutil.disk_usage(unfinished.parent).free < image.nbytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
            height, width = (side - side % 2 for side in image.shape[:2])  # codecs want even ones
            if not writer.isOpened():
                code = cv2.VideoWriter.fourcc(*CODECS[file.suffix])
                if not writer.open(name, code, rate, (width, height)):
                    raise RunError(f"{file}: this OpenCV cannot write {CODECS[file.suffix]} video")
            writer.write(np.ascontiguousarray(image[:height, :width, ::-1]))

        try:
            yield write
            started = writer.isOpened()
        finally:
            writer.release()
        if started and not _opens(name):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(file))


def _opens(video: str) -> bool:
    """Whether a video has its end, where an mp4 says what is in it."""
    capture = cv2.VideoCapture(video)
    opened = capture.isOpened()
    capture.release()
    return opened
