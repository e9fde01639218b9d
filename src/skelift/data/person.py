"""The person in an ordinary photo or before a static camera, by a small segmentation network.

The network is made for a person who fills a square. So the person is found coarsely, by squares of
several sizes all over the image, and then looked at again in ever better squares; the image is
stretched so that a narrow person fills them too. Where the camera is static, what the frames tell
of the background decides with it: the network knows feet that rest, the background knows hands that
move.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from numpy.typing import NDArray

from skelift.data.background import (
    CHANGE,
    NOISE,
    MedianBackground,
    clean,
    distance,
    enlarge,
    grab_cut,
    grow,
    shrink,
)
from skelift.data.crop import CropBox
from skelift.data.images import ImageArray, Mask
from skelift.data.segmenter import SIDE, Confidence, confidence, placed

Corners = tuple[NDArray[np.float64], NDArray[np.float64]]  # of a box, (2,) pixels each

LARGEST = 1024  # pixels of the longer side of the images that a static camera's work is done on
SHARES = (1.0, 0.7, 0.45)  # of the shorter side: sides of the squares that are searched
STEP = 0.55  # from one square to the next, of their side
MARGINS = (0.0, 0.2)  # free space around the body in the squares that are looked at last
SURE, POSSIBLE = 0.5, 0.3  # confidence
CANDIDATES = 3  # of the search that are looked at more closely
STRETCH = 1.6  # at most, of what is narrow
# The upper, left and right half of a square: their centres' offsets and their side, of its side,
# and how much they count. They show arms in more detail; legs alone are taken for nobody.
HALVES, HALF, HALF_WEIGHT = ((0, -0.25), (-0.25, 0), (0.25, 0)), 0.62, 0.5
SEARCHED = 8  # frames in which the whole person is looked for, to know how large a person is
PART = 0.7  # of a person's side: what moves and is smaller is only a part, as a hand is
STATIC = 0.6  # share of the edges that look alike in most frames of a static camera


class Person:
    """The person in single images.

    ``box`` are opposite corners of a box around the person, if it is known.
    """

    source = "person"

    def __init__(self, box: Corners | None = None) -> None:
        self._box = box

    def mask(self, image: ImageArray) -> Mask:
        """(H, W) mask of the largest person, 255 on the body; all 0 where nobody is found."""
        large = shrink(image, LARGEST)
        body = self._first_look(large, max(large.shape) / max(image.shape))
        for halves in (False, True):
            body = look_again(large, body, halves) if body.any() else body
        body = enlarge(body, image)
        return body if self._box is None else _inside(body, self._box)

    def _first_look(self, image: ImageArray, scale: float) -> Mask:
        """(H, W) coarse mask; the box, where it is known, times ``scale``."""
        if self._box is not None:
            everywhere = np.full(image.shape[:2], 255, np.uint8)
            return _inside(everywhere, (self._box[0] * scale, self._box[1] * scale))
        square = _find_whole(image)
        if square is None:
            return np.zeros(image.shape[:2], np.uint8)
        frame = _widened(square, MARGINS[-1])
        seen = clean(_above(look(image, square, frame, SIDE, SIDE), SURE))
        return enlarge(placed(seen, frame, _whole(image), *image.shape[1::-1]), image)


class StaticPerson(MedianBackground):
    """The person before a static camera, by network and background together.

    Args:
        frames: images of one camera and one size, spread over the clip.
        threads: how many of them are worked on at the same time.
    """

    source = "person and static background"

    def __init__(self, frames: Iterable[ImageArray], threads: int = 1) -> None:
        kept = [shrink(frame, LARGEST) for frame in frames]
        super().__init__(kept, threads)
        with ThreadPoolExecutor(threads) as pool:
            # A body that rests is no part of what moves: how large is a person here?
            some = kept[:: -(-len(kept) // SEARCHED)]
            found = [square.side for square in pool.map(_find_whole, some) if square]
            self._usual_side = float(np.median(found)) if found else 0.0
            covered = np.stack(list(pool.map(self._covered, kept)))
        self._learn(np.stack([shrink(frame) for frame in kept]), covered)

    def mask(self, image: ImageArray) -> Mask:
        """Mask of the person in an image of the same camera; all 0 where nobody is in sight."""
        large = shrink(image, LARGEST)
        small = shrink(large)  # as the background was learned: one step less rounds differently
        moving, seen = self._look(large)
        raw = distance(small, self._background)
        change = np.asarray(cv2.GaussianBlur(raw, (3, 3), 0), dtype=np.float32)
        labels = self._labels(change, seen, grow(moving[None], 4)[0] > 0)
        return enlarge(clean(grab_cut(small, labels, labels != cv2.GC_BGD)), image)

    def _covered(self, image: ImageArray) -> NDArray[np.uint8]:
        """Where the body may be: no background is learned there."""
        moving, seen = self._look(image)
        return grow(np.maximum(moving, _above(seen, POSSIBLE))[None], 3)[0]

    def _look(self, image: ImageArray) -> tuple[Mask, Confidence]:
        """What differs from the background, and what the network sees there: (h, w) each."""
        small = shrink(image)
        height, width = small.shape[:2]
        moving = clean(self._find(small))
        per_pixel = max(image.shape) / max(small.shape)
        square = self._square(image, moving, per_pixel)
        if square is None:
            return moving, np.zeros((height, width), np.float32)
        # What moves may lack the feet.
        whole, frame = _whole(image), _widened(square, 0.3)
        body = clean(_above(confidence(image, frame), SURE))
        both = np.maximum(moving, placed(body, frame, whole, width, height))
        if not both.any():  # what looked like somebody from afar is nobody
            return moving, np.zeros((height, width), np.float32)
        return moving, look(image, _square_around(both, per_pixel), whole, width, height)

    def _square(self, image: ImageArray, moving: Mask, per_pixel: float) -> CropBox | None:
        """The square around what moves, and around the person of whom only a part moves.

        Where that part is nowhere near the person, it is somebody else, or nobody.
        """
        if not moving.any():
            return _find_whole(image)
        square = _square_around(moving, per_pixel)
        if square.side >= PART * self._usual_side:
            return square
        person = _find_whole(image)
        if person is None:
            return square
        if _touch(person, square):
            return _around(person, square)
        somebody, _ = _judged(image, _widened(square, 0.3))
        return square if somebody else person

    def _labels(
        self, change: NDArray[np.floating], seen: Confidence, near: NDArray[np.bool_]
    ) -> NDArray[np.uint8]:
        """GrabCut's labels from both; ``near`` is around what moves."""
        labels = np.where(seen > SURE, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        labels[seen > 0.95] = cv2.GC_FGD
        labels[seen < 0.02] = cv2.GC_BGD
        labels[~self._known & (seen > 0.7)] = cv2.GC_FGD  # colours alone know less than the network
        labels[~self._known & (seen < 0.3)] = cv2.GC_BGD
        alike = self._known & (change <= CHANGE)
        labels[alike & (seen < SURE)] = cv2.GC_BGD
        labels[alike & (seen >= SURE)] = cv2.GC_PR_BGD
        labels[alike & (seen > 0.9)] = cv2.GC_PR_FGD
        labels[self._known & (change <= NOISE) & (seen < 0.9)] = cv2.GC_BGD
        differs = self._known & (change > 1.5 * CHANGE)
        labels[differs & (seen > 0.05)] = cv2.GC_FGD
        labels[differs & (seen <= 0.05) & near] = cv2.GC_PR_FGD
        labels[differs & (change > 3 * CHANGE) & near] = cv2.GC_FGD
        return labels


def is_static(frames: Iterable[ImageArray]) -> bool:
    """Whether images, spread over a clip, show one background: one size, and most of it alike.

    Only what has edges counts: plain walls look alike from everywhere.
    """
    sized = [(frame.shape, shrink(frame, SIDE)) for frame in frames]
    small = [frame for _, frame in sized]
    if len({shape for shape, _ in sized}) != 1:
        return False
    stack = np.stack(small)
    alike = distance(stack, np.median(stack, axis=0).astype(np.float32)) <= CHANGE
    cross = np.ones((3, 3), np.uint8)
    ranges = (cv2.morphologyEx(frame, cv2.MORPH_GRADIENT, cross).max(axis=-1) for frame in small)
    edges = np.stack([spread > 2 * CHANGE for spread in ranges])
    shares = (alike & edges).sum(axis=(1, 2)) / np.maximum(edges.sum(axis=(1, 2)), 1)
    return bool(np.median(shares) >= STATIC)


def look(image: ImageArray, square: CropBox, onto: CropBox, width: int, height: int) -> Confidence:
    """Confidence in the person who fills a square: the mean of several looks, mirrored too.

    See ``placed`` for the last three arguments.
    """
    views = [
        placed(confidence(image, wide, mirrored), wide, onto, width, height)
        for wide in (_widened(square, margin) for margin in MARGINS)
        for mirrored in (False, True)
    ]
    mean: Confidence = np.mean(views, axis=0, dtype=np.float32)
    return mean


def look_again(image: ImageArray, body: Mask, halves: bool) -> Mask:
    """The person whom an (H, W) mask shows, by a square that the body fills in both directions.

    Most people are narrow, and the network knows stretched ones. ``halves`` are looked at by
    themselves, too.
    """
    stretched = _stretched(image, body)
    square = _square_around(enlarge(body, stretched), 1)
    frame = _widened(square, 0.3)
    views = [(_widened(square, margin), 1.0) for margin in MARGINS]
    if halves:
        views += [(_part(square, x, y), HALF_WEIGHT) for x, y in HALVES]
    seen = clean(_above(_weighted_look(stretched, views, frame), SURE))
    whole, (width, height) = _whole(stretched), stretched.shape[1::-1]
    return enlarge(placed(seen, frame, whole, width, height), image)


def _weighted_look(
    image: ImageArray, views: Sequence[tuple[CropBox, float]], onto: CropBox
) -> Confidence:
    """(SIDE, SIDE) weighted mean of the views, mirrored too, that show each pixel of a square."""
    total, weights = np.zeros((2, SIDE, SIDE), np.float32)
    for square, weight in views:
        seen = confidence(image, square) + confidence(image, square, mirrored=True)
        total += weight / 2 * placed(seen, square, onto, SIDE, SIDE)
        weights += weight * placed(np.ones_like(seen), square, onto, SIDE, SIDE)
    mean: Confidence = np.divide(total, np.maximum(weights, HALF_WEIGHT), dtype=np.float32)
    return mean


def _stretched(image: ImageArray, body: Mask) -> ImageArray:
    """The image as much wider or higher as makes its body square, up to ``STRETCH``."""
    _, _, width, height = cv2.boundingRect(body)
    wider, higher = (min(max(ratio, 1), STRETCH) for ratio in (height / width, width / height))
    size = round(image.shape[1] * wider), round(image.shape[0] * higher)
    return cv2.resize(image, size)  # type: ignore[return-value]


def find_person(image: ImageArray) -> CropBox | None:
    """The square around the largest person in an image; None where nobody is found."""
    found = [(*_judged(image, square), square) for square in _squares(*image.shape[1::-1])]
    best = sorted(found, key=lambda each: -each[0])[:CANDIDATES]
    closer = [_judged(image, _widened(tight, 0.2)) for score, tight, _ in best if score and tight]
    score, square = max(closer, key=lambda each: each[0], default=(0.0, None))
    return square if score else None


def _judged(image: ImageArray, square: CropBox) -> tuple[float, CropBox | None]:
    """How large and how clear the person in a square is, and the square around."""
    seen = confidence(image, square)
    body = clean(_above(seen, SURE))
    if not body.any():
        return 0.0, None
    clear = np.count_nonzero(seen > 0.8) / np.count_nonzero(seen > 0.2)
    tight = _square_around(body, square.side / SIDE)
    corner = square.x - square.side / 2, square.y - square.side / 2
    tight = CropBox(tight.x + corner[0], tight.y + corner[1], tight.side)
    return float(seen[body > 0].sum()) * (square.side / SIDE) ** 2 * clear**2, tight


def _tightened(image: ImageArray, square: CropBox) -> CropBox | None:
    """A square that fits the person better."""
    for margin in (0.3, 0.2):
        _, tight = _judged(image, _widened(square, margin))
        if tight is None:
            return None
        square = tight
    return square


def _find_whole(image: ImageArray) -> CropBox | None:
    """``find_person``, looked at more closely: what is found from afar may lack head and feet."""
    square = find_person(image)
    return square and _tightened(image, square)


def _squares(width: int, height: int) -> Iterator[CropBox]:
    """Overlapping squares of several sizes all over an image, and one around it."""
    yield CropBox(width / 2, height / 2, max(width, height))
    for share in SHARES:
        side = share * min(width, height)
        counts = (1 + int(np.ceil((length - side) / (STEP * side))) for length in (width, height))
        columns, rows = (
            np.linspace(side / 2, length - side / 2, count)
            for length, count in zip((width, height), counts, strict=True)
        )
        yield from (CropBox(float(x), float(y), side) for y in rows for x in columns)


def _square_around(mask: Mask, per_pixel: float) -> CropBox:
    """The square around a mask whose pixels are ``per_pixel`` of the image's."""
    return _scaled(CropBox.around_mask(mask, margin=0), per_pixel)


def _whole(image: ImageArray) -> CropBox:
    """The square whose upper left part is the image."""
    side = float(max(image.shape))
    return CropBox(side / 2, side / 2, side)


def _touch(one: CropBox, other: CropBox) -> bool:
    apart = max(abs(one.x - other.x), abs(one.y - other.y))
    return apart <= (one.side + other.side) / 2


def _around(one: CropBox, other: CropBox) -> CropBox:
    """The square around two squares."""
    lows, highs = zip(_corners(one), _corners(other), strict=True)
    return CropBox.around(np.minimum(*lows), np.maximum(*highs), margin=0)


def _corners(square: CropBox) -> Corners:
    centre = np.array([square.x, square.y])
    return centre - square.side / 2, centre + square.side / 2


def _scaled(square: CropBox, scale: float) -> CropBox:
    return CropBox(square.x * scale, square.y * scale, square.side * scale)


def _above(seen: Confidence, level: float) -> Mask:
    return (seen > level).astype(np.uint8) * np.uint8(255)


def _widened(square: CropBox, margin: float) -> CropBox:
    return CropBox(square.x, square.y, square.side * (1 + margin))


def _part(square: CropBox, x: float, y: float) -> CropBox:
    """The half of a square that lies off its centre by x, y of its side."""
    return CropBox(square.x + x * square.side, square.y + y * square.side, HALF * square.side)


def _inside(mask: Mask, box: Corners) -> Mask:
    (left, top), (right, bottom) = (np.round(corner).astype(int) for corner in box)
    kept = np.zeros_like(mask)
    kept[top:bottom, left:right] = mask[top:bottom, left:right]
    return kept
