"""A small network that marks a person who fills a square; see ``weights/segmenter``."""

import threading
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from skelift.data.crop import CropBox
from skelift.data.images import ImageArray
from skelift.weights import SEGMENTER

SIDE = 256  # of what the network sees
Confidence = NDArray[np.float32]  # 0: background for certain, 1: a person for certain

# OpenCV's networks keep a state while they run: one per thread.
_local = threading.local()
# Its reader has a state that all threads share: two at once hang, or fail.
_reading = threading.Lock()


def confidence(image: ImageArray, square: CropBox, mirrored: bool = False) -> Confidence:
    """(SIDE, SIDE) confidence that each part of a square of an (H, W, 3) image shows a person."""
    turn = -1 if mirrored else 1
    pixels = square.cut(image, SIDE)[:, ::turn].astype(np.float32) / 255
    network = _network()
    network.setInput(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]))
    seen: Confidence = network.forward()[0, 0, :, ::turn].copy()
    return seen


def placed(
    values: NDArray[Any], square: CropBox, onto: CropBox, width: int, height: int
) -> NDArray[Any]:
    """Values of a square, resampled to (height, width) pixels; 0 outside of the square.

    ``onto`` is the square of the image of which these pixels are the upper left part, with
    ``max(width, height)`` pixels per side.
    """
    per_pixel = max(width, height) / onto.side
    scale = square.side / len(values) * per_pixel
    # cv2 counts from pixel centres, the project from edges: hence the halves.
    x, y = (
        (centre - square.side / 2 - other + onto.side / 2) * per_pixel + scale / 2 - 0.5
        for centre, other in ((square.x, onto.x), (square.y, onto.y))
    )
    to_pixels = np.array([[scale, 0, x], [0, scale, y]])
    return cv2.warpAffine(values, to_pixels, (width, height), flags=cv2.INTER_LINEAR)


def _network() -> Any:
    if not hasattr(_local, "network"):
        with _reading:
            _local.network = cv2.dnn.readNetFromTFLite(str(SEGMENTER))
    return _local.network
