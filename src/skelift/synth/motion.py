"""Motion capture from any source, as rotations of nineteen body parts from one canonical rest.

The canonical rest pose is a T-pose in the frame of the bodies (Z up, facing -Y, left at +X): arms
along the X axis, legs along -Z. Every loader turns its skeleton's own rest pose into this one, so
that clips of different skeletons, and bodies at rest in different poses, fit together.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from skelift.errors import InputError
from skelift.synth.body import ASSETS, load_npz
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


@dataclass(frozen=True)
class Motion:
    """Clips of motion.

    Attributes:
        rotations: (F, len(PARTS), 3, 3) float32, the rotation of each part from the canonical
            rest pose, in the frame of the bodies; the clips lie one behind the other.
        clips: name of each clip.
        activities: what each clip shows, e.g. ``walk``.
        lengths: (C,) frames of each clip.
        fps: frames a second, about.
        credit: where the motion comes from and on what terms, in a sentence.
        hips: (F, 3) float32 place of the hips in the frame of the bodies, in distances from hips
            to head at rest; None where the source keeps none.
    """

    rotations: NDArray[np.float32]
    clips: tuple[str, ...]
    activities: tuple[str, ...]
    lengths: NDArray[np.int64]
    fps: float
    credit: str
    hips: NDArray[np.float32] | None = None

    @cached_property
    def clip_of_frame(self) -> NDArray[np.int64]:
        """(F,) clip that each frame belongs to."""
        return np.repeat(np.arange(len(self.clips)), self.lengths)

    @cached_property
    def first_frames(self) -> NDArray[np.int64]:
        """(C,) first frame of each clip."""
        return np.cumsum(self.lengths) - self.lengths

    def later(self, frames: NDArray[np.int64], by: int) -> NDArray[np.int64]:
        """(B,) frames ``by`` frames after those given (before, if negative), within their clips."""
        clip = self.clip_of_frame[frames]
        first = self.first_frames[clip]
        return np.clip(frames + by, first, first + self.lengths[clip] - 1)


def load_motion(source: str, fps: float) -> Motion:
    """Load the motion of an .npz file, of a folder of BVH files, or of the package for ``assets``.

    Args:
        source: file, folder or ``assets``.
        fps: frames a second to keep of BVH files. An .npz file is taken as it is, with the ``fps``
            that it names, or else this.

    Raises:
        InputError: nothing there, unreadable, or a skeleton whose joints have unknown names.
    """
    if source == ASSETS:
        with as_file(files("skelift.assets") / "motion.npz") as path:
            return _motion_of(path, fps)
    path = Path(source)
    if path.is_dir():
        from skelift.synth.bvh import load_bvh_folder

        return load_bvh_folder(path, fps)
    return _motion_of(path, fps)


def canonical_rotations(
    rotations: Mapping[str, NDArray[np.floating[Any]]],
    rest: Mapping[str, NDArray[np.floating[Any]]],
    origin: str,
) -> NDArray[np.float32]:
    """Rotations of all parts from the canonical rest pose.

    Args:
        rotations: part -> (F, 3, 3) rotation from the skeleton's own rest pose, in its own frame.
        rest: part -> (3,) joint of the part in that rest pose, any unit.
        origin: the file, for error messages.

    Returns:
        (F, len(PARTS), 3, 3) float32.
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


def _motion_of(path: Path, fps: float) -> Motion:
    arrays = load_npz(path, "motion")
    hips = None
    try:
        clips = tuple(str(name) for name in arrays["clip"])
        lengths = arrays["clip_len"].astype(np.int64)
        if "part_quat_xyzw" in arrays:
            rotations, hips = _matrices(arrays["part_quat_xyzw"]), arrays["hips"].astype(np.float32)
            fps = float(arrays["fps"])
            activities = tuple(str(name) for name in arrays["activity"])
            credit = str(arrays["credit"])
        else:
            rotations, hips = _of_joints(arrays, str(path))
            activities = _cmu_activities(clips, path.parent / "CMU-INDEX.md")
            credit = CMU_CREDIT
    except KeyError as error:
        raise InputError(
            f"{path}: has no array {error.args[0]!r}; name a file of motion "
            f"(cmu_mocap_12fps.npz), a folder of BVH files or {ASSETS}"
        ) from None
    return Motion(rotations, clips, activities, lengths, fps, credit, hips)


def _matrices(quaternions: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    flat = quaternions.reshape(-1, 4).astype(np.float64)
    matrices = Rotation.from_quat(flat).as_matrix().astype(np.float32)
    return matrices.reshape(*quaternions.shape[:-1], 3, 3)


def _of_joints(
    arrays: Mapping[str, NDArray[Any]], origin: str
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Canonical rotations, and places of the hips where known, from a whole skeleton's."""
    from skelift.synth.names import parts_of

    joint_of = parts_of([str(name) for name in arrays["joint"]], origin)
    matrices = _matrices(arrays["global_quat_xyzw"])
    rest = {
        part: arrays["rest_pos_cm"][joint].astype(np.float64) for part, joint in joint_of.items()
    }
    rotations = {part: matrices[:, joint] for part, joint in joint_of.items()}
    hips = None
    if "pos_cm" in arrays:
        places = arrays["pos_cm"][:, joint_of["hips"]].astype(np.float64)
        hips = canonical_places(places, rest, origin)
    return canonical_rotations(rotations, rest, origin), hips


CMU_CREDIT = (
    "Motion: the data used in this project was obtained from mocap.cs.cmu.edu. "
    "The database was created with funding from NSF EIA-0196217."
)
# First match wins: keyword of the index's description -> activity.
_CMU_ACTIVITIES = {
    "dance": "dance",
    "climb": "climb",
    "playground": "climb",
    "basketball": "basketball",
    "soccer": "kick",
    "sword": "fight",
    "boxing": "fight",
    "jumping jacks": "exercise",
    "sit on": "sit",
    "jump": "jump",
    "run": "run",
    "walk": "walk",
}


def _cmu_activities(clips: Sequence[str], index: Path) -> tuple[str, ...]:
    """Activities from the descriptions of the database's index, if it lies beside the motion."""
    if not index.exists():
        return ("motion",) * len(clips)
    described = dict(re.findall(r"^(\d+_\d+)\s+(.*)$", index.read_text(), re.MULTILINE))

    def activity(clip: str) -> str:
        text = described.get(clip, "").lower()
        return next((name for key, name in _CMU_ACTIVITIES.items() if key in text), "everyday")

    return tuple(activity(clip) for clip in clips)
