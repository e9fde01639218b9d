"""Motion capture from any source, as rotations of body parts from the canonical rest pose."""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from skelift.data.listing import list_files
from skelift.errors import InputError
from skelift.synth.body import ASSETS, load_npz
from skelift.synth.bvh import Bvh, read_bvh
from skelift.synth.names import parts_of
from skelift.synth.parts import PARTS, canonical_places, canonical_rotations

LONGEST_NAME = 64  # of a clip, in a SAMPLE record


@dataclass(frozen=True)
class Motion:
    """Clips of motion, one behind the other, in the frame of the bodies."""

    # (F, len(PARTS), 3, 3) rotation of each part from the canonical rest pose
    rotations: NDArray[np.float32]
    clips: tuple[str, ...]
    activities: tuple[str, ...]  # what each clip shows, e.g. ``walk``
    lengths: NDArray[np.int64]  # (C,) frames of each clip
    fps: float  # about
    credit: str  # where the motion comes from and on what terms, in a sentence
    # (F, 3) place of the hips in distances from hips to head at rest; None: the source has none
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
        fps: frames per second to keep of BVH files, and of an .npz file that names no ``fps``.

    Raises:
        InputError: nothing there, unreadable, or a skeleton whose joints have unknown names.
    """
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # checked at the end
        if source != ASSETS and Path(source).is_dir():
            return _of_bvh_folder(Path(source), fps)
        return _of_npz(source, fps)


def _of_bvh_folder(folder: Path, fps: float) -> Motion:
    """All BVH files of a folder and its sub-folders as clips, about ``fps`` frames per second.

    A clip's activity is the sub-folder's name, or the file's name without the digits at its end.
    """
    listing = list_files(folder, (".bvh",))
    paths = listing.files
    if not paths:
        raise InputError(
            f"{listing.summary() or folder}: holds no BVH files; name a folder of *.bvh"
        )
    if left_out := listing.summary():
        print(left_out, file=sys.stderr)
    names = [path.relative_to(folder).with_suffix("") for path in paths]
    for name in names:
        if len(str(name)) > LONGEST_NAME:
            raise InputError(f"{folder / name}.bvh: shorten its name to {LONGEST_NAME} characters")
    clips = [_of_bvh(path, fps) for path in paths]
    return Motion(
        rotations=np.concatenate([rotations for rotations, _ in clips]),
        clips=tuple(name.as_posix() for name in names),
        activities=tuple(
            name.parent.name or name.name.rstrip("0123456789_- ") or name.name for name in names
        ),
        lengths=np.array([len(rotations) for rotations, _ in clips]),
        fps=fps,
        credit=f"Motion: {len(paths)} BVH files of {folder.name}.",
        hips=np.concatenate([hips for _, hips in clips]),
    )


def _of_bvh(path: Path, fps: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(F, len(PARTS), 3, 3) canonical rotations of one file, and (F, 3) places of its hips."""
    bvh = read_bvh(path)
    joint_of = parts_of([joint.name for joint in bvh.joints], str(path))
    every = max(round(1 / (fps * bvh.frame_time)), 1)
    thinned = Bvh(bvh.joints, bvh.frame_time * every, bvh.values[::every])
    rotations = thinned.rotations()
    places = thinned.places(rotations)[:, joint_of["hips"]]
    # Joints above the hips may turn the whole skeleton, such as from Z up to Y up: upright is what
    # they make of the zero pose.
    above = bvh.joints[joint_of["hips"]].parent
    upright = _nearest_turn(rotations[0, above]) if above >= 0 else np.eye(3)
    at_rest = bvh.rest() @ upright.T
    rest = {part: at_rest[joint] for part, joint in joint_of.items()}
    turned = {part: rotations[:, joint] @ upright.T for part, joint in joint_of.items()}
    canonical = canonical_rotations(turned, rest, str(path))
    hips = canonical_places(places, rest, str(path))
    if not (np.isfinite(canonical).all() and np.isfinite(hips).all()):
        raise InputError(
            f"{path}: broken BVH file (limbs without length, or places too far to count); export "
            "it again"
        )
    return canonical, hips


def _nearest_turn(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) of the 24 rotations that turn axes to axes, the nearest."""
    turns = Rotation.create_group("O").as_matrix().round()
    nearest: NDArray[np.float64] = turns[np.einsum("nij,ij->n", turns, rotation).argmax()]
    return nearest


def _of_npz(source: str, fps: float) -> Motion:
    arrays = load_npz(source, "motion")
    try:
        motion = _of_parts(arrays) if "part_quat_xyzw" in arrays else _of_cmu(arrays, source, fps)
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        raise InputError(f"{source}: broken file of motion ({error}); make it again") from None
    frames, clips = len(motion.rotations), len(motion.clips)
    hips = np.zeros((frames, 3)) if motion.hips is None else motion.hips
    for holds, fault in (
        (motion.rotations.shape[1:] == (len(PARTS), 3, 3), "rotations of other parts"),
        (motion.lengths.shape == (clips,) == np.shape(motion.activities), "clips differ in number"),
        (motion.lengths.min(initial=1) > 0, "empty clips"),
        (motion.lengths.sum() == frames, f"{frames} frames, but clips of {motion.lengths.sum()}"),
        (hips.shape == (frames, 3), "places of the hips differ in number"),
        (np.isfinite(motion.rotations).all() and np.isfinite(hips).all(), "NaN or infinity"),
        (0 < motion.fps < np.inf, f"fps={motion.fps}"),
    ):
        if not holds:
            raise InputError(f"{source}: broken file of motion ({fault}); make it again")
    return motion


def _of_parts(arrays: Mapping[str, NDArray[Any]]) -> Motion:
    return Motion(
        rotations=_matrices(arrays["part_quat_xyzw"]),
        clips=tuple(arrays["clip"].tolist()),
        activities=tuple(arrays["activity"].tolist()),
        lengths=arrays["clip_len"].astype(np.int64),
        fps=float(arrays["fps"]),
        credit=str(arrays["credit"]),
        hips=arrays["hips"].astype(np.float32),
    )


def _of_cmu(arrays: Mapping[str, NDArray[Any]], source: str, fps: float) -> Motion:
    clips = tuple(arrays["clip"].tolist())
    rotations, hips = _of_joints(arrays, source)
    activities = _cmu_activities(clips, Path(source).parent / "CMU-INDEX.md")
    lengths = arrays["clip_len"].astype(np.int64)
    return Motion(rotations, clips, activities, lengths, fps, CMU_CREDIT, hips)


def _matrices(quaternions: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    flat = quaternions.reshape(-1, 4).astype(np.float64)
    matrices = Rotation.from_quat(flat).as_matrix().astype(np.float32)
    return matrices.reshape(*quaternions.shape[:-1], 3, 3)


def _of_joints(
    arrays: Mapping[str, NDArray[Any]], origin: str
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Canonical rotations, and places of the hips where known, from a whole skeleton's."""
    joint_of = parts_of(arrays["joint"].tolist(), origin)
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
