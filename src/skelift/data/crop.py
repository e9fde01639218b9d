"""The square crop around a body, and the way back from its pixels to the camera.

Lifting in crop units costs some 30 mm of P-MPJPE, since a tight crop scales every pose
differently. So every sample keeps its crop box, and 2D poses are mapped back through it.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from skelift.errors import InputError


@dataclass(frozen=True)
class CropBox:
    """A square of the source picture: centre and side in source pixels."""

    x: float
    y: float
    side: float

    @classmethod
    def around(
        cls, low: NDArray[np.floating], high: NDArray[np.floating], margin: float
    ) -> "CropBox":
        """Square centred on the box (low, high), each (2,) source pixels, with a free margin."""
        centre = (low + high) / 2
        return cls(float(centre[0]), float(centre[1]), float((high - low).max() * (1 + margin)))

    @classmethod
    def around_mask(cls, mask: NDArray[np.uint8], margin: float) -> "CropBox":
        """Square around the pixels above 127 of an (H, W) mask; InputError when there are none."""
        rows, columns = np.nonzero(mask > 127)
        if not len(rows):
            raise InputError("the mask is empty; give one that marks the body with 255")
        low = np.array([columns.min(), rows.min()], dtype=np.float64)
        high = np.array([columns.max() + 1, rows.max() + 1], dtype=np.float64)
        return cls.around(low, high, margin)

    def as_array(self) -> NDArray[np.float32]:
        """(3,) x, y, side: the ``crop`` field of a SAMPLE record."""
        return np.array([self.x, self.y, self.side], dtype=np.float32)

    def cut(self, picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
        """Resample the square to (size, size[, C]); outside of the picture it is black.

        Shrinking averages over the covered area, so that thin limbs survive.
        """
        scale = size / self.side
        if scale < 1:
            factor = int(np.ceil(1 / scale))
            fine = self.cut_exact(picture, size * factor)
            return cv2.resize(fine, (size, size), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]
        return self.cut_exact(picture, size)

    def cut_exact(self, picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
        """Bilinear resampling of the square to (size, size[, C])."""
        scale = size / self.side
        # cv2 counts from pixel centres, the project from edges: hence the halves.
        to_crop = np.array(
            [
                [scale, 0, (0.5 - self.x) * scale + size / 2 - 0.5],
                [0, scale, (0.5 - self.y) * scale + size / 2 - 0.5],
            ]
        )
        return cv2.warpAffine(picture, to_crop, (size, size), flags=cv2.INTER_LINEAR)  # type: ignore[return-value]


def to_crop(
    points: NDArray[np.floating], crop: NDArray[np.floating], size: int
) -> NDArray[np.floating]:
    """Source pixels -> crop pixels. points (..., J, 2), crop (..., 3)."""
    centre, side = crop[..., None, :2], crop[..., None, 2:]
    cropped: NDArray[np.floating] = ((points - centre) / side + 0.5) * size
    return cropped


def to_source(
    points: NDArray[np.floating], crop: NDArray[np.floating], size: int
) -> NDArray[np.floating]:
    """Crop pixels -> source pixels. points (..., J, 2), crop (..., 3)."""
    centre, side = crop[..., None, :2], crop[..., None, 2:]
    source: NDArray[np.floating] = (points / size - 0.5) * side + centre
    return source
