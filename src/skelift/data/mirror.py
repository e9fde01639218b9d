"""Whether a mask took what a floor mirrors of the body for a part of it.

A mirror image hangs below the body, is its shape upside down, and has another brightness: the
floor's shines through. No background is needed to see that. Trousers are of another brightness than
a shirt too, but are not its shape.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

TWO_TONES = 0.65  # share of the variance of brightness that two classes explain (Otsu 1979)
APART = 1.6  # ratio of their mean levels
NOISE = 3.0  # of 255; added to both, so that nearly black is no multiple of black
BELOW = 0.85  # share of the pixels that a horizontal line divides as the two classes do
SHORTEST = 0.15  # of the mask's height: a mirror image


def mirrored(image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> float:
    """How well the lower part of a body is the upper one upside down, in another brightness.

    Args:
        image: (S, S, 3) RGB crop.
        mask: (S, S), above 127 on the body.

    Returns:
        Intersection over union of the two, upon each other; 0 where brightness does not divide the
        body into an upper and a lower part.
    """
    body = (mask > 127).astype(np.uint8)
    levels = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
    inner = cv2.erode(body, np.ones((3, 3), np.uint8)) > 0  # the edge is mixed with black
    rows = np.flatnonzero(body.any(axis=1))
    light = _light(levels, inner)
    if light is None or not len(rows):
        return 0.0
    first, end = int(rows[0]), int(rows[-1]) + 1
    split, agree = _line(light, inner & ~light)
    reach = min(split - first, end - split)
    if agree < BELOW or reach < SHORTEST * (end - first):
        return 0.0
    upper, lower = body[split - reach : split][::-1], body[split : split + reach]
    return float((upper & lower).sum() / (upper | lower).sum())


def _light(levels: NDArray[np.uint8], inner: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """The lighter pixels of ``inner``; None where there are not two kinds."""
    own = levels[inner]
    if own.size < 2 or not own.var():
        return None
    threshold, _ = cv2.threshold(own, 0, 255, cv2.THRESH_OTSU)
    above = own > threshold
    if above.all() or not above.any():
        return None
    high, low, share = own[above].mean(), own[~above].mean(), above.mean()
    explained = share * (1 - share) * (high - low) ** 2 / own.var()
    if explained < TWO_TONES or (high + NOISE) / (low + NOISE) < APART:
        return None
    return inner & (levels > threshold)


def _line(light: NDArray[np.bool_], dark: NDArray[np.bool_]) -> tuple[int, float]:
    """The row that best divides them, either above, and the share of pixels on their sides."""
    difference = light.sum(axis=1).astype(np.int64) - dark.sum(axis=1)
    above = np.cumsum(difference)  # more light than dark pixels down to each row
    best = int(np.abs(2 * above - above[-1]).argmax())
    # With light above: the light down to there, and the dark below.
    right = (abs(2 * above[best] - above[-1]) + light.sum() + dark.sum()) / 2
    return best + 1, float(right / (light.sum() + dark.sum()))
