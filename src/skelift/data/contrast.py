"""A body that is known to be darker, or brighter, than what is behind it, before a static camera.

That one word tells the background from a body that rests, and the body from its shadows and from
what a floor mirrors of it: those lie between the two. Bodies are searched for in shrunk images and
outlined at full resolution. Of several, the one is taken that has the size of the clip's body
and is near to where it was.

Images are (H, W, 3) uint8 RGB, masks (H, W) uint8 with 255 on the body. Levels are grey levels,
turned so that the body is the darker one.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from skelift.config import BodyConfig
from skelift.data.background import distance, shrink
from skelift.data.images import ImageArray, Mask
from skelift.data.region import anywhere

LIGHTEST = 0.8  # quantile over time that is background: a body may rest for so much of a clip
CHANGE = 18  # of 255: a body differs from its background by more
REDDER = 14  # of 255: bare skin is redder than a shade of the background by more
DARKEST = 0.25  # quantile of a body's levels that stands for it: eyes, ears and edges are above
OVEREXPOSED = 250
SPECK = 0.1  # of the body's usual area: what is smaller is not the body
LARGEST, SMALLEST = 3.0, 1 / 4  # of the body's usual area

# Lengths, over the root of the body's area.
FAR = 3.0  # a body that is so far away counts like one of e times its size
AROUND = 0.6  # free border around a body when it is outlined
BESIDE = 0.5  # how far what is around a body reaches when they are compared
CRACK, GRAIN, EDGE, PALE = 0.04, 0.025, 0.015, 0.13  # radii: closed, removed, blurred, and of skin

Levels = NDArray[np.float32]


@dataclass(frozen=True)
class Part:
    """A connected part of what may be the body, in a shrunk image."""

    mask: Mask  # (height, width) of its box
    x: int
    y: int
    area: float
    centre: NDArray[np.float64]  # (2,) x, y

    def unlike(self, area: float, centre: NDArray[np.float64] | None) -> float:
        """How badly it fits a body of an area that was at ``centre`` last."""
        size = abs(float(np.log(self.area / area)))
        if centre is None:
            return size
        return size + float(np.linalg.norm(self.centre - centre)) / (FAR * float(np.sqrt(area)))


class ContrastBackground:
    """The background, what the body's usual size is, and the bodies before it.

    Args:
        frames: images of one camera and one size, spread over the clip.
        body: its ``contrast`` is ``darker`` or ``brighter``.
        region: gives the mask of where the body can be, for images like the one it is given.

    Attributes:
        presence: contrast of the bodies to what is around them in their images, over that to the
            background: about 1. Near 0 there is no body, but bare floor that one of the other
            contrast has left: where it often is, it is in the background. 1 where nothing is found.
    """

    def __init__(
        self,
        frames: Iterable[ImageArray],
        body: BodyConfig,
        region: Callable[[ImageArray], Mask] = anywhere,
    ) -> None:
        self._body = body
        stack = np.stack(list(frames))
        self._background = _quantile(stack, LIGHTEST if self._darker else 1 - LIGHTEST)
        self._region = region(self._background)
        self._usual_level = self._usual_area = 0.0
        shrunk = [shrink(frame) for frame in stack]
        del stack
        self._usual_level = self._learn_level(shrunk)
        self._usual_area = self._learn_area(shrunk)
        self.presence = self._learn_presence(shrunk)

    @property
    def _darker(self) -> bool:
        return self._body.contrast == "darker"

    def masks(
        self, images: Sequence[ImageArray], pool: Executor, before: Mask | None = None
    ) -> list[Mask]:
        """Masks of images that follow one another; all 0 where no body like the clip's is seen.

        Args:
            images: of the clip.
            pool: threads that search and outline.
            before: the last mask with a body, of an earlier image.
        """
        found = pool.map(lambda image: list(self._parts(shrink(image))), images)
        centre = None if before is None else _centre(shrink(before))
        chosen: list[Part | None] = []
        for parts in found:
            part = self._choose(parts, centre)
            centre = centre if part is None else part.centre
            chosen.append(part)
        return list(pool.map(self._outline, images, chosen))

    def _choose(self, parts: Sequence[Part], centre: NDArray[np.float64] | None) -> Part | None:
        usual = self._usual_area
        fitting = [p for p in parts if SMALLEST * usual <= p.area <= LARGEST * usual]
        return min(fitting, key=lambda part: part.unlike(usual, centre), default=None)

    def _learn_level(self, frames: Sequence[ImageArray]) -> float:
        """Of the largest parts that differ at all."""
        levels = []
        for frame in frames:
            level = self._level(frame)
            differs = self._differs(level, frame, self._small_level, self._small_region)
            part = max(
                _parts(_opened(differs, 1), smallest=1), key=lambda part: part.area, default=None
            )
            if part:
                levels.append(np.quantile(_cut(level, part)[part.mask > 0], DARKEST))
        return float(np.median(levels)) if levels else 0.0

    def _learn_area(self, frames: Sequence[ImageArray]) -> float:
        areas = [max((p.area for p in self._parts(frame)), default=0.0) for frame in frames]
        return float(np.median([area for area in areas if area] or [0.0]))

    def _learn_presence(self, frames: Sequence[ImageArray]) -> float:
        found = ((frame, list(self._parts(frame))) for frame in frames)
        largest = ((f, max(parts, key=lambda part: part.area)) for f, parts in found if parts)
        return float(np.median([self._presence(*each) for each in largest] or [1.0]))

    def _presence(self, small: ImageArray, part: Part) -> float:
        level = self._level(small)
        whole = _placed(part, level)
        ring = _grown(whole, BESIDE * float(np.sqrt(part.area))) & ~_grown(whole, 1)
        if not ring.any():
            return 1.0
        own = float(np.median(level[whole > 0]))
        to_background = float(np.median(self._small_level[whole > 0])) - own
        return (float(np.median(level[ring > 0])) - own) / max(to_background, 1.0)

    def _parts(self, small: ImageArray) -> Iterator[Part]:
        """What may be the body: opaque enough for one of the usual level."""
        level = self._level(small)
        differs = self._differs(level, small, self._small_level, self._small_region)
        opacity = _opacity(level, self._small_level, self._usual_level)
        dark = differs & _on(opacity > self._body.opacity / 2)
        return _parts(_opened(dark, 1), smallest=max(SPECK * self._usual_area, 4))

    def _outline(self, image: ImageArray, part: Part | None) -> Mask:
        """The mask at full resolution of a part of the shrunk image."""
        mask = np.zeros(image.shape[:2], np.uint8)
        if part is None:
            return mask
        scale = max(image.shape) / max(self._small_level.shape)
        length = float(np.sqrt(part.area)) * scale  # the root of the body's area
        border = AROUND * length
        height, width = part.mask.shape
        left, top = (max(0, round(v * scale - border)) for v in (part.x, part.y))
        right, bottom = (
            round((v + n) * scale + border) for v, n in ((part.x, width), (part.y, height))
        )
        window = np.s_[top:bottom, left:right]
        seed = _placed(part, self._small_level)
        size = image.shape[1::-1]
        around = np.asarray(cv2.resize(seed, size, interpolation=cv2.INTER_NEAREST), np.uint8)
        mask[window] = self._body_in(image[window], around[window], window, length)
        return mask

    def _body_in(
        self, image: ImageArray, around: Mask, window: tuple[slice, slice], length: float
    ) -> Mask:
        """The body in a window of an image; ``around`` marks it coarsely."""
        background, behind = self._background[window], self._full_level[window]
        level = self._level(image)
        differs = self._differs(level, image, behind, self._region[window])
        own = level[(differs & around) > 0]
        if not own.size:
            return np.zeros_like(around)
        opacity = _opacity(level, behind, float(np.quantile(own, DARKEST)))
        fur = _opened(differs & _on(opacity > self._body.opacity), GRAIN * length)
        body = _largest(fur & _grown(around, PALE * length))
        # The outermost pixels are mixed with what is behind them.
        edge = _grown(body, EDGE * length) & _on(opacity > self._body.opacity / 2)
        near = _grown(body, PALE * length)
        pale = _skin(image, background, level, behind) & near & self._region[window]
        closed = cv2.morphologyEx(body | edge | pale, cv2.MORPH_CLOSE, _disc(CRACK * length))
        return _solid(_largest(np.asarray(closed, np.uint8)))

    def _differs(self, level: Levels, image: ImageArray, background: Levels, region: Mask) -> Mask:
        """Darker than the background, in the region, and of the body's colours."""
        darker = _on(background - level > CHANGE)
        low, high = (tuple(colour) for colour in self._body.colours)
        return darker & region & np.asarray(cv2.inRange(image, low, high), np.uint8)

    def _level(self, image: NDArray[np.uint8]) -> Levels:
        grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)
        level = np.asarray(cv2.GaussianBlur(grey, (3, 3), 0), np.float32)
        return level if self._darker else 255 - level

    @cached_property
    def _full_level(self) -> Levels:
        return self._level(self._background)

    @cached_property
    def _small_level(self) -> Levels:
        return self._level(shrink(self._background))

    @cached_property
    def _small_region(self) -> Mask:
        size = self._small_level.shape[::-1]
        return np.asarray(cv2.resize(self._region, size, interpolation=cv2.INTER_NEAREST))


