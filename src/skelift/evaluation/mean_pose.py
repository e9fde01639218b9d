"""The honest floor of every score: one pose for all images."""

import numpy as np
from numpy.typing import ArrayLike

from skelift.evaluation.metrics import Array, procrustes_rotation


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
