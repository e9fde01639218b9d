"""Images and video frames to predict, one at a time, each with its mask where one is known."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skelift.config import BodyConfig, Contrast
from skelift.data.cameras import Camera
from skelift.data.clips import Clip, check_masks_differ, find_masks, images_below, masks_beside
from skelift.data.images import ALPHA, GIVEN, has_black_border, mask_of_black_background
from skelift.data.listing import is_file, is_video_file, list_files
from skelift.data.masked_frames import masked_frames
from skelift.data.person import Corners
from skelift.data.static_camera import Search
from skelift.data.videos import UNSTATED_RATE, frame_count, frame_times, mean_rate
from skelift.errors import InputError, RequestError
from skelift.inference.cropping import KEEP, REMOVE, Box, Facing, corners_of, without_background


@dataclass(frozen=True)
class Frame:
    """An image, or a frame of a video; ``index`` is None for an image."""

    file: Path
    image: NDArray[np.uint8]  # (H, W, 3) RGB
    mask: NDArray[np.uint8] | None = None  # (H, W), 255 on the body; None: nothing marks it
    index: int | None = None  # in the video
    time_s: float | None = None  # since the film's start; None: not of a film
    mask_from: str = ""  # what gave the mask; empty: nothing marks the body
    camera: Camera | None = None  # that took it, where it is known
    facing: Facing | None = None  # which side of the body it shows, where that is known

    @property
    def empty(self) -> bool:
        """Whether it is known to show no body."""
        return self.mask is not None and not self.mask.any()

    @property
    def label(self) -> str:
        """What an error message calls it."""
        return str(self.file) if self.index is None else f"{self.file}, frame {self.index}"


@dataclass(frozen=True)
class Source:
    """Images of one folder, or one video: what one camera saw."""

    clip: Clip
    base: Path  # folder that was asked for; a file's place below it names what is drawn of it
    fps: float | None = None  # by which images are the frames of a film; None: they are photos

    @property
    def rate(self) -> float:
        """Mean number of frames in use per second; 25 for photos."""
        rate = mean_rate(self.clip.files[0]) if self.clip.is_video else self.fps or UNSTATED_RATE
        first, second = (*self.clip.indices[:2], 1)[:2] if self.clip.indices else (0, 1)
        return rate / max(second - first, 1)

    def frames(
        self, background: str = KEEP, box: Box | None = None, contrast: Contrast = "any"
    ) -> Iterator[Frame]:
        """Read the frames in their order, one at a time.

        Args:
            background: ``keep``: the body is what a mask or a black background shows;
                ``person``: a small network marks it, with the background where the camera is
                static; ``remove``: it is cut out of each image by its colours; ``median`` or
                ``subtractor``: the camera is static and the body moves. An image's own mask
                comes before these.
            box: x and y of the upper left corner, width and height around the body in every image,
                for ``person`` and ``remove``; for ``median`` with a contrast, of where it can be.
            contrast: what the body is against its background; for ``median``.

        Raises:
            InputError: a file is broken, a clip too short to learn its background, or an image has
                its own mask where a box or a contrast says how to search.
        """
        corners: Corners | None = None
        if box is not None:
            place, first, _ = next(self.clip.frames([self.clip.indices[0]]))
            corners, size = _corners(box, self.clip.file(place), first), first.shape
        search = Search(background, box=corners, body=_body(contrast, corners))
        times = frame_times(self.clip.files[0]) if self.clip.is_video else ()
        for index, image, mask, source in masked_frames(self.clip, search):
            if corners is not None and image.shape != size:
                raise InputError(
                    f"{self.clip.file(index)}: is {image.shape[1]} x {image.shape[0]} px, and the "
                    f"box is of images of {size[1]} x {size[0]} px; predict it by itself"
                )
            if source in (GIVEN, ALPHA) and (box is not None or contrast != "any"):
                raise InputError(
                    f"{self.clip.place(index)}: is a mask, or has one as its alpha channel, which "
                    "needs no search; leave --box and --contrast out, or remove the mask"
                )
            if mask is None and background == REMOVE:
                mask, source = _cut_out(image, corners), REMOVE
            if mask is None and background == KEEP and _is_black(image):
                mask = np.zeros(image.shape[:2], np.uint8)
            number = index if times else None
            time = times[index] if times else index / self.fps if self.fps else None
            yield Frame(self.clip.file(index), image, mask, number, time, source)


def find_sources(
    inputs: Sequence[Path],
    masks: Path | None = None,
    every: int = 1,
    fps: float | None = None,
) -> list[Source]:
    """What to read: images, videos, and folders of both (sub-folders too).

    Args:
        inputs: files and folders.
        masks: folder of masks in the same tree, or with the same stems.
        every: keep every n-th frame of a video, and every n-th image of a folder.
        fps: the images of each folder are the frames of a film, in the order of their names, so
            many per second; None: they are photos. Videos have times of their own.

    Raises:
        InputError: a file is not found, a folder is empty, or a mask is missing.
    """
    if every < 1:
        raise InputError(f"--every {every}: must be 1 or more")
    if not inputs:
        raise InputError("no images given; name at least one")
    if masks and not masks.exists():
        raise InputError(f"--masks {masks}: not found; name the folder of masks")
    files = [
        (file, base) for path in inputs for base, found in [_expand(path, masks)] for file in found
    ]
    # Images that follow one another in a folder are one camera's, as the frames of a video are.
    groups = groupby(files, lambda f: (f[0] if is_video_file(f[0]) else f[0].parent, f[1]))
    sources = [
        _source(tuple(file for file, _ in group), base, masks, every, fps)
        for (_, base), group in groups
    ]
    check_masks_differ(source.clip for source in sources)
    return sources


def left_out(inputs: Sequence[Path]) -> list[str]:
    """A line for each folder that holds something besides images and videos."""
    lines = (list_files(path).summary() for path in inputs if path.is_dir())
    return [line for line in lines if line]


def _expand(path: Path, masks: Path | None) -> tuple[Path, Sequence[Path]]:
    """The folder that was asked for, and the files that an input stands for."""
    if os.path.isdir(path):  # noqa: PTH112  # Path.is_dir raises for a name too long
        return path, images_below(path, masks)
    if not is_file(path):
        raise InputError(f"{path}: not found; name an image, a video or a folder of them")
    return path.parent, [path]


def _source(
    files: tuple[Path, ...], base: Path, masks: Path | None, every: int, fps: float | None
) -> Source:
    count = frame_count(files[0]) if is_video_file(files[0]) else len(files)
    found = find_masks(files, base, masks, flat=True) if masks else masks_beside(files)
    return Source(Clip(base.name, "", "", "", files, found, range(0, count, every)), base, fps)


def _corners(box: Box, file: Path, image: NDArray[np.uint8]) -> Corners:
    """``corners_of`` for an image; InputError with its file."""
    height, width = image.shape[:2]
    try:
        return corners_of(box, width, height)
    except RequestError as error:
        raise InputError(f"{file}: {error}") from None


def _body(contrast: Contrast, corners: Corners | None) -> BodyConfig:
    """A body of a contrast, searched for between two corners or everywhere."""
    if corners is None:
        return BodyConfig(contrast=contrast)
    (left, top), (right, bottom) = np.floor(corners[0]), np.ceil(corners[1]) - 1
    return BodyConfig(
        contrast=contrast, regions={"*": [int(c) for c in (left, top, right, bottom)]}
    )


def _is_black(image: NDArray[np.uint8]) -> bool:
    """Whether an image shows nothing on black."""
    return has_black_border(image) and not mask_of_black_background(image).any()


def _cut_out(image: NDArray[np.uint8], corners: Corners | None) -> NDArray[np.uint8]:
    try:
        return without_background(image, corners)
    except InputError:  # a frame that shows nobody; the caller counts it
        return np.zeros(image.shape[:2], np.uint8)
