"""Clips in a folder: which images and videos belong together, and their masks.

A clip is what one camera saw in one go: the images of a folder in the natural order of their
names, or one video.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from skelift.config import FolderConfig
from skelift.data.format import SAMPLE
from skelift.data.images import ImageArray, Mask, read_masked_image
from skelift.data.listing import (
    BESIDE,
    IMAGES,
    VIDEOS,
    folders_of,
    is_file,
    is_video_file,
    list_files,
)
from skelift.data.videos import frame_count, read_video
from skelift.errors import InputError
from skelift.files import printable

LEVELS = ("person", "clip", "camera", "activity")  # what a folder can stand for


@dataclass(frozen=True)
class Clip:
    """Images of one camera in temporal order; names are empty where unknown."""

    name: str  # unique over persons, shared by the cameras that saw it
    person: str
    camera: str
    activity: str
    files: tuple[Path, ...]  # the images, or one video
    masks: tuple[Path | None, ...]  # one of each of ``files``; empty where none are given
    indices: Sequence[int]  # the frames in use, in their order

    @property
    def is_video(self) -> bool:
        """Whether the frames come from one video file."""
        return is_video_file(self.files[0])

    def frames(self, wanted: Collection[int]) -> Iterator[tuple[int, ImageArray, Mask | None]]:
        """Yield (index, RGB image, mask of its alpha) of the wanted frames, one at a time."""
        wanted = wanted if isinstance(wanted, range) else frozenset(wanted)
        if self.is_video:
            yield from ((i, image, None) for i, image in read_video(self.files[0], wanted))
        else:
            chosen = (i for i in range(len(self.files)) if i in wanted)
            yield from ((i, *read_masked_image(self.files[i])) for i in chosen)

    def file(self, index: int) -> Path:
        """The file that holds a frame."""
        return self.files[0] if self.is_video else self.files[index]

    def place(self, index: int) -> str:
        """Where a frame is, for a message: its mask's file, its own, or its video and number."""
        if self.is_video:
            return f"{self.masks[0] if self.masks else self.files[0]}, frame {index}"
        return str((self.masks and self.masks[index]) or self.files[index])


def find_clips(folder: FolderConfig) -> list[Clip]:
    """The clips of ``folder.images``, in the natural order of their paths.

    Raises:
        InputError: no images there, a mask missing, a name too long for the format, or two clips
            of one name.
    """
    root = Path(folder.images)
    if not root.exists():
        raise InputError(
            f"{root}: not found; set data.folder.images to a folder or a video (for real_video "
            "set SKELIFT_DATA; see docs/datasets.md)"
        )
    masks = Path(folder.masks) if folder.masks else None
    if root.is_dir():
        base, files = root, images_below(root, masks)
    else:
        base, files = root.parent, [root]
    if not files:
        raise InputError(f"{root}: holds masks alone; name a folder of images")
    clips: dict[tuple[str, ...], Clip] = {}
    for members in taken_together(files):
        names = _names(folders_of(members[0].relative_to(base)), folder.layout.split("/"), root)
        count = frame_count(members[0]) if is_video_file(members[0]) else len(members)
        found = find_masks(members, base, masks) if masks else masks_beside(members)
        clip = Clip(**names, files=members, masks=found, indices=range(0, count, folder.every))
        if (other := clips.setdefault(tuple(names.values()), clip)) is not clip:
            raise InputError(
                f"{members[0]}: would be the clip {clip.name}, as {other.files[0]} is; rename one"
            )
    check_masks_differ(clips.values())
    return list(clips.values())


def taken_together(files: Iterable[Path]) -> Iterator[tuple[Path, ...]]:
    """Files in their order, grouped: images that follow one another in a folder, or one video."""
    for _, group in groupby(files, lambda file: file if is_video_file(file) else file.parent):
        yield tuple(group)


def images_below(root: Path, masks: Path | None) -> Sequence[Path]:
    """``list_files`` of a folder, without a folder of masks in it; InputError where none is."""
    listing = list_files(root)
    listing.check()
    aside = masks and masks.resolve()
    if not aside or root.resolve() not in aside.parents:
        return listing.files
    return [file for file in listing.files if aside not in file.resolve().parents]


def masks_beside(files: Sequence[Path]) -> tuple[Path | None, ...]:
    """The mask beside each image, where there is one; empty where none has one."""
    if is_video_file(files[0]):
        return ()
    beside = [file.with_suffix(BESIDE) for file in files]
    masks = tuple(mask if is_file(mask) else None for mask in beside)
    return masks if any(masks) else ()


def find_masks(
    files: Sequence[Path], base: Path, masks: Path, *, flat: bool = False
) -> tuple[Path, ...]:
    """The masks of images, or of one video.

    Args:
        files: below ``base``.
        base: see ``masks``.
        masks: a folder with the tree of ``base`` and the stems of its files, or the mask of the
            only file.
        flat: whether masks may also lie in ``masks`` itself.

    Raises:
        InputError: a mask is missing.
    """
    if not masks.exists():
        raise InputError(f"{masks}: not found; name the folder of masks")
    if not masks.is_dir():
        if len(files) > 1:
            raise InputError(f"{masks}: is one mask for {len(files)} images; name a folder of them")
        return (masks,)
    return tuple(_mask_of(file, base, masks, flat) for file in files)


def check_masks_differ(clips: Iterable[Clip]) -> None:
    """InputError where one file would be the mask of two."""
    owners: dict[Path, Path] = {}
    masked = (clip for clip in clips if clip.masks)
    for file, mask in (p for clip in masked for p in zip(clip.files, clip.masks, strict=True)):
        if mask and owners.setdefault(mask, file) != file:
            raise InputError(
                f"{mask}: would be the mask of {owners[mask]} and of {file}; rename one"
            )


def _mask_of(file: Path, base: Path, masks: Path, flat: bool) -> Path:
    twin = masks / file.relative_to(base)
    suffixes = VIDEOS if is_video_file(file) else IMAGES
    for place in (twin, masks / file.name) if flat else (twin,):
        for suffix in suffixes:
            for spelled in (suffix, suffix.upper()):
                if is_file(mask := place.with_suffix(spelled)):
                    return mask
    expected = twin.with_suffix(file.suffix if is_video_file(file) else ".png")
    raise InputError(f"{file}: has no mask; expected {expected}")


def _names(levels: Sequence[str], layout: Sequence[str], root: Path) -> dict[str, str]:
    """Person, clip, camera and activity of a clip; deeper levels join the last of the layout."""
    levels = [printable(level) for level in levels]
    last = len(layout) - 1
    parts = [*levels[:last], "/".join(levels[last:])] if len(levels) > last else list(levels)
    names = dict.fromkeys(LEVELS, "") | dict(zip(layout, parts, strict=False))
    own = [names["person"], names["activity"], names["clip"] or printable(root.stem)]
    names["clip"] = "/".join(part for part in own if part)
    for level, name in names.items():
        longest = SAMPLE[level].itemsize // np.dtype("U1").itemsize
        if len(name) > longest:
            raise InputError(
                f"{root}: the {level} name {name} has more than {longest} characters; rename it"
            )
    names["name"] = names.pop("clip")
    return names
