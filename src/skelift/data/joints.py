"""Names of joints: the orders that pose files come in, and how one becomes another.

One vocabulary, that of ``conf/skeleton/h36m17.yaml`` plus what other layouts add, serves all:
joints of two layouts that mean the same place have the same name here, and what a layout lacks is
derived from what it has.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from skelift.skeleton import Skeleton, joint_name

# Joints in the order of their files. Human3.6M's "nose" is the joint between neck and head, where
# MPI-INF-3DHP puts "head"; its "head" is the top of the head, "head_top" there; its thorax is
# where the neck begins, "neck" there and in OpenPose.
LAYOUTS: Mapping[str, tuple[str, ...]] = {
    name: tuple(joints.split())
    for name, joints in {
        "coco17": """nose l_eye r_eye l_ear r_ear l_shoulder r_shoulder l_elbow r_elbow l_wrist
            r_wrist l_hip r_hip l_knee r_knee l_ankle r_ankle""",
        "openpose25": """nose thorax r_shoulder r_elbow r_wrist l_shoulder l_elbow l_wrist pelvis
            r_hip r_knee r_ankle l_hip l_knee l_ankle r_eye l_eye r_ear l_ear l_big_toe l_small_toe
            l_heel r_big_toe r_small_toe r_heel""",
        "h36m17": """pelvis r_hip r_knee r_ankle l_hip l_knee l_ankle spine thorax nose head
            l_shoulder l_elbow l_wrist r_shoulder r_elbow r_wrist""",
        "mpi17": """head thorax r_shoulder r_elbow r_wrist l_shoulder l_elbow l_wrist r_hip r_knee
            r_ankle l_hip l_knee l_ankle pelvis spine nose""",
        "mpi28": """spine3 spine4 spine2 spine pelvis thorax nose head l_clavicle l_shoulder l_elbow
            l_wrist l_hand r_clavicle r_shoulder r_elbow r_wrist r_hand l_hip l_knee l_ankle l_foot
            l_toe r_hip r_knee r_ankle r_foot r_toe""",
    }.items()
}

# Joints that a layout may lack, as weighted sums of those that it has. The head joint is the top
# of the head: from the ears on, 0.7 times as far as from the shoulders to them (an adult's stature
# fractions: shoulders 0.82, ears 0.93, top 1.00, rounded).
_SHOULDERS = {"l_shoulder": 0.5, "r_shoulder": 0.5}
_HIPS = {"l_hip": 0.5, "r_hip": 0.5}
DERIVED: Mapping[str, Mapping[str, float]] = {
    "pelvis": _HIPS,
    "thorax": _SHOULDERS,
    "spine": {name: weight / 2 for name, weight in (_HIPS | _SHOULDERS).items()},
    "head": {"l_ear": 0.85, "r_ear": 0.85, "l_shoulder": -0.35, "r_shoulder": -0.35},
}


def joint_weights(skeleton: Skeleton, source: Sequence[str]) -> NDArray[np.float64]:
    """(J, K) weights that turn K source joints into the skeleton's: by name, else by DERIVED.

    Raises:
        KeyError: a joint that the source neither names nor lets derive.
        ValueError: a joint that the source names twice; the message is both names.
    """
    names = [joint_name(name) for name in source]
    weights = np.zeros((len(skeleton), len(names)))
    for row, joint in zip(weights, skeleton.joints, strict=True):
        wanted = joint_name(joint)
        parts = {wanted: 1.0} if wanted in names else DERIVED.get(wanted, {})
        if not parts or not set(parts) <= set(names):
            raise KeyError(joint)
        for name, weight in parts.items():
            if names.count(name) > 1:
                same = [source[at] for at, other in enumerate(names) if other == name]
                raise ValueError(" and ".join(same))
            row[names.index(name)] = weight
    return weights
