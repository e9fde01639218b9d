"""Poses as a file has them, and the one rule by which their joints count as seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skelift.config import FolderConfig
from skelift.data.format import SAMPLE
from skelift.errors import InputError

SURE = FolderConfig.min_confidence  # DeepLabCut's own threshold (pcutoff) of a part to trust
MOST_SURE = 1.1  # peaks of heatmaps, which some estimators give as scores, pass 1 by a little
VISIBLE = 2  # COCO's visibility of a joint that is not hidden
FARTHEST = 1e6  # px; what lies further off is no place in an image


@dataclass(frozen=True)
class RawPoses:
    """M poses of K joints, whether seen or not."""

    names: Sequence[str]  # of the K joints, in the file's spelling
    places: NDArray[np.float64]  # (M, K, 2) pixels of the source image
    confidence: NDArray[np.float64]  # (M, K) likelihood, score or COCO's visibility; 1 without
    samples: NDArray[np.void]  # (M,) records of dtype SAMPLE; their crop is not set


def seen(poses: RawPoses, threshold: float) -> NDArray[np.bool_]:
    """(M, K) whether each joint is seen.

    It is not where its place is NaN, infinite, (0, 0) or negative in both coordinates, as pose
    estimators write what they did not find, nor where its confidence is not a number, 0 or below
    ``threshold``. COCO's visibility is a confidence: 0 not labelled, 1 labelled, 2 visible.
    """
    x, y, confidence = poses.places[..., 0], poses.places[..., 1], poses.confidence
    with np.errstate(invalid="ignore"):
        placed = (np.abs(x) < FARTHEST) & (np.abs(y) < FARTHEST)
        not_found = ((x == 0) & (y == 0)) | ((x < 0) & (y < 0))
        sure = (confidence >= threshold) & (confidence > 0)
    return np.asarray(placed & ~not_found & sure)


def check_confidence(path: Path, given: NDArray[np.float64]) -> None:
    """InputError where a confidence is neither one of 0 to 1 nor COCO's visibility.

    Of per cent, any threshold would take all.
    """
    strange = given[(given > MOST_SURE) & (given != VISIBLE)]
    if len(strange):
        raise InputError(
            f"{path}: a confidence is {strange[0]:g}; scale it to 0 to 1, or give COCO's "
            "visibility 0, 1 or 2, and leave out a third coordinate that is neither"
        )


def below_zero(poses: RawPoses) -> NDArray[np.bool_]:
    """(M, K) whether a joint counts as not seen for its negative place, which is no mark (-1, -1).

    Poses around a centre have such.
    """
    x, y = poses.places[..., 0], poses.places[..., 1]
    with np.errstate(invalid="ignore"):
        return np.asarray((x < 0) & (y < 0) & ~((x == -1) & (y == -1)))


def records(count: int) -> NDArray[np.void]:
    """(count,) SAMPLE records of which only the frame is known, counted from 0."""
    made = np.zeros(count, dtype=SAMPLE)
    made["frame"] = np.arange(count)
    made["focal"] = made["principal"] = np.nan
    return made
