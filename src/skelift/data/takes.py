"""What the crops of a take tell over time: a take is one camera's view of one clip.

A body changes its size and its place little by little. A mask that takes something else for the
body does not: a person behind the arena, a second animal, a door that opens.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

FEWEST = 8  # images of a take from which on something is usual
UNUSUAL = 3.0  # times the usual side
SUDDEN = 2.0  # times the side before
QUANTILE = 0.95  # of the steps from image to image: nearly all are up to there
UNRELATED = 0.5  # von Neumann's ratio: 1 of images in any order, below 0.15 of films of animals
TAKE = ("clip", "camera")
FAR, FASTER = 2.0, 4.0  # usual sides, and times that quantile: a jump


def sudden_sides(samples: NDArray[np.void]) -> NDArray[np.float64]:
    """(N,) crop side over the median of its take where it leaves 1/3 to 3 suddenly, else 1.

    An excursion is sudden where it starts or ends with twice or half the side. Samples of takes
    with few images are 1.
    """
    found = np.ones(len(samples))
    for rows in takes(samples):
        side = samples["crop"][rows, 2].astype(np.float64)
        factor = side / np.median(side)
        outside = (factor > UNUSUAL).astype(int) - (factor < 1 / UNUSUAL)
        edges = np.flatnonzero(np.diff(outside)) + 1
        for run in np.split(np.arange(len(rows)), edges):
            ends = [(i, i - 1) for i in run[:1] if i] + [
                (i, i + 1) for i in run[-1:] if i + 1 < len(rows)
            ]
            change = [abs(np.log(side[i] / side[other])) for i, other in ends]
            if outside[run[0]] and max(change, default=0) >= np.log(SUDDEN):
                found[rows[run]] = factor[run]
    return found


def jumps(samples: NDArray[np.void]) -> NDArray[np.float64]:
    """(N,) how far a crop jumped from the image before, in usual sides; 0 where it did not.

    A jump is farther than two sides, and than four times what nearly all steps of the take are.
    """
    found = np.zeros(len(samples))
    for rows in takes(samples):
        crop = samples["crop"][rows].astype(np.float64)
        steps = np.linalg.norm(np.diff(crop[:, :2], axis=0), axis=1) / np.median(crop[:, 2])
        far = steps > max(FAR, FASTER * np.quantile(steps, QUANTILE))
        found[rows[1:][far]] = steps[far]
    return found


def films(samples: NDArray[np.void]) -> NDArray[np.bool_]:
    """(N,) whether an image's take is a film: the body is near to where it was an image before.

    Photos that have nothing to do with one another are none. They are told by the mean squared
    step of a person's crop from image to image over twice its variance (von Neumann 1941). Of few
    images nothing can be told: they are none either.
    """
    found = np.zeros(len(samples), dtype=bool)
    for rows in takes(samples, (*TAKE, "person")):
        crop = samples["crop"][rows].astype(np.float64)
        step = np.square(np.diff(crop, axis=0)).mean(axis=0).sum()
        found[rows] = step <= UNRELATED * 2 * crop.var(axis=0, ddof=1).sum()
    return found


def takes(samples: NDArray[np.void], same: tuple[str, ...] = TAKE) -> Iterator[NDArray[np.intp]]:
    """Rows of each take of ``FEWEST`` images and more in the order of their frames.

    Rows of broken crops are left out. ``same`` are the fields that images of a take share.
    """
    side = samples["crop"][:, 2]
    usable = np.isfinite(samples["crop"]).all(axis=1) & (side > 0)
    _, take = np.unique(samples[list(same)], return_inverse=True)
    order = np.lexsort([samples["frame"], take])
    order = order[usable[order]]
    for rows in np.split(order, np.flatnonzero(np.diff(take[order])) + 1):
        if len(rows) >= FEWEST:
            yield rows
