"""Images and video frames to predict, one at a time, each with its mask where one is known."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skelift.data.cameras import Camera
from skelift.data.clips import Clip, is_video_file, readable_below
from skelift.data.folder import frames_with_mask_video
from skelift.data.images import IMAGES, UNSTATED_RATE, VIDEOS, frame_count, frame_rate, read_mask
from skelift.data.static_camera import cut_out_bodies
from skelift.errors import InputError
from skelift.inference.cropping import KEEP, REMOVE, without_background

BESIDE = ".mask.png"  # NAME.mask.png beside NAME.jpg is its mask


@dataclass(frozen=True)
class Frame:
    """An image, or a frame of a video; ``index`` and ``time_s`` are None for an image."""

    file: Path
    image: NDArray[np.uint8]  # (H, W, 3) RGB
    mask: NDArray[np.uint8] | None = None  # (H, W), 255 on the body; None: nothing marks it
    index: int | None = None  # in the video
    time_s: float | None = None  # since the video's start
    camera: Camera | None = None  # that took it, where it is known

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

    @property
    def rate(self) -> float:
        """Frames in use per second; 25 for images."""
        stated = frame_rate(self.clip.files[0]) if self.clip.is_video else 0
        first, second = (*self.clip.indices[:2], 1)[:2] if self.clip.indices else (0, 1)
        return (stated or UNSTATED_RATE) / max(second - first, 1)

    def frames(self, background: str = KEEP) -> Iterator[Frame]:
        """Read the frames in their order, one at a time.

        Args:
            background: ``keep``: the body is what a mask or a black background shows;
                ``remove``: it is cut out of each image by its colours; ``median`` or
                ``subtractor``: the camera is static and the body moves.

        Raises:
            InputError: a file is broken, or a clip too short to learn its background.
        """
        rate = frame_rate(self.clip.files[0]) or UNSTATED_RATE if self.clip.is_video else 0
        for index, image, mask in self._masked(background):
            place = (index, round(index / rate, 4)) if rate else (None, None)
            yield Frame(self.clip.file(index), image, mask, *place)

    def _masked(
        self, background: str
    ) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.uint8] | None]]:
        clip = self.clip
        if clip.is_video and clip.masks:
            yield from frames_with_mask_video(clip)
        elif background == REMOVE and not clip.masks:
            for index, image in clip.frames(clip.indices):
                yield index, image, _cut_out(image)
        elif background != KEEP and not clip.masks:
            yield from cut_out_bodies(clip, background)
        else:
            for index, image in clip.frames(clip.indices):
                yield index, image, self._own_mask(index, image)

    def _own_mask(self, index: int, image: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
        if self.clip.masks:
            return read_mask(self.clip.masks[index], image)
        beside = self.clip.file(index).with_suffix(BESIDE)
        return read_mask(beside, image) if beside.exists() else None


def find_sources(inputs: Sequence[Path], masks: Path | None = None, every: int = 1) -> list[Source]:
    """What to read: images, videos, and folders of both (sub-folders too).

    Args:
        inputs: files and folders.
        masks: folder of masks in the same tree, or with the same stems.
        every: keep every n-th frame of a video.

    Raises:
        InputError: a file is not found, a folder is empty, or a mask is missing.
    """
    if every < 1:
        raise InputError(f"--every {every}: must be 1 or more")
    if not inputs:
        raise InputError("no images given; name at least one")
    files = [(file, base) for path in inputs for file, base in _expand(path)]
    # Images that follow one another in a folder are one camera's, as the frames of a video are.
    groups = groupby(files, lambda f: (f[0] if is_video_file(f[0]) else f[0].parent, f[1]))
    return [_source([file for file, _ in group], base, masks, every) for (_, base), group in groups]


def _expand(path: Path) -> list[tuple[Path, Path]]:
    """The files that an input stands for, each with the folder that was asked for."""
    if not path.exists():
        raise InputError(f"{path}: not found; name an image, a video or a folder of them")
    if not path.is_dir():
        return [(path, path.parent)]
    files = [file for file in readable_below(path) if not file.name.endswith(BESIDE)]
    if not files:
        raise InputError(
            f"{path}: no images ({' '.join(IMAGES)}) or videos ({' '.join(VIDEOS)}) in it"
        )
    return [(file, path) for file in files]


def _source(files: Sequence[Path], base: Path, masks: Path | None, every: int) -> Source:
    found = tuple(_mask_of(file, base, masks) for file in files) if masks else ()
    if is_video_file(files[0]):
        indices = range(0, frame_count(files[0]), every)
    else:
        indices = range(len(files))
    return Source(Clip(base.name, "", "", "", tuple(files), found, indices), base)


def _mask_of(file: Path, base: Path, masks: Path) -> Path:
    suffixes = VIDEOS if is_video_file(file) else IMAGES
    for twin in (masks / file.relative_to(base), masks / file.name):
        for suffix in suffixes:
            if twin.with_suffix(suffix).exists():
                return twin.with_suffix(suffix)
    expected = f"{file.stem}{file.suffix if is_video_file(file) else '.png'}"
    raise InputError(f"{masks}: no mask for {file.name}; add {expected}")


def _cut_out(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    try:
        return without_background(image)
    except InputError:  # a frame that shows nobody; the caller counts it
        return np.zeros(image.shape[:2], np.uint8)
