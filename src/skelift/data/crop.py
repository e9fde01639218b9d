"""The square crop around a body, and the way back from its pixels to the camera.

Lifting in crop units costs some 30 mm of P-MPJPE, since a tight crop scales every pose
differently. So every sample keeps its crop box, and 2D poses are mapped back through it.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from skelift.data.images import binary
from skelift.errors import InputError


@dataclass(frozen=True)
class CropBox:
    """A square of the source image: centre and side in source pixels."""

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
        x, y, width, height = cv2.boundingRect(binary(mask))
        if not width:
            raise InputError("the mask is empty; give one that marks the body with 255")
        low = np.array([x, y], dtype=np.float64)
        return cls.around(low, low + np.array([width, height]), margin)

    def as_array(self) -> NDArray[np.float32]:
        """(3,) x, y, side: the ``crop`` field of a SAMPLE record."""
        return np.array([self.x, self.y, self.side], dtype=np.float32)

    def snapped(self, size: int) -> "CropBox":
        """The box a little enlarged onto whole pixels, so that ``cut_body`` need not interpolate.

        Its side can be halved as often as ``cut_body`` halves it on the way to ``size``.
        """
        factor = 1
        while self.side >= 2 * factor * size:
            factor *= 2
        side = int(np.ceil(self.side / factor)) * factor
        left, top = round(self.x - side / 2), round(self.y - side / 2)
        return CropBox(left + side / 2, top + side / 2, side)

    def window(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The (side, side[, C]) pixels of a snapped box; outside of the image they are black."""
        side = int(self.side)
        left, top = int(self.x - self.side / 2), int(self.y - self.side / 2)
        inside = image[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)]
        if inside.shape[:2] == (side, side):
            return inside
        padded = np.zeros((side, side, *image.shape[2:]), dtype=np.uint8)
        if inside.size:
            y, x = max(-top, 0), max(-left, 0)
            padded[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
        return padded

    def fine(self, size: int) -> int:
        """Side of the square that is sampled first, a multiple of ``size``: no pixel is missed."""
        return size * int(np.ceil(max(1 / (size / self.side), 1)))

    def cut(self, image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
        """Resample the square to (size, size[, C]); outside of the image it is black.

        Shrinking averages over the covered area, so that thin limbs survive.
        """
        fine = self.fine(size)
        scale = fine / self.side
        # cv2 counts from pixel centres, the project from edges: hence the halves.
        x, y = ((0.5 - centre) * scale + fine / 2 - 0.5 for centre in (self.x, self.y))
        to_crop = np.array([[scale, 0, x], [0, scale, y]])
        square = cv2.warpAffine(image, to_crop, (fine, fine), flags=cv2.INTER_LINEAR)
        if fine > size:
            square = cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA)
        return square  # type: ignore[return-value]


def cut_body(
    image: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    box: CropBox,
    size: int,
    level: int = 0,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Cut the body out and shrink it: what ``cut`` does, as fast as a video is decoded.

    Args:
        image: (H, W, C) of the source.
        mask: (H, W), above ``level`` on the body; any strides.
        box: a snapped box.
        size: side of the results: the body on black (size, size, C), and its mask (size, size).
        level: see ``mask``.
    """
    window = np.ascontiguousarray(box.window(mask))
    body = np.asarray(cv2.compare(window, level, cv2.CMP_GT), dtype=np.uint8)  # type: ignore[call-overload]
    region = np.asarray(cv2.copyTo(box.window(image), body), dtype=np.uint8)
    return _shrink(region, size), _shrink(body, size)


def _shrink(region: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Area average to (size, size): by halves, at which OpenCV is quickest, then the rest."""
    while len(region) >= 2 * size:
        side = len(region) // 2
        region = cv2.resize(region, (side, side), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    if len(region) == size:
        return region
    # Less than two to one: the four neighbours cover all there is.
    return cv2.resize(region, (size, size), interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]


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
