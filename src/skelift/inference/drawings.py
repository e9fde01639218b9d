"""Poses drawn over their images: PNG for images, a video for videos, or animated pictures."""

import errno
import os
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from skelift.data.listing import is_video_file
from skelift.errors import InputError, RunError
from skelift.files import ascii_name, atomic_file, staged_folder
from skelift.inference.frames import Frame, Source
from skelift.inference.pose_files import MADE_BY, Entry, Header
from skelift.reporting.draw import (
    BACKGROUND,
    ViewAngle,
    draw_pose_2d,
    draw_pose_3d,
    draw_prediction,
    window_of_body,
)
from skelift.skeleton import Skeleton

Image = NDArray[np.uint8]
HEIGHT = 384
LONGEST_NAME = 255  # bytes, of most file systems
CODECS = {".mp4": "mp4v", ".webm": "VP80"}  # what OpenCV writes without an encoder of its own
SMALL = 1 / 3  # a body of less of the image's shorter side is shown from nearby
ROOM = 2.0  # side of what is shown then, over the body's
# Of animated pictures.
TURNING_HEIGHT = 240
TURN_S = 4.0  # once around
STILL_RATE = 12.0  # frames per second of an image
MOST_FRAMES = 600  # all of them are in memory
# Of the note in a file on what drew it.
_NOTE_WITHIN = 256  # last bytes of a file
_PNG_END = 12  # bytes of the last chunk
_EXIF_SOFTWARE = 0x0131


# Draws the frames of a source in their order: a frame, its entry of an answer (None where no body
# is visible) and the rest of the answer.
Drawer = Callable[[Frame, Entry | None, Header], None]
Drawings = Callable[[Source], AbstractContextManager[Drawer]]


def drawn_names(sources: list[Source], *, turning: bool = False) -> dict[Path, Path]:
    """Where each file is drawn, below the folder of drawings.

    InputError for two of one name, for a name too long or that of a folder of others, and for a
    video too long for an animated picture.
    """
    names: dict[Path, Path] = {}
    owners: dict[Path, Path] = {}
    for source in sources:
        if turning and source.clip.is_video and len(source.clip.indices) > MOST_FRAMES:
            count = len(source.clip.indices)
            raise InputError(
                f"{source.clip.files[0]}: {count} frames are too many for an animated picture "
                f"(at most {MOST_FRAMES}); take fewer with --every, or leave --turn out"
            )
        for file in source.clip.files:
            suffix = ".webp" if turning else ".mp4" if is_video_file(file) else ".png"
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


def is_drawing(file: Path) -> bool:
    """Whether a file is drawn by ``skelift predict``: a note near its end says so."""
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        stream.seek(max(file.stat().st_size - _NOTE_WITHIN, 0))
        return MADE_BY.encode() in stream.read()


@contextmanager
def staged_drawings(
    folder: Path | None, names: Mapping[Path, Path], *, turning: bool = False
) -> Iterator[Drawings]:
    """Drawers of sources, one at a time; drawings appear below ``folder`` when the block ends well.

    One picture is drawn per image, one video per video, at ``names``. ``turning`` makes animated
    pictures of both, in which the 3D pose turns. Without a folder nothing is drawn.
    """
    if not folder:
        yield lambda source: nullcontext(lambda frame, entry, header: None)
        return
    with staged_folder(folder) as staged:
        yield lambda source: _drawing(source, staged, names, turning)


@contextmanager
def _drawing(
    source: Source, folder: Path, names: Mapping[Path, Path], turning: bool
) -> Iterator[Drawer]:
    if not source.clip.is_video:
        yield lambda frame, entry, header: _draw_image(
            folder / names[frame.file], frame, entry, header, turning
        )
        return
    file, closeup = folder / names[source.clip.files[0]], Closeup()
    if turning:
        step = 360 / (TURN_S * source.rate)
        with animation_writer(file, source.rate) as (count, write):
            yield lambda frame, entry, header: write(
                draw_turning(frame, entry, header, step * count(), closeup=closeup)
            )
        return
    with video_writer(file, source.rate) as write:
        yield lambda frame, entry, header: write(draw_frame(frame, entry, header, closeup=closeup))


def _draw_image(
    file: Path, frame: Frame, entry: Entry | None, header: Header, turning: bool
) -> None:
    if not turning:
        write_png(file, draw_frame(frame, entry, header, fixed=False))
        return
    steps = round(TURN_S * STILL_RATE)
    with animation_writer(file, STILL_RATE) as (_, write):
        for step in range(steps if entry else 1):
            write(draw_turning(frame, entry, header, 360 * step / steps, fixed=False))


