"""A body cut into rigid parts, ready to be posed and skinned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from skelift.data.anatomy import bone_lengths
from skelift.skeleton import Skeleton
from skelift.synth.body import Body
from skelift.synth.rotation import rotate


@dataclass(frozen=True)
class Points:
    """Points that move with a rig: rest positions and their blend of parts."""

    rest: NDArray[np.floating]  # (N, 3) metres
    part: NDArray[np.uint8]  # (N, K) parts that move each point, the heaviest first
    weight: NDArray[np.floating]  # (N, K) their weights, zero behind the last one


@dataclass(frozen=True)
class Rig:
    """One person, cut into rigid parts.

    Bones that never turn against their parent move as one part, which leaves most vertices with
    a single weight.
    """

    person: str
    parents: tuple[int, ...]  # of each of the P parts, -1 at the root; parents come first
    pivots: NDArray[np.float64]  # (P, 3) joint about which each part turns, at rest
    # (P, 3, 3) from the body's own rest to the rest pose that rotations are given from
    align: NDArray[np.float64]
    mesh: Points
    normals: NDArray[np.float32]  # (V, 3) at rest
    faces: NDArray[np.uint32]  # (F, 3)
    surface: NDArray[np.uint8]  # (V,) index into a palette
    hair: NDArray[np.bool_]  # (V,) modelled hair
    joints: Points

    def shaped(self, grown: NDArray[np.float64], bald: bool) -> NDArray[np.floating]:
        """(V, 3) rest positions: surfaces stand out by ``grown`` (M,) metres along the normals.

        Of the ``bald``, hair is drawn in to the joints that it moves with, within the body.
        """
        rest = self.mesh.rest
        if grown.any() or bald:
            rest = rest.copy()
            outwards = grown.astype(np.float32)[self.surface]
            moved = np.flatnonzero(outwards)
            rest[moved] += outwards[moved, None] * self.normals[moved]
        if bald:
            rest[self.hair] = self.pivots[self.mesh.part[self.hair, 0]]
        return rest

    @cached_property
    def hairless_faces(self) -> NDArray[np.uint32]:
        """(F', 3) faces without modelled hair."""
        return self.faces[~self.hair[self.faces].any(axis=1)]


class Cutter:
    """Cuts a body along chosen bones.

    Args:
        body: the body.
        first_bone: part -> the bone that turns it; parents before children. The bones
            below belong to the part too, down to the next part's first bone.
    """

    def __init__(self, body: Body, first_bone: Mapping[str, str]) -> None:
        self.body = body
        self._parts = tuple(first_bone)
        started = {bone: part for part, bone in enumerate(first_bone.values())}
        part_of_bone: list[int] = []
        for name, parent in zip(body.bone_names, body.bone_parents, strict=True):
            inherited = part_of_bone[parent] if parent >= 0 else 0
            part_of_bone.append(started.get(name, inherited))
        above = [body.bone_parents[body.bone(bone)] for bone in started]
        self.parents = tuple(part_of_bone[bone] if bone >= 0 else -1 for bone in above)
        self.pivots = np.stack([body.head_of(bone) for bone in started])
        self._part_of_bone = np.array(part_of_bone)

    def vertices(self, chosen: NDArray[np.bool_] | NDArray[np.integer]) -> Points:
        """Vertices of the body as points, float32."""
        blend = self._blend(chosen)
        order = np.argsort(-blend, axis=1, kind="stable")[:, : self.body.skin_weight.shape[1]]
        return Points(
            rest=self.body.vertices[chosen],
            part=order.astype(np.uint8),
            weight=np.take_along_axis(blend, order, 1).astype(np.float32),
        )

    def joint(self, *parts: str) -> Points:
        """The middle of the joints about which parts of one parent turn; moves with the parent."""
        turned = [self._parts.index(part) for part in parts]
        parent = np.array([[self.parents[turned[0]]]], dtype=np.uint8)
        return Points(self.pivots[turned].mean(axis=0, keepdims=True), parent, np.ones((1, 1)))

    def _blend(self, chosen: NDArray[np.bool_] | NDArray[np.integer]) -> NDArray[np.float64]:
        """(V, P) weight of each part on each chosen vertex."""
        parts = self._part_of_bone[self.body.skin_bone[chosen]]
        weights = self.body.skin_weight[chosen].astype(np.float64)
        blend = np.zeros((len(parts), max(len(self.parents), parts.shape[1])))
        for column in range(parts.shape[1]):
            blend[np.arange(len(parts)), parts[:, column]] += weights[:, column]
        return blend


def join(points: Sequence[Points]) -> Points:
    """Several points as one, blends padded with zero weights; float64."""
    width = max(p.part.shape[1] for p in points)

    def padded(array: NDArray[np.generic]) -> NDArray[np.generic]:
        return np.pad(array, ((0, 0), (0, width - array.shape[1])))

    return Points(
        rest=np.concatenate([p.rest for p in points]).astype(np.float64),
        part=np.concatenate([padded(p.part) for p in points]).astype(np.uint8),
        weight=np.concatenate([padded(p.weight) for p in points]).astype(np.float64),
    )


class Crew:
    """The rigs of several persons, with the same parts and joints, posed together."""

    def __init__(self, rigs: Sequence[Rig]) -> None:
        self.rigs = tuple(rigs)
        self._parents = rigs[0].parents
        self._pivots = np.stack([rig.pivots for rig in rigs])
        self._align = np.stack([rig.align for rig in rigs])
        self._joint_rest = np.stack([rig.joints.rest for rig in rigs])
        self._joint_part = np.stack([rig.joints.part for rig in rigs])
        self._joint_weight = np.stack([rig.joints.weight for rig in rigs])

    def pose(
        self, person: NDArray[np.int64], rotations: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Pose B persons.

        Args:
            person: (B,) index of the rig.
            rotations: (B, P, 3, 3) global rotation of each part from the common rest pose.

        Returns:
            turn (B, P, 3, 3) and shift (B, P, 3), which take a rest position x of part p to
            turn_p x + shift_p. The root part's pivot stays where it is.
        """
        pivots = self._pivots[person]
        turn = rotations.astype(np.float64) @ self._align[person]
        place = pivots.copy()
        for part, parent in enumerate(self._parents):
            if parent >= 0:
                place[:, part] = place[:, parent] + rotate(
                    turn[:, parent], pivots[:, part] - pivots[:, parent]
                )
        return turn, place - rotate(turn, pivots)

    def joints(
        self,
        person: NDArray[np.int64],
        turn: NDArray[np.float64],
        shift: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """(B, J, 3) joints of posed persons."""
        part, rows = self._joint_part[person], np.arange(len(person))[:, None, None]
        moved = rotate(turn[rows, part], self._joint_rest[person][:, :, None]) + shift[rows, part]
        return (self._joint_weight[person][..., None] * moved).sum(axis=2)

    def measured(self, skeleton: Skeleton, persons: NDArray[np.int64]) -> Skeleton:
        """The skeleton with the mean bone lengths of the given persons at rest."""
        lengths = bone_lengths(self._joint_rest[persons], skeleton).mean(axis=0) * 1000
        return replace(skeleton, bone_lengths_mm=tuple(lengths.round(2).tolist()))
