"""Bone lengths of 3D poses, and whether their left and right are where they belong."""

import numpy as np
from numpy.typing import NDArray

from skelift.skeleton import Skeleton

FEWEST_JOINTS = 4  # labelled of a pose that is scored: a similarity fits three to nearly anything
TRUNK_AND_LEGS = (
    *("l_hip", "r_hip", "l_shoulder", "r_shoulder"),
    *("l_knee", "r_knee", "l_ankle", "r_ankle"),
)


def bone_lengths(joints: NDArray[np.floating], skeleton: Skeleton) -> NDArray[np.floating]:
    """(..., J, 3) joints -> (..., bones) lengths, in the unit of the joints."""
    parent, child = skeleton.bone_indices.T
    lengths: NDArray[np.floating] = np.linalg.norm(
        joints[..., child, :] - joints[..., parent, :], axis=-1
    )
    return lengths


def side_cues(
    joints_mm: NDArray[np.floating], skeleton: Skeleton
) -> tuple[NDArray[np.floating], NDArray[np.floating]] | None:
    """What tells left from right in (N, J, 3) poses in the camera frame.

    (N,) whether hips and shoulders point opposite ways, and (N,) how far the knees are in front of
    the line from hip to ankle, over the leg's length: below 0 they bend backwards. Front is
    left x up. Both are NaN where joints are. None for a skeleton without hips, shoulders and legs,
    and for a body that lies: its knees bend either way, and a curled back turns the hips against
    the shoulders.
    """
    if skeleton.axis or not set(TRUNK_AND_LEGS) <= set(skeleton.joints):
        return None
    joint = {name: joints_mm[:, skeleton.index(name)] for name in TRUNK_AND_LEGS}
    hips, shoulders = joint["l_hip"] - joint["r_hip"], joint["l_shoulder"] - joint["r_shoulder"]
    up = (joint["l_shoulder"] + joint["r_shoulder"] - joint["l_hip"] - joint["r_hip"]) / 2
    front = np.cross(hips, up)  # of x right, y down, z forward
    with np.errstate(divide="ignore", invalid="ignore"):
        front /= np.linalg.norm(front, axis=1, keepdims=True)
        bend = (_knee_bend(joint, "l", front) + _knee_bend(joint, "r", front)) / 2
    across = (hips * shoulders).sum(axis=1)
    return np.where(np.isnan(across), np.nan, across < 0), bend


def upside_down(joints: NDArray[np.floating], skeleton: Skeleton) -> NDArray[np.floating] | None:
    """(N,) whether a body of (N, J, 2 or 3) joints, y down, stands on its head: 1 or 0.

    Its head lies below the root and both ankles above it. Where head or root is NaN, the middle of
    the shoulders or of the hips stands for it; the answer is NaN where these are too. None for a
    skeleton without ankles, such as a hand's, which has no upright.
    """
    if not {"l_ankle", "r_ankle"} <= set(skeleton.joints):
        return None
    y = joints[..., 1]

    def height(index: int, instead: str) -> NDArray[np.floating]:
        pair = [f"{side}_{instead}" for side in "lr"]
        if not set(pair) <= set(skeleton.joints):
            return y[:, index]
        middle = y[:, [skeleton.index(name) for name in pair]].mean(axis=1)
        return np.where(np.isnan(y[:, index]), middle, y[:, index])

    root = height(skeleton.root_index, "hip")
    head = height(skeleton.head_index, "shoulder") - root
    ankles = y[:, [skeleton.index("l_ankle"), skeleton.index("r_ankle")]] - root[:, None]
    unknown = np.isnan(head) | np.isnan(ankles).any(axis=1)
    return np.where(unknown, np.nan, (head > 0) & (ankles < 0).all(axis=1))


def _knee_bend(
    joint: dict[str, NDArray[np.floating]], side: str, front: NDArray[np.floating]
) -> NDArray[np.floating]:
    hip, knee, ankle = (joint[f"{side}_{part}"] for part in ("hip", "knee", "ankle"))
    length = np.linalg.norm(knee - hip, axis=1) + np.linalg.norm(ankle - knee, axis=1)
    bend: NDArray[np.floating] = ((knee - (hip + ankle) / 2) * front).sum(axis=1) / length
    return bend