@dataclass
class Closeup:
    """Which part of its images a drawing shows: all, or what is around a small body.

    Between the frames of a video the part stays as it is until the body leaves it or has another
    size. It has the image's proportions.
    """

    corner: tuple[int, int] = 0, 0
    size: tuple[int, int] | None = None  # width and height; None: not chosen yet

    def show(self, image: Image, entry: Entry | None, height: int) -> tuple[Image, NDArray[Any]]:
        """The part at a height, and the 2D joints (J, 2) in its pixels (none without a body)."""
        whole = (image.shape[1], image.shape[0])
        if entry is not None:
            self._follow(whole, entry["crop"])
        (x, y), (width, tall) = self.corner, self.size or whole
        drawn = max(1, round(whole[0] * height / whole[1])), height
        how = cv2.INTER_CUBIC if height >= tall else cv2.INTER_AREA
        part = cv2.resize(image[y : y + tall, x : x + width], drawn, interpolation=how)
        joints = np.asarray(entry["joints_2d_px"] if entry else np.zeros((0, 2)), np.float64)
        scale = np.array(drawn) / (width, tall)
        return np.asarray(part, dtype=np.uint8), (joints - self.corner) * scale

    def _follow(self, whole: tuple[int, int], crop: Mapping[str, float]) -> None:
        share = crop["side"] / min(whole)
        wanted = ROOM * share if share < SMALL else 1.0
        low = np.array([crop["x"], crop["y"]]) - crop["side"] / 2
        if self.size:
            inside = (low >= self.corner).all() and (
                low + crop["side"] <= np.add(self.corner, self.size)
            ).all()
            if inside and 2 / 3 < wanted * whole[0] / self.size[0] < 3 / 2:
                return
        size = np.maximum(np.round(wanted * np.array(whole)), 1).astype(int)
        middle = low + crop["side"] / 2
        corner = np.clip(np.round(middle - size / 2), 0, np.array(whole) - size).astype(int)
        self.corner, self.size = (int(corner[0]), int(corner[1])), (int(size[0]), int(size[1]))


def draw_frame(
    frame: Frame,
    entry: Entry | None,
    header: Header,
    *,
    fixed: bool = True,
    closeup: Closeup | None = None,
) -> Image:
    """The frame with its 2D pose, and the 3D pose from two views; (HEIGHT, W, 3) uint8 RGB.

    A small body is shown from nearby. ``fixed`` draws all 3D poses at one scale around the root, so
    that a video does not jump.
    """
    image, joints = (closeup or Closeup()).show(frame.image, entry, HEIGHT)
    if entry is None:
        return np.hstack([image, np.full((HEIGHT, 2 * HEIGHT, 3), BACKGROUND, np.uint8)])
    skeleton = Skeleton.from_mapping(header["skeleton"])
    window = window_of_body(skeleton) if fixed else None
    pose = entry["joints_3d_mm"]
    return draw_prediction(image, joints, pose, skeleton, height=HEIGHT, window=window)


def draw_turning(
    frame: Frame,
    entry: Entry | None,
    header: Header,
    azimuth: float,
    *,
    fixed: bool = True,
    closeup: Closeup | None = None,
) -> Image:
    """``draw_frame`` of TURNING_HEIGHT, with one 3D pose, turned by an angle in degrees."""
    size = TURNING_HEIGHT
    image, joints = (closeup or Closeup()).show(frame.image, entry, size)
    if entry is None:
        return np.hstack([image, np.full((size, size, 3), BACKGROUND, np.uint8)])
    skeleton = Skeleton.from_mapping(header["skeleton"])
    view = ViewAngle("turning", azimuth=azimuth)
    window = window_of_body(skeleton) if fixed else None
    pose = draw_pose_3d(entry["joints_3d_mm"], skeleton, view, size=size, window=window)
    return np.hstack([draw_pose_2d(image, joints, skeleton), pose])


def write_png(file: Path, image: Image) -> None:
    """Write an RGB image, atomically."""
    encoded = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
    text = b"tEXtSoftware\0" + MADE_BY.encode()  # a chunk, which comes before the last one
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    with atomic_file(file) as unfinished:
        unfinished.write_bytes(encoded[:-_PNG_END] + chunk + encoded[-_PNG_END:])


@contextmanager
def animation_writer(
    file: Path, rate: float
) -> Iterator[tuple[Callable[[], int], Callable[[Image], None]]]:
    """Write (H, W, 3) RGB frames to an animated WebP that repeats; it appears when the block ends.

    Yields:
        What says how many frames are written, and what writes one.
    """
    from PIL import Image as Pillow

    frames: list[Any] = []

    def write(image: Image) -> None:
        frames.append(Pillow.fromarray(image))

    yield lambda: len(frames), write
    if frames:
        about = Pillow.Exif()
        about[_EXIF_SOFTWARE] = MADE_BY
        with atomic_file(file) as unfinished:
            frames[0].save(
                unfinished,
                format="WEBP",
                save_all=True,
                append_images=frames[1:],
                duration=round(1000 / rate),
                loop=0,
                exif=about,
            )


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
        if started and file.suffix == ".mp4":
            with unfinished.open("ab") as stream:  # a box of free space, which players skip
                stream.write(struct.pack(">I4s", 8 + len(MADE_BY), b"free") + MADE_BY.encode())


def _opens(video: str) -> bool:
    """Whether a video has its end, where an mp4 says what is in it."""
    capture = cv2.VideoCapture(video)
    opened = capture.isOpened()
    capture.release()
    return opened