def _quantile(stack: NDArray[np.uint8], share: float) -> ImageArray:
    """(H, W, 3) of (T, H, W, 3), in strips: a sorted copy of the whole would be as large again."""
    rank = round(share * (len(stack) - 1))
    strips = np.array_split(stack, max(1, stack.shape[1] // 64), axis=1)
    return np.concatenate([np.partition(strip, rank, axis=0)[rank] for strip in strips])


def _opacity(level: Levels, background: Levels, body: float) -> Levels:
    """0: the background's level; 1: the body's. Shadows and reflections lie between."""
    opacity: Levels = (background - level) / np.maximum(background - body, 1)
    return opacity


def _skin(image: ImageArray, background: ImageArray, level: Levels, behind: Levels) -> Mask:
    """Pixels that are redder than any shade of the background: bare skin, no shadow."""
    shade = np.asarray(level / np.maximum(behind, 1), np.float32)
    red = _redness(image) - shade * _redness(background)
    redder = cv2.GaussianBlur(red, (3, 3), 0) > REDDER
    exposed = image[..., 0] < OVEREXPOSED  # beyond it the colour is unknown
    differs = distance(image, background.astype(np.float32)) > CHANGE
    return _on(redder & exposed & differs)


def _redness(image: ImageArray) -> Levels:
    red: Levels = image[..., 0].astype(np.float32) - image[..., 1]
    return red


def _parts(mask: Mask, smallest: float) -> Iterator[Part]:
    count, labels, stats, centres = cv2.connectedComponentsWithStats(mask)
    for n in range(1, count):
        x, y, width, height, area = (int(value) for value in stats[n])
        if area >= smallest:
            own = _on(labels[y : y + height, x : x + width] == n)
            yield Part(own, x, y, area, centres[n])


def _largest(mask: Mask) -> Mask:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    if count < 2:
        return mask
    return _on(labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax())


def _solid(mask: Mask) -> Mask:
    """The mask with all that it encloses: pale spots on the body, laser stripes across it."""
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(mask.copy(), outlines, -1, 255, cv2.FILLED), np.uint8)


def _cut(values: Levels, part: Part) -> Levels:
    height, width = part.mask.shape
    return values[part.y : part.y + height, part.x : part.x + width]


def _placed(part: Part, like: Levels) -> Mask:
    """The part's mask in its whole image."""
    height, width = part.mask.shape
    mask = np.zeros(like.shape, np.uint8)
    mask[part.y : part.y + height, part.x : part.x + width] = part.mask
    return mask


def _centre(mask: Mask) -> NDArray[np.float64] | None:
    points = cv2.moments(mask, binaryImage=True)
    if not points["m00"]:
        return None
    return np.array([points["m10"], points["m01"]]) / points["m00"]


def _disc(radius: float) -> NDArray[np.uint8]:
    size = 2 * max(1, round(radius)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)


def _on(where: NDArray[np.bool_]) -> Mask:
    return where.astype(np.uint8) * np.uint8(255)


def _grown(mask: Mask, radius: float) -> Mask:
    return np.asarray(cv2.dilate(mask, _disc(radius)), np.uint8)


def _opened(mask: Mask, radius: float) -> Mask:
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, _disc(radius)), np.uint8)
