"""The body in front of a static camera: who moves is cut out, what rests is background.

Images are (H, W, 3) uint8 RGB, masks (H, W) uint8 with 255 on the body. The work is done on
images of at most ``WORK_SIDE`` pixels per side; a crop of a body is smaller still.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from skelift.data.images import ImageArray, Mask, binary, filled

WORK_SIDE = 480
SAMPLES = 32  # frames that a background is learned from, spread over the clip
CUT_SIDE = 240  # longer side of the single images that `cut_out` works on: servers are in a hurry

# Distances between colours: the largest difference over the channels, of 255.
NOISE = 9  # up to here a pixel surely shows the background ...
CHANGE = 18  # ... and from here on it probably does not
STRONG_CHANGE = 40  # a moving body changes at least some pixel by so much
# A pixel surely shows the body from here on: first never, since the background is a guess as yet,
# then with caution, in the end nearly wherever the background is known.
CERTAIN_CHANGE = (256, 54, 54, 27)

SMALLEST_BODY = 0.001  # of the image's pixels
GAP = 20  # parts of one body are no further apart, in pixels


class Background(ABC):
    """A learned static background."""

    source: ClassVar[str]  # what an answer calls its masks

    def mask(self, image: ImageArray) -> Mask:
        """Mask of the body in an image of the same camera; all 0 where nobody is in sight."""
        return enlarge(clean(self._find(shrink(image))), image)

    @abstractmethod
    def _find(self, image: ImageArray) -> Mask:
        """The body with its cracks and specks."""


class MedianBackground(Background):
    """Per-pixel median over time of the frames that show the background there.

    A body that hardly leaves its place is part of a plain median. So the median starts outside
    of a generous hull around what changes, the bodies are cut out with it, and the median is
    taken again over the pixels that they leave free; after some rounds the background is seen
    nearly everywhere. Where it never is, GrabCut decides from colour and edges.

    Args:
        frames: images of one camera and one size, spread over the clip.
        threads: how many of them are worked on at the same time.
    """

    source = "median"

    def __init__(self, frames: Iterable[ImageArray], threads: int = 1) -> None:
        stack = np.stack([shrink(frame) for frame in frames])
        self._median = np.median(stack, axis=0).astype(np.float32)
        hulls = np.stack([self._hull(frame) for frame in stack])
        self._learn(stack, grow(hulls, 4))
        with ThreadPoolExecutor(threads) as pool:
            for certain in CERTAIN_CHANGE[:-1]:
                found = pool.map(partial(self._cut, certain=certain), stack, hulls)
                bodies = np.stack([_largest_part(mask, gap=0) for mask in found])
                self._learn(stack, grow(bodies, 3))

    def _find(self, image: ImageArray) -> Mask:
        return self._cut(image, self._hull(image), CERTAIN_CHANGE[-1])

    def _learn(self, stack: NDArray[np.uint8], covered: NDArray[np.uint8]) -> None:
        """Median of the (T, h, w, 3) frames where ``covered`` (T, h, w) is 0, and its trust."""
        free = np.ma.MaskedArray(stack, np.broadcast_to(covered[..., None] > 0, stack.shape))
        median = np.ma.median(free, axis=0)  # type: ignore[no-untyped-call]
        self._background = median.filled(0).astype(np.float32)
        seen = np.count_nonzero(covered == 0, axis=0)
        differs = distance(stack, self._background) > CHANGE
        disagreeing = np.count_nonzero(differs & (covered == 0), axis=0)
        # A limb that rests for most of the clip is betrayed by the frames in which it is away.
        self._known = (seen >= max(2, len(stack) // 20)) & (disagreeing <= 0.15 * seen)

    def _hull(self, frame: ImageArray) -> Mask:
        """Convex hull of the changes against the plain median: the body and more."""
        change = cv2.GaussianBlur(distance(frame, self._median), (3, 3), 0)
        moving = _connected(change > 12, change > STRONG_CHANGE)
        return _convex_hull(_large_parts(_opened(moving), gap=12, share=0.1))

    def _cut(self, frame: ImageArray, hull: Mask, certain: int) -> Mask:
        """GrabCut inside the grown hull, with the pixels that the background explains given."""
        inside = grow(hull[None], 16)[0] > 0
        if not inside.any():
            return np.zeros_like(hull)
        change = cv2.GaussianBlur(distance(frame, self._background), (3, 3), 0)
        labels = np.full(hull.shape, cv2.GC_PR_FGD, dtype=np.uint8)
        labels[self._known & (change <= CHANGE)] = cv2.GC_PR_BGD
        labels[self._known & (change <= NOISE)] = cv2.GC_BGD
        labels[self._known & (change > certain)] = cv2.GC_FGD
        labels[~inside] = cv2.GC_BGD
        return grab_cut(frame, labels, inside)


class SubtractorBackground(Background):
    """OpenCV's Gaussian-mixture subtractor (MOG2), fitted to sample frames and then frozen.

    Quicker than ``MedianBackground`` and good enough for bodies that walk through the image.
    """

    source = "subtractor"

    def __init__(self, frames: Iterable[ImageArray]) -> None:
        self._subtractor = cv2.createBackgroundSubtractorMOG2(
            history=SAMPLES, varThreshold=25, detectShadows=True
        )
        # Of a pixel's colours only the most frequent is background: a body in few of the sample
        # frames would otherwise count as one more.
        self._subtractor.setBackgroundRatio(0.5)
        for frame in frames:
            self._subtractor.apply(shrink(frame))

    def _find(self, image: ImageArray) -> Mask:
        # Shadows come as 127 and count as background.
        return binary(np.asarray(self._subtractor.apply(image, learningRate=0), dtype=np.uint8))


def shrink(image: ImageArray, side: int = WORK_SIDE) -> ImageArray:
    """The image with at most ``side`` pixels per side."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def enlarge(mask: Mask, like: ImageArray) -> Mask:
    """The mask of a shrunk image in the size of the image ``like``."""
    height, width = like.shape[:2]
    return binary(np.asarray(cv2.resize(mask, (width, height)), dtype=np.uint8))


