"""Clips in a folder: which images and videos belong together, and their masks.

A clip is what one camera saw in one go: the images of a folder in the order of their names, or
one video.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skelift.config import FolderConfig
from skelift.data.format import SAMPLE
from skelift.data.images import IMAGES, VIDEOS, frame_count, read_image, read_video
from skelift.errors import InputError

LEVELS = ("person", "clip", "camera", "activity")  # what a folder can stand for


@dataclass(frozen=True)
class Clip:
    """Images of one camera in temporal order; names are empty where unknown."""

    name: str  # unique over persons, shared by the cameras that saw it
    person: str
    camera: str
    activity: str
    files: tuple[Path, ...]  # the images, or one video
    masks: tuple[Path, ...]  # one of each of ``files``; empty where none are given
    indices: Sequence[int]  # the frames in use, in their order

    @property
    def is_video(self) -> bool:
        """Whether the frames come from one video file."""
        return is_video_file(self.files[0])

    def frames(self, wanted: Collection[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield (index, RGB image) of the wanted frames, one at a time."""
        wanted = wanted if isinstance(wanted, range) else frozenset(wanted)
        if self.is_video:
            yield from read_video(self.files[0], wanted)
        else:
            chosen = (i for i in range(len(self.files)) if i in wanted)
            yield from ((i, read_image(self.files[i])) for i in chosen)

    def file(self, index: int) -> Path:
        """The file that holds a frame."""
        return self.files[0] if self.is_video else self.files[index]


def find_clips(folder: FolderConfig) -> list[Clip]:
    """The clips of ``folder.images``, in the order of their paths.

    Raises:
        InputError: no images there, a mask missing, or a name too long for the format.
    """
    root = Path(folder.images)
    if not root.exists():
        raise InputError(
            f"{root}: not found; set data.folder.images to a folder or a video (for real_video "
            "set SKELIFT_DATA; see docs/datasets.md)"
        )
    base = root if root.is_dir() else root.parent
    files = readable_below(root) if root.is_dir() else [root]
    if not files:
        raise InputError(
            f"{root}: no images ({' '.join(IMAGES)}) or videos ({' '.join(VIDEOS)}) in it"
        )
    clips = []
    for levels, group in groupby(files, lambda file: _levels_of(file.relative_to(base))):
        members = tuple(group)
        masks = tuple(_mask_of(file, base, Path(folder.masks)) for file in members if folder.masks)
        count = frame_count(members[0]) if is_video_file(members[0]) else len(members)
        names = _names(levels, folder.layout.split("/"), root)
        clips.append(
            Clip(**names, files=members, masks=masks, indices=range(0, count, folder.every))
        )
    return clips


def readable_below(root: Path) -> list[Path]:
    """Images and videos below a folder, folder by folder, hidden ones left out."""
    files = (
        path
        for path in root.rglob("*")
        if path.suffix.lower() in IMAGES + VIDEOS
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
    )
    return sorted(files, key=lambda path: (_levels_of(path.relative_to(root)), path))


def _levels_of(file: Path) -> tuple[str, ...]:
    """The folders that a file lies in; a video counts as a folder of frames."""
    return (*file.parent.parts, file.stem) if is_video_file(file) else file.parent.parts


def is_video_file(file: Path) -> bool:
    """Whether a file's name says that it is a video."""
    return file.suffix.lower() in VIDEOS


def _names(levels: Sequence[str], layout: Sequence[str], root: Path) -> dict[str, str]:
    """Person, clip, camera and activity of a clip; deeper levels join the last of the layout."""
    last = len(layout) - 1
    parts = [*levels[:last], "/".join(levels[last:])] if len(levels) > last else list(levels)
    names = dict.fromkeys(LEVELS, "") | dict(zip(layout, parts, strict=False))
    own = [names["person"], names["activity"], names["clip"] or root.stem]
    names["clip"] = "/".join(part for part in own if part)
    for level, name in names.items():
        longest = SAMPLE[level].itemsize // np.dtype("U1").itemsize
        if len(name) > longest:
            raise InputError(
                f"{root}: the {level} name {name} has more than {longest} characters; rename it"
            )
    names["name"] = names.pop("clip")
    return names


def _mask_of(file: Path, base: Path, masks: Path) -> Path:
    """The mask of a file: the same place and stem below ``masks``, any suffix of its kind."""
    if masks.is_file():
        return masks
    twin = masks / file.relative_to(base)
    for suffix in VIDEOS if is_video_file(file) else IMAGES:
        if twin.with_suffix(suffix).exists():
            return twin.with_suffix(suffix)
    expected = twin.with_suffix(file.suffix if is_video_file(file) else ".png")
    raise InputError(f"{file}: has no mask; expected {expected}")
