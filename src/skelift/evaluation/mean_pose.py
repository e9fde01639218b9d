"""The honest floor of every score: one pose for all images."""

import numpy as np
from numpy.typing import ArrayLike

from skelift.evaluation.metrics import Array, procrustes_rotation, similarity_align


def procrustes_mean_pose(
    poses_mm: ArrayLike, root: int, *, iterations: int = 100, tolerance: float = 1e-5
) -> Array:
    """Generalised Procrustes mean of 3D poses (Gower 1975), without reflections.

    A plain mean over people seen from all sides collapses to a line. Here every pose, centred
    and scaled to unit size, is rotated onto the mean before it is averaged, until the mean rests.
    Then the mean gets the mean size of the poses, and the orientation that fits the poses as they
    stand best in the least-squares sense (that is their plain mean's).

    Args:
        poses_mm: (N, J, 3) mm, camera frame.
        root: index of the root joint.
        iterations: most rounds of rotating and averaging.
        tolerance: the mean rests when no round moves it by more, relative to its size.

    Returns:
        (J, 3) mm, root at the origin.
    """
    poses = np.asarray(poses_mm, dtype=np.float64)
    poses = poses - poses.mean(1, keepdims=True)
    sizes = np.linalg.norm(poses, axis=(1, 2))
    shapes = poses / np.where(sizes > 0, sizes, 1.0)[:, None, None]
    mean = shapes[0]
    for _ in range(iterations):
        average = (shapes @ procrustes_rotation(shapes, mean[None])).mean(0)
        previous, mean = mean, average / np.linalg.norm(average)
        if np.linalg.norm(mean - previous) < tolerance:
            break
    upright = procrustes_rotation(mean[None], poses.mean(0)[None])[0]
    pose: Array = sizes.mean() * mean @ upright
    pose -= pose[root].copy()
    return pose


def labelled_mean_pose(poses_mm: ArrayLike, *, iterations: int = 50) -> Array:
    """The same mean of poses of which some joints are not labelled.

    Each pose is moved onto the mean by its labelled joints, and a joint's mean is over the poses
    that have it. Of the poses that are scored themselves, this is nearly the best that one pose for
    all images can do.

    Args:
        poses_mm: (N, J, 3) mm, camera frame; NaN where a joint is not labelled.
        iterations: rounds of moving and averaging.

    Returns:
        (J, 3) mm, centred; a joint that no pose has lies at the centre.
    """
    poses = np.asarray(poses_mm, dtype=np.float64)
    known = np.asarray(np.isfinite(poses).all(-1, keepdims=True))
    centred = poses - np.nanmean(poses, axis=1, keepdims=True)
    counts = known.sum(1)[:, 0]
    size = float(np.mean(np.sqrt(np.nansum(centred**2, axis=(1, 2)) / counts)))
    mean = centred[counts.argmax()]  # may lack joints, which the others bring
    filled = np.where(known, centred, 0.0)
    for _ in range(iterations):
        target = np.where(known, mean, np.nan)
        fits = np.isfinite(target).all(-1).sum(1) > 2
        moved = np.where(known[fits], similarity_align(filled[fits], target[fits]), np.nan)
        mean = _known_mean(moved)
        mean = mean - np.nanmean(mean, axis=0)
        mean *= size / np.sqrt(np.nanmean((mean**2).sum(-1)))
    plain = labelled_mean(centred)
    mean = np.nan_to_num(mean)
    pose: Array = mean @ procrustes_rotation(mean[None], plain[None])[0]
    return pose


def labelled_mean(poses: ArrayLike) -> Array:
    """(J, D) mean of (N, J, D) poses over those whose joint is labelled; 0 where none is."""
    return np.nan_to_num(_known_mean(np.asarray(poses, dtype=np.float64)))


def _known_mean(poses: Array) -> Array:
    """(J, D) mean of (N, J, D) poses over those that have the joint; NaN where none has."""
    known = np.isfinite(poses)
    count = known.sum(0)
    return np.where(count > 0, np.where(known, poses, 0).sum(0) / np.maximum(count, 1), np.nan)
