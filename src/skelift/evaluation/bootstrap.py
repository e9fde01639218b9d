"""How far a mean could be off by the choice of moments alone."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

DRAWS = 1000
PERCENTILES = (2.5, 97.5)


def interval(values: ArrayLike, groups: NDArray[np.str_], *, seed: int = 0) -> list[float]:
    """Percentile bootstrap (Efron 1979) of the mean over images, whole groups at a time.

    Views of one moment rise and fall together, so a moment is drawn with all of its images. Moments
    that follow one another in a recording are alike too, and the interval is too narrow then.

    Args:
        values: (N,) score of each image.
        groups: (N,) name of each image's moment.
        seed: of the draws.

    Returns:
        Lower and upper bound of the 95 % interval.
    """
    _, group = np.unique(groups, return_inverse=True)
    sums = np.bincount(group, weights=np.asarray(values, dtype=np.float64))
    counts = np.bincount(group)
    drawn = np.random.default_rng(seed).integers(len(sums), size=(DRAWS, len(sums)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.percentile(means, PERCENTILES)
    return [float(low), float(high)]
