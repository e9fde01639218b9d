"""Which way bodies head and which side they show, read off 3D poses in the camera frame.

A body that stands heads where its trunk faces, one that lies (``Skeleton.axis``) from its rear to
its front.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skelift.skeleton import Skeleton

FRONT_DEGREES = 45.0
UNKNOWN = "unknown"


def forwards(
    poses_mm: ArrayLike, skeleton: Skeleton, labelled: NDArray[np.bool_] | None = None
) -> NDArray[np.float64] | None:
    """Directions in which bodies head, of any length.

    Of a body that lies it runs along the axis; where joints are unlabelled, between the outermost
    labelled ones of the bones from the rear joint to the front one. Of a body that stands it is
    left x up: left is the mean direction from right to left over partners that hang from the same
    joint (hips and shoulders), up runs from the root to the head.

    Args:
        poses_mm: (N, J, 3) in the camera frame (x right, y down, z forward).
        skeleton: the poses' skeleton.
        labelled: (N, J) joints to go by on an axis; None: those that are not NaN.

    Returns:
        (N, 3), NaN where a joint that tells is not labelled; None for a skeleton that cannot tell.
    """
    poses = np.asarray(poses_mm, dtype=np.float64)
    if skeleton.axis:
        return _along_axis(poses, skeleton, labelled)
    parent = {child: start for start, child in skeleton.bones}
    siblings = [
        (skeleton.index(left), skeleton.index(right))
        for left, right in skeleton.pairs
        if left in parent and parent[left] == parent.get(right)
    ]
    if not siblings:
        return None
    left_joints, right_joints = np.array(siblings).T
    left = (poses[:, left_joints] - poses[:, right_joints]).mean(1)
    up = poses[:, skeleton.head_index] - poses[:, skeleton.root_index]
    return np.cross(left, up)


def heading_deg(directions: ArrayLike) -> NDArray[np.float64]:
    """Directions (N, 3) -> (N,) degrees about the vertical, taken as the camera's y axis.

    0 is away from the camera, 90 to the image's right, 180 towards the camera, -90 to its left.
    """
    x, _, z = np.moveaxis(np.asarray(directions, dtype=np.float64), -1, 0)
    angle: NDArray[np.float64] = np.degrees(np.arctan2(x, z))
    return angle


def heading_error_deg(
    predicted_mm: ArrayLike, true_mm: ArrayLike, skeleton: Skeleton
) -> NDArray[np.float64] | None:
    """(N,) degrees, 0 to 180, by which poses (N, J, 3) head another way than the true ones.

    Both go by the joints that the truth labels; NaN where these do not tell; None for a skeleton
    that cannot tell.
    """
    known = _labelled(np.asarray(true_mm, dtype=np.float64))
    ways = [forwards(poses, skeleton, known) for poses in (predicted_mm, true_mm)]
    if ways[0] is None or ways[1] is None:
        return None
    turned = heading_deg(ways[0]) - heading_deg(ways[1])
    error: NDArray[np.float64] = np.abs((turned + 180) % 360 - 180)
    return error


def facing(poses_mm: ArrayLike, skeleton: Skeleton) -> NDArray[np.str_] | None:
    """Which side of the body each true pose shows to the camera.

    Front means that the direction in which the trunk faces (see ``forwards``) comes within 45
    degrees of pointing against the camera's z axis, back that it points along it, side all else.

    Args:
        poses_mm: (N, J, 3) in the camera frame (x right, y down, z forward).
        skeleton: the poses' skeleton.

    Returns:
        (N,) of ``front``, ``side``, ``back``, and ``unknown`` where a joint that tells is not
        labelled; None for a skeleton that cannot tell, or where all are unknown.
    """
    forward = forwards(poses_mm, skeleton)
    if forward is None:
        return None
    towards_camera = -forward[:, 2]
    limit = np.cos(np.deg2rad(FRONT_DEGREES)) * np.linalg.norm(forward, axis=1)
    return _known_or_none(
        np.select(
            [np.isnan(limit), towards_camera > limit, towards_camera < -limit],
            [UNKNOWN, "front", "back"],
            default="side",
        )
    )


def quarter(poses_mm: ArrayLike, skeleton: Skeleton) -> NDArray[np.str_] | None:
    """Where each true pose heads, to 45 degrees about the vertical.

    Arguments as of ``facing``. Returns (N,) of ``away``, ``right``, ``towards`` (the camera),
    ``left`` (in the image) and ``unknown``; None for a skeleton that cannot tell, or where all are
    unknown.
    """
    forward = forwards(poses_mm, skeleton)
    if forward is None:
        return None
    angle = heading_deg(forward)
    quarters = (np.nan_to_num(angle) / 90).round().astype(int) % 4
    named = np.array(["away", "right", "towards", "left"])[quarters]
    return _known_or_none(np.where(np.isnan(angle), UNKNOWN, named))


def _along_axis(
    poses: NDArray[np.float64], skeleton: Skeleton, labelled: NDArray[np.bool_] | None
) -> NDArray[np.float64]:
    path = skeleton.axis_path
    known = (_labelled(poses) if labelled is None else labelled)[:, path]
    row = np.arange(len(poses))
    rear, front = path[known.argmax(1)], path[::-1][known[:, ::-1].argmax(1)]
    return np.where(known.sum(1)[:, None] > 1, poses[row, front] - poses[row, rear], np.nan)


def _labelled(poses: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(poses).all(-1))


def _known_or_none(sides: NDArray[np.str_]) -> NDArray[np.str_] | None:
    return None if (sides == UNKNOWN).all() else sides
