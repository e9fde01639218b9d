"""New poses from captured ones: mirrored, put together from two, bent, leaning or lying.

A pose is (..., len(PARTS), 3, 3): the rotation of each part from the canonical rest pose.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skelift.config import PosesConfig
from skelift.synth.noise import RowNoise
from skelift.synth.parts import LIMBS, PARENT_PART, PARTS, UPPER_BODY, canonical_direction
from skelift.synth.rotation import about, from_vector, rotate

KINDS = 200
_HIPS, _CHEST = PARTS.index("hips"), PARTS.index("chest")
_UPPER = np.array([PARTS.index(part) for part in UPPER_BODY])
_PARENT = [PARTS.index(parent) if parent else -1 for parent in PARENT_PART.values()]
_SWAP = [PARTS.index({"l_": "r_", "r_": "l_"}.get(p[:2], p[:2]) + p[2:]) for p in PARTS]
# Conjugation with diag(-1, 1, 1), entry by entry.
_REFLECT = np.array([[1, -1, -1], [-1, 1, 1], [-1, 1, 1]])


def mirror(pose: NDArray[np.floating]) -> NDArray[np.floating]:
    """The pose seen in a mirror: left and right swapped."""
    return pose[..., _SWAP, :, :] * _REFLECT.astype(pose.dtype)


def graft(lower: NDArray[np.floating], upper: NDArray[np.floating]) -> NDArray[np.floating]:
    """The upper body of one pose on the hips and legs of another, turned with the hips."""
    grafted = lower.copy()
    onto = lower[..., _HIPS, :, :] @ upper[..., _HIPS, :, :].swapaxes(-1, -2)
    grafted[..., _UPPER, :, :] = onto[..., None, :, :] @ upper[..., _UPPER, :, :]
    return grafted


def bend(pose: NDArray[np.floating], vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn every part but the hips about its joint, and what hangs on it along.

    ``vectors`` (B, P, 3) are rotation vectors in the frame of each part, radians.
    """
    turns = from_vector(vectors)
    bent = np.empty(pose.shape)
    bent[:, _HIPS] = pose[:, _HIPS]
    for part, parent in enumerate(_PARENT):
        if parent >= 0:
            local = pose[:, parent].swapaxes(-1, -2) @ pose[:, part]
            bent[:, part] = bent[:, parent] @ local @ turns[:, part]
    return bent


def kinds(poses: NDArray[np.floating], count: int) -> NDArray[np.int64]:
    """(F,) kind of each of F poses: the nearest of ``count`` that lie furthest from one another.

    Poses are compared by the directions of limbs, hips and head, whatever way they face.
    """
    left = poses[:, _HIPS, :2, 0].astype(np.float64)  # of the hips, on the ground
    x, y = (left / np.linalg.norm(left, axis=1, keepdims=True)).T
    zero, one = np.zeros_like(x), np.ones_like(x)
    ahead = np.stack([x, y, zero, -y, x, zero, zero, zero, one], axis=1).reshape(-1, 3, 3)
    axes = {limb: canonical_direction(limb) for limb in LIMBS}
    axes |= dict.fromkeys(("hips", "head"), np.array([0.0, 0, 1]))
    directions = np.concatenate(
        [rotate(ahead @ poses[:, PARTS.index(part)], axis) for part, axis in axes.items()], axis=1
    )
    nearest = np.full(len(poses), np.inf)
    kind = np.zeros(len(poses), dtype=np.int64)
    furthest = 0
    for number in range(min(count, len(poses))):
        distance = ((directions - directions[furthest]) ** 2).sum(axis=1)
        kind[distance < nearest] = number
        nearest = np.minimum(nearest, distance)
        furthest = int(nearest.argmax())
    return kind


def shares_by_kind(poses: NDArray[np.floating], evenly: float) -> NDArray[np.float64]:
    """(F,) share of draws of each pose: ``evenly`` of all spread over the kinds, the rest alike."""
    kind = kinds(poses, KINDS)
    sizes = np.bincount(kind)
    return (1 - evenly) / len(poses) + evenly / ((sizes > 0).sum() * sizes[kind])


