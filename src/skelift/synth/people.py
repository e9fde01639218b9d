"""Whole people: motion retargeted onto bodies, clothes, and the seventeen joints."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skelift.config import SynthConfig
from skelift.data.motion_cue import SECONDS, STEADY_TIMES
from skelift.errors import InputError
from skelift.skeleton import Skeleton
from skelift.synth import looks
from skelift.synth.body import Body, Material
from skelift.synth.colours import HEAD_BONES, random_light, random_look, surfaces
from skelift.synth.motion import Motion
from skelift.synth.parts import LIMBS, PARTS, canonical_direction
from skelift.synth.poses import Limbs, Variation, random_lean, shares_by_kind
from skelift.synth.rig import Cutter, Points, Rig, join
from skelift.synth.rotation import between
from skelift.synth.scene import Cast, Moment, Scenes, random_place, random_view
from skelift.synth.splits import split_clips

# Part -> the bone that turns it.
FIRST_BONE = {
    "hips": "root",
    "abdomen": "spine05",
    "chest": "spine03",
    "neck": "neck01",
    "head": "head",
} | {
    f"{side}_{part}": f"{bone}.{side.upper()}"
    for side in "lr"
    for part, bone in {
        "collar": "clavicle",
        "upper_arm": "upperarm01",
        "forearm": "lowerarm01",
        "hand": "wrist",
        "thigh": "upperleg01",
        "shin": "lowerleg01",
        "foot": "foot",
    }.items()
}
# Joint of h36m17 -> the parts that turn about it, or about its sides. Nose and head are vertices.
JOINT_PARTS = {"pelvis": ("l_thigh", "r_thigh"), "spine": ("chest",), "thorax": ("neck",)} | {
    f"{side}_{joint}": (f"{side}_{part}",)
    for side in "lr"
    for joint, part in {
        "hip": "thigh",
        "knee": "shin",
        "ankle": "foot",
        "shoulder": "upper_arm",
        "elbow": "forearm",
        "wrist": "hand",
    }.items()
}


def rig_person(
    body: Body, skeleton: Skeleton, painted: Callable[[Body], NDArray[np.uint8]] = surfaces
) -> Rig:
    """Cut a body into the parts that motion turns, with the skeleton's joints on it.

    ``painted`` gives the surface of each vertex.
    """
    cutter = Cutter(body, FIRST_BONE)
    return Rig(
        person=body.name,
        parents=cutter.parents,
        pivots=cutter.pivots,
        align=np.stack([_align(body, part) for part in PARTS]),
        mesh=cutter.vertices(np.ones(len(body.vertices), dtype=bool)),
        normals=body.normals,
        faces=body.faces,
        surface=painted(body),
        hair=body.material == Material.HAIR,
        joints=join([_joint(cutter, name) for name in skeleton.joints]),
    )


def _align(body: Body, part: str) -> NDArray[np.float64]:
    """(3, 3) rotation of a part from the body's rest to the canonical T-pose."""
    if part.endswith("hand"):
        part = part.replace("hand", "forearm")
    if part not in LIMBS:
        return np.eye(3)
    direction = body.head_of(FIRST_BONE[LIMBS[part]]) - body.head_of(FIRST_BONE[part])
    return between(direction, canonical_direction(part))


def _joint(cutter: Cutter, name: str) -> Points:
    """One ground-truth joint."""
    if name in JOINT_PARTS:
        return cutter.joint(*JOINT_PARTS[name])
    body = cutter.body
    region = body.moved_by(*HEAD_BONES)
    if name == "head":
        height = np.where(region, body.vertices[:, 2], -np.inf)
        return cutter.vertices(np.array([height.argmax()]))
    if name == "nose":
        middle = region & (np.abs(body.vertices[:, 0]) < 0.01)
        forward = np.where(middle, -body.vertices[:, 1], -np.inf)
        return cutter.vertices(np.array([forward.argmax()]))
    raise InputError(f"skeleton: no joint {name!r} on rendered people; take skeleton=h36m17")


