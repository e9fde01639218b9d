"""Left hands with fingers up, flexed at random."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from skelift.config import PosesConfig, SynthConfig
from skelift.errors import InputError
from skelift.skeleton import Skeleton
from skelift.synth.body import Body
from skelift.synth.colours import SKIN_TONES, Look, random_light
from skelift.synth.noise import RowNoise
from skelift.synth.rig import Cutter, Points, Rig, join
from skelift.synth.rotation import from_vector, rotate
from skelift.synth.scene import Cast, Scenes, random_place, random_view

FINGERS = ("thumb", "index", "middle", "ring", "little")
PHALANGES = (1, 2, 3)
# Part -> the bone that turns it. The hand turns against the forearm, which is cut off: no joint
# lies on it, and the mask is to show what the skeleton covers.
FIRST_BONE = {"forearm": "root", "palm": "wrist.L"} | {
    f"{finger}{phalanx}": f"finger{number}-{phalanx}.L"
    for number, finger in enumerate(FINGERS, start=1)
    for phalanx in PHALANGES
}
PARTS = tuple(FIRST_BONE)
HAND_BONES = ("wrist.L", "metacarpal", "finger")
# Furthest flexion of each phalanx against the one before, in radians.
FURTHEST = np.array([[0.3, 0.7, 0.9]] + [[1.3, 1.5, 1.0]] * 4)
STRETCHED = -0.1


def rig_hand(body: Body, skeleton: Skeleton) -> Rig:
    """Cut the left hand off a body, with its 21 joints on it."""
    cutter = Cutter(body, FIRST_BONE)
    left = np.array([name.endswith(".L") for name in body.bone_names])
    whole = body.moved_by(*HAND_BONES) & left[body.strongest_bone]
    faces = body.faces[whole[body.faces].all(axis=1)]
    used, renumbered = np.unique(faces, return_inverse=True)
    faces = renumbered.reshape(-1, 3).astype(np.uint32)
    return Rig(
        person=body.name,
        parents=cutter.parents,
        pivots=cutter.pivots,
        align=np.broadcast_to(np.eye(3), (len(PARTS), 3, 3)).copy(),
        mesh=cutter.vertices(used),
        normals=body.normals[used],
        # Both sides: one looks into the cut wrist.
        faces=np.concatenate([faces, faces[:, ::-1]]),
        surface=np.zeros(len(used), dtype=np.uint8),
        hair=np.zeros(len(used), dtype=bool),
        joints=join([_joint(cutter, name) for name in skeleton.joints]),
    )


def _joint(cutter: Cutter, name: str) -> Points:
    """One ground-truth joint: the wrist, the base of a phalanx, or a fingertip."""
    if name == "wrist":
        return cutter.joint("palm")
    if name in FIRST_BONE and name[-1].isdigit():
        return cutter.joint(name)
    if name.endswith("4") and name[:-1] in FINGERS:
        return _fingertip(cutter, name[:-1])
    raise InputError(f"skeleton: no joint {name!r} on rendered hands; take skeleton=hand21")


def _fingertip(cutter: Cutter, finger: str) -> Points:
    """The vertex furthest along the last phalanx; it moves with that phalanx alone."""
    body, last = cutter.body, f"{finger}3"
    along = _line(body, f"{finger}2", last)
    reach = np.where(body.moved_by(FIRST_BONE[last]), body.vertices @ along, -np.inf)
    tip = body.vertices[reach.argmax()][None]
    return Points(tip, np.array([[PARTS.index(last)]], dtype=np.uint8), np.ones((1, 1)))


def flexion_axes(body: Body) -> NDArray[np.float64]:
    """(5, 2, 3) unit axes at rest about which each finger flexes, and spreads."""
    across = _unit(_line(body, "index1", "little1"))
    axes = np.empty((len(FINGERS), 2, 3))
    for finger, name in enumerate(FINGERS):
        along = _unit(_line(body, f"{name}1", f"{name}3"))
        # Fingers curl about the line of the knuckles, the thumb moves towards the little finger.
        axes[finger, 0] = _unit(np.cross(along, across) if name == "thumb" else across)
        axes[finger, 1] = np.cross(along, axes[finger, 0])
    return axes


def upright(body: Body) -> NDArray[np.float64]:
    """(3, 3) rotation from the body's frame to one with fingers up (+Z) and the palm to -Y."""
    up = _unit(_line(body, "palm", "middle1"))
    across = _line(body, "index1", "little1")
    across = _unit(across - (across @ up) * up)
    return np.stack([across, np.cross(up, across), up])


