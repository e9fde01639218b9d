"""Poses with gaps, completed: each missing joint where the others make it most likely.

A Gaussian is fitted to all poses, those with gaps among them, by expectation maximisation
(Dempster, Laird and Rubin 1977), joints being missing at random. A pose's place and size are no
part of it: any place is as likely as another, and poses are measured in units of their own size,
which is found in the same rounds. A missing joint is put at its mean given those that are there.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ROUNDS = 30
RIDGE = 1e-4  # variance added to each coordinate, where the mean joint's distance is about 1
ANYWHERE = 1e4  # variance of the place of a pose


@dataclass(frozen=True)
class PoseGaussian:
    """A density over poses of J joints, in units of a pose's size, wherever they lie."""

    mean: Array  # (2J,)
    covariance: Array  # (2J, 2J), without that of the place

    def fill(self, poses: Array) -> tuple[Array, Array]:
        """Put missing joints at their conditional mean.

        Args:
            poses: (M, J, 2); a missing joint is NaN.

        Returns:
            (M, J, 2) complete poses, and (2J, 2J) the sum of the conditional covariances.
        """
        rows = poses.reshape(len(poses), -1).copy()
        joints = rows.shape[1] // 2
        spread = self.covariance + ANYWHERE * np.kron(np.ones((joints, joints)), np.eye(2))
        unsure = np.zeros_like(spread)
        for members, missing in _alike(np.isnan(rows)):
            gap, known = np.flatnonzero(missing), np.flatnonzero(~missing)
            if not len(gap):
                continue
            across = spread[np.ix_(known, gap)]
            gain = np.linalg.solve(spread[np.ix_(known, known)], across)
            apart = rows[np.ix_(members, known)] - self.mean[known]
            rows[np.ix_(members, gap)] = self.mean[gap] + apart @ gain
            rest = spread[np.ix_(gap, gap)] - across.T @ gain
            unsure[np.ix_(gap, gap)] += len(members) * rest
        return rows.reshape(poses.shape), unsure


def complete(poses: Array) -> Array:
    """Fill the gaps of poses (M, J, 2), where a missing joint is NaN; known joints stay.

    Every pose needs two joints that lie apart, and every joint a pose that has it.
    """
    place, size = _place(poses), _size(poses)
    standard = (poses - place) / size
    variance = np.nanvar(standard, axis=0).ravel()
    gaussian = PoseGaussian(np.nanmean(standard, axis=0).ravel(), np.diag(variance + RIDGE))
    for _ in range(ROUNDS):
        filled, unsure = gaussian.fill((poses - place) / size)
        # The size of a pose is known when its gaps are; so is its place.
        place, size = place + size * _place(filled), size * _size(filled)
        rows = ((filled - _place(filled)) / _size(filled)).reshape(len(poses), -1)
        mean = rows.mean(axis=0)
        covariance = ((rows - mean).T @ (rows - mean) + unsure) / len(rows)
        gaussian = PoseGaussian(mean, covariance + RIDGE * np.eye(len(mean)))
    filled, _ = gaussian.fill((poses - place) / size)
    return np.where(np.isnan(poses), place + size * filled, poses)


def _alike(missing: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.bool_]]]:
    """Yield (rows, what all of them lack) for each pattern of gaps in (M, D)."""
    patterns, of, counts = np.unique(missing, axis=0, return_inverse=True, return_counts=True)
    in_groups = np.argsort(of.ravel(), kind="stable")
    yield from zip(np.split(in_groups, np.cumsum(counts)[:-1]), patterns, strict=True)


def _place(poses: Array) -> Array:
    """(M, 1, 2) mean of the joints that are there."""
    return np.asarray(np.nanmean(poses, axis=1, keepdims=True))


def _size(poses: Array) -> Array:
    """(M, 1, 1) root of their mean squared distance from it."""
    squared = ((poses - _place(poses)) ** 2).sum(axis=-1, keepdims=True)
    return np.asarray(np.sqrt(np.nanmean(squared, axis=1, keepdims=True)))