class People(Cast):
    """The cast of a people data set: bodies in the poses of captured motion.

    The joint names of the skeleton must be those of ``h36m17``.
    """

    def __init__(
        self,
        bodies: Sequence[Body],
        motion: Motion,
        synth: SynthConfig,
        skeleton: Skeleton,
        seed: int,
    ) -> None:
        painted = looks.surfaces if synth.looks == "varied" else surfaces
        rigs = [rig_person(body, skeleton, painted) for body in bodies]
        super().__init__(rigs, synth, skeleton, seed)
        self.motion = motion
        self.credit = motion.credit
        self.clips = split_clips(motion, synth.clips, seed)
        hips, top = PARTS.index("hips"), PARTS.index("head")
        self._hips_to_head = np.array(
            [np.linalg.norm(rig.pivots[top] - rig.pivots[hips]) for rig in rigs]
        )
        self._clothed = np.array([body.clothed for body in bodies])
        self._frames = {
            split: np.flatnonzero(np.isin(motion.clip_of_frame, clips))
            for split, clips in self.clips.items()
        }
        self._shares = {
            split: shares_by_kind(motion.rotations[frames], synth.poses.evenly)
            for split, frames in self._frames.items()
            if synth.poses.evenly
        }

    def scenes(self, split: str, rows: Sequence[int]) -> Scenes:
        """The scenes of rows of a split; a row's scene depends on its index alone."""
        synth, motion = self._synth, self.motion
        noise, person = self._random_persons(split, rows)
        frames = self._frames[split]
        if synth.poses.evenly:
            frame, other = frames[noise.index(self._shares[split], (2,))].T
        else:
            frame, other = frames[noise.integer(len(frames), (2,))].T
        variation = Variation(
            mixed=noise.chance(synth.mix),
            mirrored=noise.chance(synth.mirror),
            wobble=noise.normal(0, np.deg2rad(synth.wobble_deg), (len(PARTS), 3)),
            **self._posed_further(split, rows),
        )
        view, view_names = random_view(noise, synth.camera)
        clothed = self._clothed[person]
        look = random_look(noise, clothed)  # drawn in any case: the numbers after it stay the same
        if synth.looks == "varied":
            look = looks.varied_look(self._branch(split, rows, "looks"), clothed)
        light = self._light(split, rows, random_light(noise))
        place = random_place(noise, synth.camera)
        clip = motion.clip_of_frame[frame]
        return Scenes(
            person=person,
            rotations=variation.poses(motion.rotations[frame], motion.rotations[other]),
            view=view,
            look=look,
            light=light,
            samples=self._samples(
                person,
                clip=np.array(motion.clips)[clip],
                activity=np.array(motion.activities)[clip],
                frame=frame - motion.first_frames[clip],
                camera=view_names,
            ),
            film=self._film(person, variation, frame, other, SECONDS),
            long_film=self._film(person, variation, frame, other, STEADY_TIMES * SECONDS),
            **place,
        )

    def _posed_further(self, split: str, rows: Sequence[int]) -> dict[str, Any]:
        """``limbs`` and ``lean`` of a Variation, where asked for."""
        poses = self._synth.poses
        noise = self._branch(split, rows, "poses")
        further: dict[str, Any] = {}
        if poses.limbs:
            further["limbs"] = Limbs.random(noise, poses.limbs)
        if poses.lean_deg or poses.lying:
            further["lean"] = random_lean(noise, poses)
        return further

    def _film(
        self,
        person: NDArray[np.int64],
        variation: Variation,
        frame: NDArray[np.int64],
        other: NDArray[np.int64],
        seconds: float,
    ) -> tuple[Moment, Moment] | None:
        """The moments ``seconds`` before and after, within the clips; None: no place is known."""
        motion, hips = self.motion, self.motion.hips
        if hips is None:
            return None
        unit = self._hips_to_head[person][:, None]

        def moment(by: int) -> Moment:
            then, upper = motion.later(frame, by), motion.later(other, by)
            moved = (hips[then] - hips[frame]).astype(np.float64) * unit
            rotations = variation.poses(motion.rotations[then], motion.rotations[upper])
            return Moment(rotations, variation.places(moved))

        reach = max(round(motion.fps * seconds), 1)
        return moment(-reach), moment(reach)

    def details(self) -> dict[str, Any]:
        """Persons and clips of each split, for dataset.json."""
        names = np.array(self.motion.clips)
        clips = {split: names[clips].tolist() for split, clips in self.clips.items()}
        return super().details() | {"clips": clips}
