"""What every loader yields: recordings, and the shots in them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skelift.data.crop import CropBox
from skelift.data.images import ImageArray, Mask
from skelift.data.poses import REACH
from skelift.errors import InputError

Floats = NDArray[np.floating]

PRIOR_MARK = "#poses"  # ends the clip name of the part of a clip that gives poses and no image


@dataclass(frozen=True)
class Crop:
    """How bodies are cut out: side of the crop in pixels, free margin around the body."""

    size: int
    margin: float

    def around(self, low: Floats, high: Floats) -> CropBox:
        """The crop around the box (low, high), each (2,) source pixels."""
        return CropBox.around(low, high, self.margin).snapped(self.size)

    def around_joints(self, joints: Floats) -> CropBox:
        """The crop around (J, 2) joints in source pixels and what reaches beyond them."""
        low, high = joints.min(axis=0), joints.max(axis=0)
        reach = REACH * (high - low).max()
        return self.around(low - reach, high + reach)


@dataclass(frozen=True)
class Camera:
    """Focal length and principal point (fx, fy), (cx, cy) in source pixels."""

    focal: tuple[float, float]
    principal: tuple[float, float]


@dataclass(frozen=True)
class Shot:
    """One frame of a recording.

    Attributes:
        frame: number of the frame, from 0.
        box: the crop, snapped.
        joints_2d: (J, 2) source pixels.
        source_size: width and height of the source image.
        joints_3d_mm: (J, 3) mm, camera frame, where known.
        camera: where known.
        image: (H, W, 3) BGR. Without one the shot is an unpaired pose of the prior.
        mask: (H, W), above ``mask_level`` on the body.
        activity: where it is not the whole recording's.
    """

    frame: int
    box: CropBox
    joints_2d: Floats
    source_size: tuple[int, int]
    joints_3d_mm: Floats | None = None
    camera: Camera | None = None
    image: ImageArray | None = None
    mask: Mask | None = None
    mask_level: int = 0
    activity: str = ""


@dataclass(frozen=True)
class Skipped:
    """Frames that a recording does not give, and why."""

    frames: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Recording(ABC):
    """A continuous recording of one camera. Small and picklable: a worker process reads it.

    Attributes:
        split: ``train`` or ``test``.
        clip: name of the clip, unique over persons, shared by the cameras that saw it.
        crop: how the body is cut out.
        person: name of the person; empty where unknown, as are camera and activity.
        camera: name of the camera.
        activity: name of the activity.
    """

    split: str
    clip: str
    crop: Crop
    person: str = ""
    camera: str = ""
    activity: str = ""

    @property
    def name(self) -> str:
        """Name for people: clip and camera."""
        return f"{self.clip} {self.camera}".strip()

    @property
    @abstractmethod
    def files(self) -> tuple[Path, ...]:
        """All files it is read from."""

    @abstractmethod
    def shots(self) -> Iterator[Shot | Skipped]:
        """The shots in temporal order, one at a time in memory.

        Raises:
            InputError: a file is missing or broken.
        """


def part_frames(count: int, every: int, prior: float) -> tuple[range, range]:
    """Frames of a training clip that give images, and those after them that give poses.

    Args:
        count: frames of the clip.
        every: keep every n-th.
        prior: share of the clip, its end, that gives 2D poses and no image.
    """
    first = round(count * (1 - prior))
    return range(0, first, every), range(first, count, every)


def finite_frames(*poses: Floats | None) -> NDArray[np.bool_]:
    """(F,) whether all coordinates of a frame are finite, over several (F, ...) arrays."""
    known = [array.reshape(len(array), -1) for array in poses if array is not None]
    finite: NDArray[np.bool_] = np.logical_and.reduce(
        [np.isfinite(array).all(axis=1) for array in known]
    )
    return finite


def check_root(option: str, root: str) -> Path:
    """The folder that an option names; InputError where it is not set or not found."""
    if not root:
        raise InputError(f"{option}: not set; name the folder of the data set (docs/datasets.md)")
    if not Path(root).is_dir():
        raise InputError(f"{root}: not found; set {option} to the folder of the data set")
    return Path(root)
