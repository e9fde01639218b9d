"""Whole people: motion retargeted onto bodies, clothes, and the seventeen joints."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skelift.config import SynthConfig
from skelift.data.format import SAMPLE
from skelift.data.motion_cue import SECONDS
from skelift.errors import InputError
from skelift.skeleton import Skeleton
from skelift.synth.body import Body
from skelift.synth.colours import HEAD_BONES, random_light, random_look, surfaces
from skelift.synth.motion import Motion
from skelift.synth.noise import RowNoise
from skelift.synth.parts import LIMBS, PARTS, canonical_direction
from skelift.synth.poses import Variation
from skelift.synth.rig import Crew, Cutter, Points, Rig, join
from skelift.synth.rotation import between
from skelift.synth.scene import Moment, Scenes, random_view
from skelift.synth.splits import STREAMS, split_clips, split_persons

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
# Joint of h36m17 -> the bones whose heads have it in their middle. Nose and head are vertices.
JOINT_BONES = {
    "pelvis": ("upperleg01.L", "upperleg01.R"),
    "spine": ("spine03",),
    "thorax": ("neck01",),
} | {
    f"{side}_{joint}": (f"{bone}.{side.upper()}",)
    for side in "lr"
    for joint, bone in {
        "hip": "upperleg01",
        "knee": "lowerleg01",
        "ankle": "foot",
        "shoulder": "upperarm01",
        "elbow": "lowerarm01",
        "wrist": "wrist",
    }.items()
}


def rig_person(body: Body, skeleton: Skeleton) -> Rig:
    """Cut a body into the parts that motion turns, with the skeleton's joints on it."""
    cutter = Cutter(body, FIRST_BONE)
    return Rig(
        person=body.name,
        parents=cutter.parents,
        pivots=cutter.pivots,
        align=np.stack([_align(body, part) for part in PARTS]),
        mesh=cutter.vertices(np.ones(len(body.vertices), dtype=bool)),
        normals=body.normals,
        faces=body.faces,
        surface=surfaces(body),
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
    if name in JOINT_BONES:
        return cutter.joint(*JOINT_BONES[name])
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


class People:
    """The cast of a people data set.

    Args:
        bodies: all persons.
        motion: all clips.
        synth: how they are shared out and posed.
        skeleton: joints of the data set; it must be ``h36m17`` by joint names.
        seed: seed of the data set.
    """

    box_of_mesh = True

    def __init__(
        self,
        bodies: Sequence[Body],
        motion: Motion,
        synth: SynthConfig,
        skeleton: Skeleton,
        seed: int,
    ) -> None:
        self.skeleton = skeleton
        self.crew = Crew([rig_person(body, skeleton) for body in bodies])
        self.motion = motion
        self.persons = split_persons(len(bodies), synth.test_persons, seed)
        self.clips = split_clips(motion, synth.clips, seed)
        hips, top = PARTS.index("hips"), PARTS.index("head")
        self._hips_to_head = np.array(
            [np.linalg.norm(rig.pivots[top] - rig.pivots[hips]) for rig in self.crew.rigs]
        )
        self._clothed = np.array([body.clothed for body in bodies])
        self._names = np.array([body.name for body in bodies])
        self._synth = synth
        self._seed = seed
        self._frames = {
            split: np.flatnonzero(np.isin(motion.clip_of_frame, clips))
            for split, clips in self.clips.items()
        }

    @property
    def credit(self) -> str:
        """Where the poses come from."""
        return self.motion.credit

    def scenes(self, split: str, rows: Sequence[int]) -> Scenes:
        """The scenes of the given rows of a split; a row's scene depends on its index alone."""
        noise = RowNoise(self._seed, STREAMS[split], rows)
        camera = self._synth.camera
        nearest, furthest = camera.distance_m
        person = self.persons[split][noise.integer(len(self.persons[split]))]
        frames = self._frames[split]
        frame, other = frames[noise.integer(len(frames), (2,))].T
        variation = self._variation(noise)
        view, view_names = random_view(noise, camera)
        palettes, stripe = random_look(noise, self._clothed[person])
        light, ambient = random_light(noise)
        return Scenes(
            person=person,
            rotations=self._poses(variation, frame, other),
            view=view,
            distance=noise.uniform(nearest, furthest),
            aim=np.deg2rad(noise.normal(0, camera.aim_deg, (2,))),
            palettes=palettes,
            stripe=stripe,
            light=light,
            ambient=ambient,
            samples=self._samples(person, frame, view_names),
            film=self._film(person, variation, frame, other),
        )

    def _variation(self, noise: RowNoise) -> Variation:
        synth = self._synth
        return Variation(
            mixed=noise.chance(synth.mix),
            mirrored=noise.chance(synth.mirror),
            wobble=noise.normal(0, np.deg2rad(synth.wobble_deg), (len(PARTS), 3)),
        )

    def _poses(
        self, variation: Variation, frame: NDArray[np.int64], other: NDArray[np.int64]
    ) -> NDArray[np.floating]:
        """(B, P, 3, 3) rotations of the parts in a frame, varied by another."""
        return variation.poses(self.motion.rotations[frame], self.motion.rotations[other])

    def _film(
        self,
        person: NDArray[np.int64],
        variation: Variation,
        frame: NDArray[np.int64],
        other: NDArray[np.int64],
    ) -> tuple[Moment, Moment] | None:
        """The moments before and after, within the clips; None where nobody's place is known."""
        motion, hips = self.motion, self.motion.hips
        if hips is None:
            return None
        unit = self._hips_to_head[person][:, None]

        def moment(by: int) -> Moment:
            then = motion.later(frame, by)
            moved = (hips[then] - hips[frame]).astype(np.float64) * unit
            rotations = self._poses(variation, then, motion.later(other, by))
            return Moment(rotations, variation.places(moved))

        reach = max(round(motion.fps * SECONDS), 1)
        return moment(-reach), moment(reach)

    def _samples(
        self, person: NDArray[np.int64], frame: NDArray[np.int64], view: NDArray[np.str_]
    ) -> NDArray[np.void]:
        clip = self.motion.clip_of_frame[frame]
        samples = np.zeros(len(person), dtype=SAMPLE)
        samples["person"] = self._names[person]
        samples["clip"] = np.array(self.motion.clips)[clip]
        samples["activity"] = np.array(self.motion.activities)[clip]
        samples["frame"] = frame - self.motion.first_frames[clip]
        samples["camera"] = view
        return samples

    def details(self) -> dict[str, Any]:
        """Persons and clips of each split, for dataset.json."""
        return {
            "persons": {split: self._names[rows].tolist() for split, rows in self.persons.items()},
            "clips": {
                split: [self.motion.clips[clip] for clip in clips]
                for split, clips in self.clips.items()
            },
        }