@dataclass(frozen=True)
class Limbs:
    """Limbs of B persons that are posed at random; one row of each array per side, left first."""

    # (B, 2) whether an arm or a leg is raised, and whether a knee is straightened
    arm: NDArray[np.bool_]
    leg: NDArray[np.bool_]
    knee: NDArray[np.bool_]
    upper: NDArray[np.float64]  # (2, B, 3, 3) upper arms against the chest
    elbow: NDArray[np.float64]  # (2, B, 3, 3) forearms against upper arms
    thigh: NDArray[np.float64]  # (2, B, 3, 3) against the hips
    shin: NDArray[np.float64]  # (2, B, 3, 3) against the thigh, of a raised leg
    straight: NDArray[np.float64]  # (2, B, 3, 3) the same of a straightened one

    @classmethod
    def random(cls, noise: RowNoise, chance: float) -> "Limbs":
        """Arms from anywhere in reach, one leg at a time raised, both knees straightened."""
        arm = noise.uniform(shape=(2,)) < chance
        both = noise.chance(0.3)
        arm[both, 1] = arm[both, 0]
        leg = (noise.uniform() < chance / 2)[:, None] & (noise.integer(2)[:, None] == [0, 1])
        knee = (noise.uniform() < chance)[:, None].repeat(2, axis=1)
        # Of the left side; degrees.
        ahead = noise.uniform(-25, 100, (2,))  # from sideways to the front
        up = noise.uniform(-80, 88, (2,))
        twist = noise.uniform(-100, 60, (2,))
        bent = noise.uniform(0, 130, (2,)) * (noise.uniform(shape=(2,)) < 0.6)
        ahead[both, 1], up[both, 1] = ahead[both, 0], up[both, 0]
        raised, apart = noise.uniform(-25, 100, (2,)), noise.uniform(-5, 45, (2,))
        folded = noise.uniform(0, 120, (2,)) * (noise.uniform(shape=(2,)) < 0.6)
        nearly = noise.uniform(0, 8, (2,))

        def turned(axis: int, angle: NDArray[np.float64], mirrored: bool) -> NDArray[np.float64]:
            """(2, B, 3, 3) about an axis by (B, 2) degrees, on the right mirrored if asked."""
            signs = [1, -1 if mirrored else 1]
            left, right = np.deg2rad(angle * signs).T
            return np.stack([about(axis, left), about(axis, right)])

        return cls(
            arm,
            leg,
            knee,
            upper=turned(2, -ahead, True) @ turned(1, -up, True) @ turned(0, twist, False),
            elbow=turned(2, -bent, True),
            thigh=turned(1, -apart, True) @ turned(0, -raised, False),
            shin=turned(0, folded, False),
            straight=turned(0, nearly, False),
        )

    def pose(self, pose: NDArray[np.floating]) -> NDArray[np.floating]:
        """(B, P, 3, 3) poses with their limbs."""
        posed = pose.copy()
        for side, name in enumerate("lr"):
            upper, forearm, thigh, shin = (
                PARTS.index(f"{name}_{part}") for part in ("upper_arm", "forearm", "thigh", "shin")
            )
            hand, foot = forearm + 1, shin + 1
            arm, leg, knee = self.arm[:, side], self.leg[:, side], self.knee[:, side]
            posed[arm, upper] = pose[arm, _CHEST] @ self.upper[side, arm]
            posed[arm, forearm] = posed[arm, upper] @ self.elbow[side, arm]
            posed[leg, thigh] = pose[leg, _HIPS] @ self.thigh[side, leg]
            posed[knee, shin] = posed[knee, thigh] @ self.straight[side, knee]
            posed[leg, shin] = posed[leg, thigh] @ self.shin[side, leg]
            for end, above in ((hand, forearm), (foot, shin)):
                local = pose[:, above].swapaxes(-1, -2) @ pose[:, end]
                posed[:, end] = posed[:, above] @ local
        return posed


def random_lean(noise: RowNoise, poses: PosesConfig) -> NDArray[np.float64]:
    """(B, 3, 3) rotations of whole bodies, Z up: leaning to any side, or lying."""
    towards = noise.uniform(0, 2 * np.pi)
    leaning = np.deg2rad(poses.lean_deg) * noise.uniform() ** 2  # most lean little
    angle = np.where(noise.chance(poses.lying), np.deg2rad(noise.uniform(70, 100)), leaning)
    axis = np.stack([np.cos(towards), np.sin(towards), np.zeros_like(towards)], axis=1)
    return from_vector(axis * angle[:, None])


@dataclass(frozen=True)
class Variation:
    """How B captured poses are varied; the same at every moment of a video."""

    mixed: NDArray[np.bool_]  # (B,) whether the upper body of another pose is grafted on
    mirrored: NDArray[np.bool_]  # (B,) whether left and right are swapped
    wobble: NDArray[np.float64]  # (B, P, 3) rotation vectors by which the parts are bent, radians
    limbs: Limbs | None = None
    lean: NDArray[np.float64] | None = None  # (B, 3, 3) rotations of the whole body

    def poses(
        self, captured: NDArray[np.floating], other: NDArray[np.floating]
    ) -> NDArray[np.floating]:
        """(B, P, 3, 3) poses, and others for the upper bodies -> varied ones."""
        varied = captured.copy()
        varied[self.mixed] = graft(captured[self.mixed], other[self.mixed])
        varied[self.mirrored] = mirror(varied[self.mirrored])
        if self.limbs is not None:
            varied = self.limbs.pose(varied)
        if self.wobble.any():
            varied = bend(varied, self.wobble)
        return varied if self.lean is None else self.lean[:, None] @ varied

    def places(self, hips: NDArray[np.float64]) -> NDArray[np.float64]:
        """(B, 3) places of the hips in the frame of the bodies -> those of the varied."""
        return np.where(self.mirrored[:, None], hips * [-1, 1, 1], hips)
