"""What every loader yields: recordings, and the shots in them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from skelift.config import Config, SourceConfig
from skelift.data.crop import CropBox
from skelift.data.images import ImageArray, Mask, read_image
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
    """One frame of a recording, with what is known of it."""

    frame: int  # from 0
    box: CropBox  # snapped
    joints_2d: Floats  # (J, 2) source pixels
    source_size: tuple[int, int]  # width and height of the source image
    joints_3d_mm: Floats | None = None  # (J, 3) mm, camera frame
    camera: Camera | None = None
    image: ImageArray | None = None  # (H, W, 3) BGR; None: an unpaired pose of the prior
    mask: Mask | None = None  # (H, W), above mask_level on the body
    mask_level: int = 0
    activity: str = ""  # where it is not the whole recording's


@dataclass(frozen=True)
class Skipped:
    """Frames that a recording does not give, and why; 0 frames are no matter."""

    frames: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Recording(ABC):
    """A continuous recording of one camera. Small and picklable: a worker process reads it."""

    split: str  # train or test
    clip: str  # unique over persons, shared by the cameras that saw it
    crop: Crop
    person: str = ""  # empty where unknown, as are camera and activity
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
        """The shots, one at a time in memory; InputError where a file is missing or broken."""


def part_frames(count: int, every: int, prior: float) -> tuple[range, range]:
    """Every n-th frame of a clip: those that give images, then those that give only poses.

    ``prior`` is the share of the clip, its end, that gives 2D poses and no image.
    """
    first = round(count * (1 - prior))
    return range(0, first, every), range(first, count, every)


def open_root(config: Config, section: str, skeleton: str, joints: int) -> tuple[Path, Crop]:
    """Folder and crop of a source; InputError where its root or its skeleton does not fit."""
    source: SourceConfig = getattr(config.data, section)
    option, root = f"data.{section}.root", Path(source.root)
    if len(config.body) != joints:
        raise InputError(
            f"skeleton={config.body.name}: {section} uses {skeleton}; set skeleton={skeleton}"
        )
    if not source.root:
        raise InputError(f"{option}: not set; name the folder of the data set (docs/datasets.md)")
    if not root.is_dir():
        raise InputError(f"{root}: not found; set {option} to the folder of the data set")
    return root, Crop(config.data.size, config.data.margin)


def read_bgr(path: Path) -> ImageArray:
    """An image as videos are decoded: (H, W, 3) uint8 BGR."""
    return swap_channels(read_image(path))


def swap_channels(image: ImageArray) -> ImageArray:
    """RGB -> BGR, and back."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), dtype=np.uint8)


@contextmanager
def reading(path: Path, form: str) -> Iterator[None]:
    """InputError for whatever goes wrong while a file is read as ``form``."""
    try:
        yield
    except ImportError as error:
        raise InputError(
            f"{path}: reading it needs {error.name}; install it with: "
            "pip install 'skelift[datasets]'"
        ) from None
    except FileNotFoundError:
        raise InputError(f"{path}: not found; unpack the archive that holds it") from None
    except Exception as error:  # parsers meet a broken file with whatever they ran into
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{path}: cannot be read as {form} ({reason}); it is truncated or of another form, "
            "unpack its archive again"
        ) from None