def _line(body: Body, start: str, end: str) -> NDArray[np.float64]:
    """(3,) from the joint of one part to that of another, at rest."""
    return body.head_of(FIRST_BONE[end]) - body.head_of(FIRST_BONE[start])


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return vector / np.linalg.norm(vector)


class Hands(Cast):
    """The cast of a hands data set; the joint names of the skeleton must be those of ``hand21``."""

    credit = "Poses: fingers flexed and spread at random within anatomical limits."
    box_of_mesh = False  # what is left of the wrist is not to be centred

    def __init__(
        self, bodies: Sequence[Body], synth: SynthConfig, skeleton: Skeleton, seed: int
    ) -> None:
        for key, plain in (("looks", "plain"), ("poses", PosesConfig())):
            if getattr(synth, key) != plain:
                raise InputError(f"data.synth.{key}: for people, not for hands; leave it out")
        super().__init__([rig_hand(body, skeleton) for body in bodies], synth, skeleton, seed)
        self._upright = np.stack([upright(body) for body in bodies])
        self._axes = np.stack([flexion_axes(body) for body in bodies])

    def scenes(self, split: str, rows: Sequence[int]) -> Scenes:
        """The scenes of rows of a split; a row's scene depends on its index alone."""
        noise, person = self._random_persons(split, rows)
        view, view_names = random_view(noise, self._synth.camera)
        view = view @ self._upright[person]
        light = self._light(split, rows, random_light(noise))
        tones = SKIN_TONES[noise.integer(len(SKIN_TONES))] * noise.uniform(0.8, 1.05)[:, None]
        rotations = self._flex(noise, self._axes[person])
        place = random_place(noise, self._synth.camera)
        palettes = np.repeat(tones[:, None, None].clip(0, 1), 2, axis=1)
        # From above, turned to come from the camera's side (-z of its frame).
        from_camera = rotate(view.swapaxes(1, 2)[:, None], light.directions * [1, 1, -1])
        return Scenes(
            person=person,
            rotations=rotations,
            view=view,
            look=Look.as_modelled(palettes),
            light=replace(light, directions=from_camera),
            samples=self._samples(
                person,
                clip=f"flexion-{split}",
                activity="flexion",
                frame=rows,
                camera=view_names,
            ),
            **place,
        )

    @staticmethod
    def _flex(noise: RowNoise, axes: NDArray[np.float64]) -> NDArray[np.float64]:
        """(B, P, 3, 3) global rotations of randomly flexed hands with (B, 5, 2, 3) axes."""
        curl = noise.uniform(shape=(len(FINGERS), 1))  # how far each finger closes
        flexion = curl * FURTHEST + noise.normal(0, 0.12, FURTHEST.shape)
        flexion = flexion.clip(STRETCHED, FURTHEST)
        spread = noise.normal(0, 0.12, (len(FINGERS),))
        flexed = from_vector(flexion[..., None] * axes[:, :, None, 0])  # (B, 5, 3, 3, 3)
        flexed[:, :, 0] = flexed[:, :, 0] @ from_vector(spread[..., None] * axes[:, :, 1])
        rotations = np.zeros((len(axes), len(PARTS), 3, 3)) + np.eye(3)
        palm = PARTS.index("palm")
        rotations[:, palm] = from_vector(noise.normal(0, 0.25, (3,)))
        for finger, name in enumerate(FINGERS):
            turned = rotations[:, palm]
            for phalanx in PHALANGES:
                turned = turned @ flexed[:, finger, phalanx - 1]
                rotations[:, PARTS.index(f"{name}{phalanx}")] = turned
        return rotations
