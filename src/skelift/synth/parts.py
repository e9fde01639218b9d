"""The nineteen parts of a body that motion turns, and their canonical rest pose.

The canonical rest pose is a T-pose in the frame of the bodies (Z up, facing -Y, left at +X): arms
along the X axis, legs along -Z. Every skeleton's own rest pose is turned into it, so that clips of
different skeletons, and bodies at rest in different poses, fit together.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skelift.errors import InputError
from skelift.synth.rotation import between

# Part -> the part it hangs on. A part that a skeleton lacks moves with the one it hangs on.
PARENT_PART = {
    "hips": "",
    "abdomen": "hips",
    "chest": "abdomen",
    "neck": "chest",
    "head": "neck",
} | {
    f"{side}_{part}": parent if parent in ("chest", "hips") else f"{side}_{parent}"
    for side in "lr"
    for part, parent in {
        "collar": "chest",
        "upper_arm": "collar",
        "forearm": "upper_arm",
        "hand": "forearm",
        "thigh": "hips",
        "shin": "thigh",
        "foot": "shin",
    }.items()
}
PARTS = tuple(PARENT_PART)
REQUIRED_PARTS = (
    "hips",
    "head",
    *(f"{side}_{part}" for side in "lr" for part in ("upper_arm", "forearm", "thigh", "shin")),
)
# Limb -> the part at its far end; its canonical direction follows.
LIMBS = {
    f"{side}_{limb}": f"{side}_{end}"
    for side in "lr"
    for limb, end in {
        "upper_arm": "forearm",
        "forearm": "hand",
        "thigh": "shin",
        "shin": "foot",
    }.items()
}
UPPER_BODY = tuple(
    part for part in PARTS if part.split("_")[-1] not in ("hips", "thigh", "shin", "foot")
)


def canonical_direction(limb: str) -> NDArray[np.float64]:
    """(3,) direction of a limb in the canonical T-pose."""
    if limb.endswith("arm"):
        return np.array([1.0 if limb.startswith("l_") else -1.0, 0, 0])
    return np.array([0.0, 0, -1])


def canonical_rotations(
    rotations: Mapping[str, NDArray[np.floating[Any]]],
    rest: Mapping[str, NDArray[np.floating[Any]]],
    origin: str,
) -> NDArray[np.float32]:
    """(F, len(PARTS), 3, 3) rotations of all parts from the canonical rest pose.

    Args:
        rotations: part -> (F, 3, 3) rotation from the skeleton's own rest pose, in its own frame.
        rest: part -> (3,) joint of the part in that rest pose, any unit.
        origin: the file, for error messages.
    """
    to_body = _frame_of_rest(rest, origin)
    canonical: dict[str, NDArray[np.floating[Any]]] = {}
    aligned: dict[str, NDArray[np.float64]] = {}
    for part, parent in PARENT_PART.items():
        aligned[part] = np.eye(3)
        if part in LIMBS and LIMBS[part] in rest:
            own = to_body @ (rest[LIMBS[part]] - rest[part])
            aligned[part] = between(canonical_direction(part), own)
        elif part.endswith(("forearm", "shin", "hand")):
            aligned[part] = aligned[parent]
        if part in rotations:
            canonical[part] = to_body @ rotations[part] @ to_body.T @ aligned[part]
        else:
            canonical[part] = canonical[parent] @ aligned[parent].T @ aligned[part]
    return np.stack([canonical[part] for part in PARTS], axis=1).astype(np.float32)


def canonical_places(
    places: NDArray[np.floating[Any]],
    rest: Mapping[str, NDArray[np.floating[Any]]],
    origin: str,
) -> NDArray[np.float32]:
    """Places (F, 3) of a skeleton's hips, in its own frame, as ``Motion.hips`` has them."""
    unit = np.linalg.norm(rest["head"] - rest["hips"])
    return (places / unit @ _frame_of_rest(rest, origin).T).astype(np.float32)


def _frame_of_rest(
    rest: Mapping[str, NDArray[np.floating[Any]]], origin: str
) -> NDArray[np.float64]:
    """(3, 3) axes-to-axes rotation from a skeleton's frame to that of the bodies."""
    up = _nearest_axis(rest["head"] - rest["hips"])
    left = _nearest_axis(rest["l_thigh"] - rest["r_thigh"])
    knees = (rest["l_shin"] + rest["r_shin"]) / 2 - rest["hips"]
    if abs(up @ left) > 0 or up @ knees >= 0:
        raise InputError(
            f"{origin}: its rest pose does not stand upright (head above the hips, knees below); "
            "export it with a T-pose as the zero pose"
        )
    return np.stack([left, np.cross(up, left), up])


def _nearest_axis(direction: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    axis = np.zeros(3)
    strongest = np.abs(direction).argmax()
    axis[strongest] = np.sign(direction[strongest])
    return axis
