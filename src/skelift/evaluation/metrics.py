"""Pose metrics, one function each, in float64 NumPy.

Every function is batched over images and returns one value per image, so that the overall score
and the score of any group of images are means of the same numbers. 3D poses are (N, J, 3) mm in
the camera frame, 2D poses (N, J, 2) pixels; joints are in skeleton order.

A joint whose truth is NaN is not labelled: it counts in no alignment and in no mean. Every image
needs a labelled joint. Where the root is not labelled in all images of a set, all its poses are
centred on their labelled joints wherever "root-relative" is said: errors are smaller so, and a mean
over both kinds would depend on who labelled what.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

PCK_THRESHOLD_MM = 150.0
AUC_THRESHOLDS_MM = np.arange(0.0, 151.0, 5.0)
"""0:5:150 mm of MPI-INF-3DHP: 31 thresholds, so that perfect poses reach 30/31 (0 < 0 is false)."""


def joint_distances(predicted: ArrayLike, truth: ArrayLike) -> Array:
    """Euclidean distance of every joint: (N, J, D) and (N, J, D) -> (N, J)."""
    return np.linalg.norm(_float64(predicted) - _float64(truth), axis=-1)


def root_relative(poses: ArrayLike, root: int) -> Array:
    """Poses (N, J, D) with their root joint moved to the origin."""
    poses = _float64(poses)
    return poses - poses[:, root : root + 1]


def relative(poses: ArrayLike, truth: ArrayLike, root: int) -> Array:
    """Poses (N, J, D) with the root at the origin; see above where it is not labelled in all."""
    known, poses = _labelled(truth), _float64(poses)
    return root_relative(poses, root) if known[:, root].all() else poses - _centre(poses, known)


def scale_align(predicted: ArrayLike, truth: ArrayLike, root: int) -> Array:
    """Root-relative prediction times the scale that brings it nearest to the root-relative truth.

    The scale is the least-squares one of each pose over all joints, argmin_s |s p - g|^2 with
    s >= 0: a negative scale would be a reflection through the root. (N, J, 3) mm throughout.
    """
    p, g = relative(predicted, truth, root), relative(truth, truth, root)
    known = _labelled(truth)
    q, g = np.where(known, p, 0.0), np.where(known, g, 0.0)
    scale = _ratio((q * g).sum((1, 2)), (q * q).sum((1, 2)))
    return np.maximum(scale, 0.0)[:, None, None] * p


def similarity_align(predicted: ArrayLike, truth: ArrayLike, *, reflection: bool = False) -> Array:
    """Move each prediction onto its truth: argmin over s, R, t of |s p R + t - g|^2 (Procrustes).

    Args:
        predicted: (N, J, D).
        truth: (N, J, D).
        reflection: also allow mirror images, R in O(D) instead of SO(D), as ElePose does. It
            hides depth flips: a mirrored pose then scores as a perfect one.

    Returns:
        (N, J, D) aligned predictions, in the frame and units of the truth.
    """
    p, g = _float64(predicted), _float64(truth)
    known = _labelled(g)
    centre_p, centre_g = _centre(p, known), _centre(g, known)
    p, g = p - centre_p, np.where(known, g - centre_g, 0.0)
    q = np.where(known, p, 0.0)
    rotation = procrustes_rotation(q, g, reflection=reflection)
    scale = _ratio((q @ rotation * g).sum((1, 2)), (q * q).sum((1, 2)))
    return scale[:, None, None] * (p @ rotation) + centre_g


def procrustes_rotation(centred: Array, target: Array, *, reflection: bool = False) -> Array:
    """Rotations R that minimise |p R - g|^2 (Kabsch 1976): (N, J, D) twice -> (N, D, D)."""
    u, _, vt = np.linalg.svd(centred.transpose(0, 2, 1) @ target)
    if not reflection:
        # det is -1 where the best map is a mirror image: give up its weakest axis.
        u[:, :, -1] *= np.linalg.det(u @ vt).round()[:, None]
    return u @ vt


def mpjpe(predicted: ArrayLike, truth: ArrayLike, root: int) -> Array:
    """Mean per-joint position error of root-relative poses (Human3.6M protocol I): (N,) mm."""
    return _mean_distance(relative(predicted, truth, root), relative(truth, truth, root))


def n_mpjpe(predicted: ArrayLike, truth: ArrayLike, root: int) -> Array:
    """MPJPE after the best scale of each root-relative pose (``scale_align``): (N,) mm."""
    return _mean_distance(scale_align(predicted, truth, root), relative(truth, truth, root))


def p_mpjpe(predicted: ArrayLike, truth: ArrayLike) -> Array:
    """MPJPE after similarity alignment without reflection (protocol II), the headline: (N,) mm."""
    return _mean_distance(similarity_align(predicted, truth), truth)


def p_mpjpe_reflected(predicted: ArrayLike, truth: ArrayLike) -> Array:
    """MPJPE after similarity alignment that may mirror the pose (ElePose's practice): (N,) mm."""
    return _mean_distance(similarity_align(predicted, truth, reflection=True), truth)


def pck(distances_mm: ArrayLike, threshold_mm: float = PCK_THRESHOLD_MM) -> Array:
    """Percentage (N,) of an image's joints strictly nearer to the truth than a threshold.

    ``distances_mm`` (N, K) are of the counted joints, after the alignment of one's choice, NaN
    where not labelled; NaN for an image without one. The threshold is MPI-INF-3DHP's.
    """
    distances = _float64(distances_mm)
    labelled = np.isfinite(distances)
    share = (distances < threshold_mm).sum(1) / np.where(labelled.any(1), labelled.sum(1), np.nan)
    return np.asarray(100.0 * share, dtype=np.float64)


def auc(distances_mm: ArrayLike) -> Array:
    """Area under the PCK curve: mean of ``pck`` over 0:5:150 mm. (N, K) -> (N,) per cent."""
    return np.mean([pck(distances_mm, t) for t in AUC_THRESHOLDS_MM], axis=0)


def error_2d_px(predicted: ArrayLike, truth: ArrayLike) -> Array:
    """Mean 2D distance over the joints, left and right taken as predicted: (N, J, 2) -> (N,) px."""
    return _mean_distance(predicted, truth)


def is_swapped(
    predicted: ArrayLike, truth: ArrayLike, swap: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """(N,) whether a left/right swap (``Skeleton.swap``) makes the 2D error strictly smaller."""
    return error_2d_px(_float64(predicted)[:, swap], truth) < error_2d_px(predicted, truth)


def error_2d_swapped_px(predicted: ArrayLike, truth: ArrayLike, swap: NDArray[np.int64]) -> Array:
    """2D error up to a left/right swap of the whole body: (N,) px.

    For each image the smaller of two errors: of the prediction as it is, and with all left and
    right joints swapped; never of single joints or limbs. It tells a wrong pose from a right pose
    with wrong names, which a one-channel stick figure cannot tell apart.
    """
    swapped = _float64(predicted)[:, swap]
    return np.minimum(error_2d_px(predicted, truth), error_2d_px(swapped, truth))


def _mean_distance(predicted: ArrayLike, truth: ArrayLike) -> Array:
    known = _labelled(truth)[..., 0]
    distances = np.where(known, joint_distances(predicted, truth), 0.0)
    return np.asarray(distances.sum(1) / known.sum(1), dtype=np.float64)


def _labelled(truth: ArrayLike) -> NDArray[np.bool_]:
    """(N, J, 1) which joints of true poses (N, J, D) are labelled."""
    return np.asarray(~np.isnan(_float64(truth)).any(-1, keepdims=True))


def _centre(poses: Array, known: NDArray[np.bool_]) -> Array:
    """(N, 1, D) mean of the joints of (N, J, D) poses that are ``known`` (N, J, 1)."""
    total = np.where(known, poses, 0.0).sum(1, keepdims=True)
    return np.asarray(total / known.sum(1, keepdims=True))


def _ratio(numerator: Array, denominator: Array) -> Array:
    """Divide, giving 0 where the denominator is 0 (a pose that is a single point)."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def _float64(values: ArrayLike) -> Array:
    return np.asarray(values, dtype=np.float64)
