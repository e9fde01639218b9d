"""Random colours and light."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from skelift.synth.body import Body, Material
from skelift.synth.kernels import FULL_LIGHT
from skelift.synth.noise import RowNoise

SKIN_TONES = np.array(
    [[0.95, 0.78, 0.66], [0.85, 0.64, 0.5], [0.62, 0.43, 0.31], [0.4, 0.26, 0.18], [0.9, 0.7, 0.55]]
)
HAIR_TONE = np.array([0.12, 0.08, 0.05])
HEAD_BONES = ("head", "neck", "eye")


@dataclass(frozen=True)
class Look:
    """What B persons look like, by surface (an index into the palettes)."""

    palettes: NDArray[np.float64]  # (B, 2, M, 3) colours in [0, 1], off and on the pattern
    # (B, W, 3) wave vectors of the pattern, per metre; 0 without one
    waves: NDArray[np.float64]
    warp: NDArray[np.float64]  # (B,) metres by which the pattern is bent
    grown: NDArray[np.float64]  # (B, M) metres by which each surface stands out
    bald: NDArray[np.bool_]  # (B,) whether modelled hair is left out

    @classmethod
    def as_modelled(
        cls, palettes: NDArray[np.float64], waves: NDArray[np.float64] | None = None
    ) -> "Look":
        """Bodies in their own shape, with (B, 3) straight stripes or none."""
        rows, _, surfaces, _ = palettes.shape
        stripes = np.zeros((rows, 3)) if waves is None else waves
        return cls(
            palettes,
            stripes[:, None],
            np.zeros(rows),
            np.zeros((rows, surfaces)),
            np.zeros(rows, dtype=bool),
        )


@dataclass(frozen=True)
class Light:
    """What lights B persons; Z up, in the frame of the bodies."""

    directions: NDArray[np.float64]  # (B, L, 3) unit vectors towards the lights
    colours: NDArray[np.float64]  # (B, L, 3)
    ambient: NDArray[np.float64]  # (B, 3) colour of the light in full shadow


class Surface(IntEnum):
    """What is coloured alike."""

    SKIN = 0
    HAIR = 1
    SHOE = 2
    TORSO = 3
    HIPS = 4
    THIGH = 5
    SHIN = 6
    UPPER_ARM = 7
    FOREARM = 8


_SURFACE_OF_BONE = {
    **dict.fromkeys((*HEAD_BONES, "wrist", "finger", "metacarpal"), Surface.SKIN),
    **dict.fromkeys(("spine", "clavicle", "shoulder"), Surface.TORSO),
    **dict.fromkeys(("root", "pelvis"), Surface.HIPS),
    "upperleg": Surface.THIGH,
    "lowerleg": Surface.SHIN,
    **dict.fromkeys(("foot", "toe"), Surface.SHOE),
    "upperarm": Surface.UPPER_ARM,
    "lowerarm": Surface.FOREARM,
}
_TOP = [Surface.TORSO, Surface.UPPER_ARM, Surface.FOREARM]
_BOTTOM = [Surface.HIPS, Surface.THIGH, Surface.SHIN]


def surfaces(body: Body) -> NDArray[np.uint8]:
    """(V,) Surface of each vertex: by material where clothes are modelled, else by bone."""
    surface = np.full(len(body.vertices), Surface.TORSO)
    for prefix, of_bone in _SURFACE_OF_BONE.items():
        surface[body.moved_by(prefix)] = of_bone
    if body.clothed:
        cloth = body.material == Material.CLOTH
        surface[cloth & (surface == Surface.SKIN)] = Surface.TORSO  # collars and cuffs
        surface[cloth & (surface == Surface.SHOE)] = Surface.SHIN  # trouser legs
        surface[body.material == Material.SKIN] = Surface.SKIN
        surface[body.material == Material.SHOE] = Surface.SHOE
        surface[body.material == Material.HAIR] = Surface.HAIR
    if not (body.material == Material.HAIR).any():
        surface[_scalp(body)] = Surface.HAIR
    return surface.astype(np.uint8)


def _scalp(body: Body) -> NDArray[np.bool_]:
    """(V,) skin that hair grows on: the top of the head, and further down behind."""
    head = body.moved_by(*HEAD_BONES) & (body.material == Material.SKIN)
    height, behind = body.vertices[:, 2], body.vertices[:, 1]
    top = height[head].max()
    back = (behind > np.median(behind[head])) & (height > top - 0.2)
    return head & ((height > top - 0.06) | back)


def random_look(noise: RowNoise, clothed: NDArray[np.bool_]) -> Look:
    """Random skin, hair and clothes, by ``Surface``.

    On bodies that are not ``clothed`` (B,), which have no modelled clothes, colours end somewhere
    along the limbs: short or long sleeves and trousers.
    """
    rows = len(noise)
    skin = SKIN_TONES[noise.integer(len(SKIN_TONES))] * noise.uniform(0.9, 1.05)[:, None]
    colours = np.empty((rows, len(Surface), 3))
    colours[:, Surface.SKIN] = skin
    colours[:, Surface.HAIR] = HAIR_TONE * noise.uniform(0.5, 6)[:, None]
    colours[:, Surface.SHOE] = noise.uniform(0.03, 0.6, (3,))
    colours[:, _TOP] = noise.uniform(0.05, 1, (3,))[:, None]
    colours[:, _BOTTOM] = noise.uniform(0.05, 0.8, (3,))[:, None]
    striped = colours.copy()
    striped[:, _TOP] = noise.uniform(shape=(3,))[:, None]
    palettes = np.stack([colours, striped], axis=1)
    # One random number per garment: where the upper arm is bare, so is the forearm.
    sleeves, trousers = noise.uniform(), noise.uniform()
    bare = np.zeros((rows, len(Surface)), dtype=bool)
    bare[:, Surface.UPPER_ARM] = sleeves < 0.1
    bare[:, Surface.FOREARM] = sleeves < 0.5
    bare[:, Surface.SHIN] = trousers < 0.35
    row, surface = np.nonzero(bare & ~clothed[:, None])
    palettes[row, :, surface] = skin[row, None]
    along = np.eye(3)[noise.integer(3)]
    per_metre = noise.uniform(6, 25) * noise.chance(0.5)
    return Look.as_modelled(palettes.clip(0, 1), along * per_metre[:, None])


def random_light(noise: RowNoise) -> Light:
    """One white light from above."""
    direction = noise.normal(shape=(3,))
    direction[:, 2] = np.abs(direction[:, 2]) + 0.3
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    ambient = noise.uniform(0.3, 0.55)[:, None].repeat(3, axis=1)
    return Light(direction[:, None], (FULL_LIGHT - ambient)[:, None], ambient)
