"""Masks that data sets ship: MATLAB v7.3 files of one image per frame, and videos."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from skelift.data.images import Mask, binary
from skelift.data.sources.recordings import reading
from skelift.data.videos import read_frames, stated_count
from skelift.errors import InputError

Box = tuple[NDArray[np.float64], NDArray[np.float64]]


def open_hdf5(path: Path) -> Any:
    """A MATLAB v7.3 file; InputError where it is missing, broken, or h5py is."""
    with reading(path, "MATLAB v7.3"):
        import h5py

        return h5py.File(path, "r")


def variable(path: Path, content: Any, name: str) -> Any:
    """A variable of an open MATLAB v7.3 file; InputError where it has none of that name."""
    if name not in content:
        raise InputError(f"{path}: has no variable {name}; unpack its archive again")
    return content[name]


def mask_count(path: Path) -> int:
    """Number of masks in a file."""
    if path.suffix != ".mat":
        return stated_count(path)
    with open_hdf5(path) as content:
        return len(variable(path, content, "Masks"))


def read_masks(path: Path, wanted: Collection[int]) -> Iterator[tuple[int, Mask]]:
    """Yield (index, (H, W) mask) of the wanted frames that there are.

    A mask is above ``level_of(path)`` on the body, and not copied out of what was decoded. The
    file is a ``.mat`` with ``Masks`` (F, 1) of references to (W, H) images of 0 and 1, or a video
    that is white on the body. The indices of the frames rise.
    """
    matlab = path.suffix == ".mat"
    yield from ((i, mask.T if matlab else mask) for i, mask in _as_stored(path, wanted))


def level_of(path: Path) -> int:
    """The grey level above which the masks of a file mark the body."""
    return 0 if path.suffix == ".mat" else 127


def read_boxes(path: Path, wanted: Collection[int]) -> Iterator[tuple[int, Box]]:
    """Yield (index, box) of the wanted frames whose mask is not empty.

    A box is (min x, min y) and (max x + 1, max y + 1).
    """
    matlab = path.suffix == ".mat"
    for index, mask in _as_stored(path, wanted):
        # To transpose an image takes longer than to find its box.
        x, y, width, height = cv2.boundingRect(mask if matlab else binary(mask))
        if width:
            low, extent = np.array([[x, y], [width, height]], dtype=np.float64)
            box = low, low + extent
            yield index, (box[0][::-1], box[1][::-1]) if matlab else box


def _as_stored(path: Path, wanted: Collection[int]) -> Iterator[tuple[int, Mask]]:
    """Yield (index, mask): (W, H) of 0 and 1 from a ``.mat``, (H, W) of grey levels from video."""
    if path.suffix != ".mat":
        yield from ((i, frame[..., 0]) for i, frame in read_frames(path, wanted, threads=1))
        return
    with open_hdf5(path) as content:
        references = variable(path, content, "Masks")
        for index in wanted:
            if index >= len(references):
                return
            with reading(path, f"mask {index}"):
                mask = np.asarray(content[references[index, 0]][()], dtype=np.uint8)
            yield index, mask


def above(image: NDArray[np.uint8], channel: int) -> Mask:
    """255 where a channel of an (H, W, 3) image is above 127, else 0."""
    return binary(np.asarray(cv2.extractChannel(image, channel), dtype=np.uint8))