def distance(frames: NDArray[np.uint8], background: NDArray[np.float32]) -> NDArray[np.float32]:
    """Largest difference over the channels: (..., h, w, 3) and (h, w, 3) -> (..., h, w)."""
    distance: NDArray[np.float32] = np.abs(frames - background).max(axis=-1)
    return distance


def _disc(like: Mask, pixels: float) -> NDArray[np.uint8]:
    """Disc of a radius given in pixels of an image with ``WORK_SIDE``, scaled to this one."""
    size = 2 * max(1, round(pixels * max(like.shape) / WORK_SIDE)) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))  # type: ignore[return-value]


def grow(masks: NDArray[np.uint8], radius: int) -> NDArray[np.uint8]:
    """(N, h, w) masks, grown by pixels of an image with ``WORK_SIDE``."""
    return np.stack([cv2.dilate(mask, _disc(mask, radius)) for mask in masks])


def _opened(mask: Mask) -> Mask:
    return cv2.morphologyEx(mask, cv2.MORPH_OPEN, _disc(mask, 1))  # type: ignore[return-value]


def _connected(weak: NDArray[np.bool_], strong: NDArray[np.bool_]) -> Mask:
    """The connected parts of ``weak`` that hold a ``strong`` pixel (hysteresis threshold)."""
    _, labels = cv2.connectedComponents(weak.astype(np.uint8))
    return _select(np.asarray(labels), np.unique(labels[strong & weak]))


def _parts(mask: Mask, gap: int) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """Label of each pixel's part, parts up to ``gap`` pixels apart being one; area of each."""
    _, labels = cv2.connectedComponents(cv2.dilate(mask, _disc(mask, gap / 2)) if gap else mask)
    parts: NDArray[np.int32] = np.where(mask > 0, labels, 0).astype(np.int32)
    area = np.bincount(parts.ravel())
    area[0] = 0  # the background's
    return parts, area


def _large_parts(mask: Mask, gap: int, share: float) -> Mask:
    """The parts with at least ``share`` of the largest one's area."""
    labels, area = _parts(mask, gap)
    return _select(labels, np.flatnonzero(area >= max(1, share * area.max())))


def _largest_part(mask: Mask, gap: int) -> Mask:
    labels, area = _parts(mask, gap)
    return _select(labels, area.argmax()) if area.any() else mask


def _select(labels: NDArray[np.int32], chosen: NDArray[np.integer] | np.integer) -> Mask:
    return np.isin(labels, chosen).astype(np.uint8) * np.uint8(255)


def _convex_hull(mask: Mask) -> Mask:
    points = cv2.findNonZero(mask)
    hull = np.zeros_like(mask)
    if points is not None:
        cv2.fillConvexPoly(hull, cv2.convexHull(points), 255)
    return hull


def grab_cut(frame: ImageArray, labels: NDArray[np.uint8], inside: NDArray[np.bool_]) -> Mask:
    """GrabCut (Rother et al. 2004) in the box around ``inside``; labels are cv2.GC_*."""
    x, y, width, height = cv2.boundingRect(inside.astype(np.uint8))
    border = 8  # some certain background for its colours
    box = (
        slice(max(y - border, 0), y + height + border),
        slice(max(x - border, 0), x + width + border),
    )
    part = np.ascontiguousarray(labels[box])
    body = np.zeros_like(labels)
    foreground = np.isin(part, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if foreground.any() and not foreground.all():
        colours = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.setRNGSeed(0)  # its k-means draws from OpenCV's global generator
        image = np.ascontiguousarray(frame[box])
        cv2.grabCut(image, part, None, *colours, 2, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
        body[box] = np.isin(part, (cv2.GC_FGD, cv2.GC_PR_FGD)) * np.uint8(255)
    return _opened(body)


def clean(body: Mask) -> Mask:
    """Close cracks, drop specks, fill small holes; all 0 when less than a body is left."""
    closed = cv2.morphologyEx(body, cv2.MORPH_CLOSE, _disc(body, 2))
    parts = _large_parts(np.asarray(closed, dtype=np.uint8), gap=0, share=0.02)
    solid = filled(_largest_part(parts, GAP))
    return solid if np.count_nonzero(solid) >= SMALLEST_BODY * solid.size else np.zeros_like(solid)


def cut_out(image: ImageArray, low: tuple[float, float], high: tuple[float, float]) -> Mask:
    """Mask of what stands in a box of one image, by GrabCut from its colours.

    The box goes from ``low`` to ``high``, each x, y in pixels; outside of it is background for
    certain. A body coloured like what is behind it comes out with holes.
    """
    small = shrink(image, CUT_SIDE)
    scale = max(small.shape) / max(image.shape)
    inside = np.zeros(small.shape[:2], dtype=bool)
    left, top = (max(int(value * scale), 0) for value in low)
    right, bottom = (max(int(np.ceil(value * scale)), 0) for value in high)
    inside[top:bottom, left:right] = True
    labels = np.where(inside, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    if not inside.any() or inside.all():
        return np.zeros(image.shape[:2], dtype=np.uint8)
    return enlarge(clean(grab_cut(small, labels, inside)), image)
