"""Masks that data sets ship: MATLAB v7.3 files of one picture a frame, and videos."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from skelift.data.pictures import frame_count, read_frames
from skelift.errors import InputError

Mask = NDArray[np.uint8]


def open_hdf5(path: Path) -> Any:
    """A MATLAB v7.3 file; InputError where it is missing, broken, or h5py is."""
    try:
        import h5py
    except ImportError:
        raise InputError(
            f"{path}: reading it needs h5py; install it with: pip install 'skelift[datasets]'"
        ) from None
    try:
        return h5py.File(path, "r")
    except FileNotFoundError:
        raise InputError(f"{path}: not there; unpack the archive that holds it") from None
    except OSError as error:
        raise InputError(
            f"{path}: no readable MATLAB v7.3 file ({error}); unpack its archive anew"
        ) from None


def mask_count(path: Path) -> int:
    """Number of masks in a file."""
    if path.suffix != ".mat":
        return frame_count(path)
    with open_hdf5(path) as content:
        return len(_references(path, content))


def read_masks(path: Path, wanted: Collection[int]) -> Iterator[tuple[int, Mask]]:
    """Yield (index, (H, W) mask of 0 and 255) of the wanted frames that there are.

    Args:
        path: ``.mat`` with ``Masks`` (F, 1) of references to (W, H) pictures of 0 and 1, or a
            video that is white (above 127) on the body.
        wanted: indices of the frames.

    Raises:
        InputError: the file is missing or broken.
    """
    if path.suffix != ".mat":
        for index, frame in read_frames(path, wanted, threads=1):
            yield index, above(frame, channel=0)
        return
    with open_hdf5(path) as content:
        references = _references(path, content)
        for index in wanted:
            if index >= len(references):
                return
            try:
                mask = np.asarray(content[references[index, 0]][()]).T
            except (OSError, KeyError, ValueError) as error:
                raise InputError(
                    f"{path}: mask {index} cannot be read ({error}); unpack its archive anew"
                ) from None
            yield index, mask.astype(np.uint8) * np.uint8(255)


def above(picture: NDArray[np.uint8], channel: int) -> Mask:
    """255 where a channel of an (H, W, 3) picture is above 127, else 0."""
    level = cv2.extractChannel(picture, channel)
    return np.asarray(cv2.compare(level, 127, cv2.CMP_GT), dtype=np.uint8)  # type: ignore[call-overload]


def bounding_box(mask: Mask) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """(min x, min y) and (max x + 1, max y + 1) of the pixels that are not 0; None without any."""
    x, y, width, height = cv2.boundingRect(mask)
    if not width:
        return None
    return np.array([x, y], dtype=np.float64), np.array([x + width, y + height], dtype=np.float64)


def _references(path: Path, content: Any) -> Any:
    if "Masks" not in content:
        raise InputError(f"{path}: has no variable Masks; unpack its archive anew")
    return content["Masks"]
