"""Looks as varied as those of real people.

Heads with hair of any colour or of that of the skin, bald ones, caps, hoods and masks; bare
torsos, arms and legs; gloves, socks and bare feet; clothes of one or two pieces with patterns.
The colour of the head does not tell front from back: it may differ from that of the face, or not.

A surface is a material on a segment of the body: ``material * len(Segment) + segment``.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from skelift.synth.body import Body, Material
from skelift.synth.colours import HEAD_BONES, SKIN_TONES, Light, Look
from skelift.synth.noise import RowNoise


class Segment(IntEnum):
    """Where on the body; limbs are halved, the half near the trunk first."""

    FACE = 0
    EYE = 1
    BROW = 2
    JAW = 3  # where a beard grows
    PEAK = 4  # the middle of the forehead
    CROWN = 5  # where hair grows
    NECK = 6
    CHEST = 7
    BELLY = 8
    HIPS = 9
    UPPER_ARM = 10
    UPPER_ARM_END = 11
    FOREARM = 12
    FOREARM_END = 13
    HAND = 14
    THIGH = 15
    THIGH_END = 16
    SHIN = 17
    SHIN_END = 18
    FOOT = 19


SURFACES = len(Material) * len(Segment)
_SEGMENT_OF_BONE = {
    **dict.fromkeys(("spine01", "spine02", "spine03", "clavicle", "shoulder"), Segment.CHEST),
    **dict.fromkeys(("spine04", "spine05"), Segment.BELLY),
    **dict.fromkeys(("root", "pelvis"), Segment.HIPS),
    **dict.fromkeys(("wrist", "finger", "metacarpal"), Segment.HAND),
    **dict.fromkeys(("foot", "toe"), Segment.FOOT),
    "neck": Segment.NECK,
    "head": Segment.FACE,
    "eye": Segment.EYE,
}
# Bones of a limb's part -> its first half, and the bone that it ends at.
_LIMBS = {
    "upperarm": (Segment.UPPER_ARM, "lowerarm01"),
    "lowerarm": (Segment.FOREARM, "wrist"),
    "upperleg": (Segment.THIGH, "lowerleg01"),
    "lowerleg": (Segment.SHIN, "foot"),
}
_CAP = [Segment.CROWN, Segment.PEAK]
_HOOD = [*_CAP, Segment.NECK]
_MASK = [*_HOOD, Segment.JAW, Segment.BROW, Segment.FACE]
# From the trunk outwards, as sleeves and trousers cover them.
_ARM = np.arange(Segment.UPPER_ARM, Segment.HAND)
_LEG = np.arange(Segment.THIGH, Segment.FOOT)


def surfaces(body: Body) -> NDArray[np.uint8]:
    """(V,) surface of each vertex."""
    segment = np.full(len(body.vertices), Segment.CHEST)
    for prefix, of_bone in _SEGMENT_OF_BONE.items():
        segment[body.moved_by(prefix)] = of_bone
    for prefix, (first, end) in _LIMBS.items():
        for side in "LR":
            names = [f"{prefix}{half:02d}.{side}" for half in (1, 2)]
            on_limb = body.moved_by(*names)
            start = body.head_of(names[0])
            along = body.head_of(f"{end}.{side}") - start
            share = (body.vertices[on_limb] - start) @ along / (along @ along)
            segment[on_limb] = np.where(share < 0.5, first, first + 1)
    _mark_waist(body, segment)
    _mark_head(body, segment)
    return (body.material * len(Segment) + segment).astype(np.uint8)


def _mark_waist(body: Body, segment: NDArray[np.int64]) -> None:
    """Divide trunk and legs, in place, at the height of a waistband and of the hip joints."""
    hip, back = (body.head_of(bone)[2] for bone in ("upperleg01.L", "spine03"))
    waist = hip + 0.4 * (back - hip)
    height = body.vertices[:, 2]
    trunk = (segment == Segment.BELLY) | (segment == Segment.HIPS)
    segment[trunk] = np.where(height[trunk] < waist, Segment.HIPS, Segment.BELLY)
    segment[(segment == Segment.THIGH) & (height > hip)] = Segment.HIPS


def _mark_head(body: Body, segment: NDArray[np.int64]) -> None:
    """Divide the head's segment, in place, by heights relative to eyes and top."""
    head = body.moved_by("head")
    x, y, z = body.vertices.T
    skin = body.moved_by(*HEAD_BONES) & (body.material == Material.SKIN)
    eye = (body.head_of("eye.L") + body.head_of("eye.R")) / 2
    height = (z - eye[2]) / (z[skin].max() - eye[2])  # 0: eyes, 1: top, -1: chin
    above = skin & (height > 0)
    middle = (y[above].min() + y[above].max()) / 2
    behind = y > middle
    front = head & (y < middle - 0.04)
    crown = head & ((height > 0.6) | (behind & (height > -0.7)))
    segment[crown] = Segment.CROWN
    segment[front & (height > 0.45) & (height < 0.7) & (np.abs(x) < 0.06)] = Segment.PEAK
    segment[front & (height > 0.12) & (height < 0.24) & (np.abs(x) > 0.015)] = Segment.BROW
    segment[front & (height < -0.5)] = Segment.JAW
    segment[head & ~behind & (height < -1.05)] = Segment.NECK


def varied_look(noise: RowNoise, clothed: NDArray[np.bool_]) -> Look:
    """Random skin, heads and clothes, by the surfaces of ``surfaces``.

    Clothes are modelled on bodies that are ``clothed`` (B,); on the others they are painted.
    """
    rows = len(noise)
    skin = _skin(noise)
    # (B, 2, material, segment, 3): off and on the pattern.
    colours = np.empty((rows, 2, len(Material), len(Segment), 3))
    colours[:] = skin[:, None, None, None]
    _dress(noise, colours, skin, clothed)
    grown = np.zeros((rows, len(Material), len(Segment)))
    bald = _cover_head(noise, colours, grown, skin)
    # Stripes, checks, blocks or none, straight or bent to patches.
    directions = noise.normal(shape=(3, 3))
    directions /= np.linalg.norm(directions, axis=2, keepdims=True)
    upright = noise.chance(0.6)  # along the body's axes
    directions[upright] = np.eye(3)[[2, 0, 1]]
    kinds = noise.index(np.array([0.45, 0.25, 0.2, 0.1]))[:, None]
    per_metre = noise.uniform(2, 20)[:, None] * (np.arange(3) < kinds)
    warp = noise.uniform(0.01, 0.06) * noise.chance(0.35)
    return Look(
        palettes=colours.clip(0, 1).reshape(rows, 2, SURFACES, 3),
        waves=directions * per_metre[..., None],
        warp=warp,
        grown=grown.reshape(rows, SURFACES),
        bald=bald,
    )


def _skin(noise: RowNoise) -> NDArray[np.float64]:
    """(B, 3) colours between two tones, paler or darker."""
    one, other = (SKIN_TONES[noise.integer(len(SKIN_TONES))] for _ in range(2))
    share = noise.uniform()[:, None]
    return (share * one + (1 - share) * other) * noise.uniform(0.8, 1.1)[:, None]


def _any_colour(noise: RowNoise) -> NDArray[np.float64]:
    """(B, 3) colours of things: often grey, black or white, else more or less vivid."""
    grey = noise.uniform(0.1, 0.95)[:, None]
    vivid = noise.uniform(0.02, 1, (3,))
    return grey + (vivid - grey) * (noise.uniform() * ~noise.chance(0.3))[:, None]


def _dress(
    noise: RowNoise,
    colours: NDArray[np.float64],
    skin: NDArray[np.float64],
    clothed: NDArray[np.bool_],
) -> None:
    """Colour all but the head."""
    rows = len(skin)
    covered = np.zeros((rows, len(Segment)), dtype=bool)
    bare_torso = noise.chance(0.15)
    covered[:, Segment.CHEST] = ~bare_torso
    covered[:, Segment.BELLY] = ~bare_torso & ~noise.chance(0.06)
    covered[:, Segment.HIPS] = True
    sleeves = noise.index(np.array([0.15, 0.2, 0.15, 0.1, 0.4])) * ~bare_torso
    covered[:, _ARM] = np.arange(len(_ARM)) < sleeves[:, None]
    legs = noise.index(np.array([0.12, 0.18, 0.12, 0.08, 0.5]))
    covered[:, _LEG] = np.arange(len(_LEG)) < legs[:, None]
    # Modelled clothes, or what they are on a bare body, end as modelled or where paint does.
    as_modelled = clothed & ~bare_torso & noise.chance(0.4)

    top, bottom = _any_colour(noise), _any_colour(noise)
    one_piece = noise.chance(0.15)
    bottom[one_piece] = top[one_piece]
    patterned_top = np.where(noise.chance(0.6)[:, None], _any_colour(noise), top)
    patterned_bottom = np.where(noise.chance(0.25)[:, None], _any_colour(noise), bottom)
    garments = np.empty((rows, 2, len(Segment), 3))
    garments[:, 0], garments[:, 1] = top[:, None], patterned_top[:, None]
    below = [Segment.HIPS, *_LEG, Segment.FOOT]
    garments[:, 0, below], garments[:, 1, below] = bottom[:, None], patterned_bottom[:, None]

    for material in (Material.SKIN, Material.CLOTH):
        worn = covered.copy()
        if material == Material.CLOTH:  # collars, cuffs and the ends of trouser legs
            worn[:, : Segment.CHEST] = covered[:, Segment.CHEST, None]
            worn[:, Segment.HAND] = covered[:, Segment.FOREARM_END]
            worn[:, Segment.FOOT] = covered[:, Segment.SHIN_END]
        worn[as_modelled] = material == Material.CLOTH
        row, segment = np.nonzero(worn)
        colours[row, :, material, segment] = garments[row, :, segment]

    shoe, sock, glove = _any_colour(noise), _any_colour(noise), _any_colour(noise)
    barefoot, socks, gloves = noise.chance(0.2), noise.chance(0.2), noise.chance(0.12)
    colours[:, :, Material.SHOE] = np.where(barefoot[:, None], skin, shoe)[:, None, None]
    painted_shoes = ~barefoot & ~clothed
    colours[painted_shoes, :, Material.SKIN, Segment.FOOT] = shoe[painted_shoes, None]
    for material in (Material.SKIN, Material.CLOTH):
        colours[socks, :, material, Segment.SHIN_END] = sock[socks, None]
        colours[gloves, :, material, Segment.HAND] = glove[gloves, None]
    colours[socks & ~painted_shoes, :, Material.SKIN, Segment.FOOT] = sock[
        socks & ~painted_shoes, None
    ]


def _cover_head(
    noise: RowNoise,
    colours: NDArray[np.float64],
    grown: NDArray[np.float64],
    skin: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Colour the head, let caps stand out; returns (B,) who has no modelled hair."""
    natural = np.array([0.12, 0.08, 0.05]) * noise.uniform(0.3, 6)[:, None]
    grey = noise.uniform(0.3, 0.95)[:, None] * [1, 0.97, 0.93]
    blond = np.array([0.9, 0.72, 0.45]) * noise.uniform(0.5, 1.05)[:, None]
    like_skin = skin * noise.uniform(0.8, 1.1)[:, None]
    tones = np.stack([natural, grey, blond, like_skin, _any_colour(noise)])
    which = noise.index(np.array([0.4, 0.12, 0.15, 0.13, 0.2]))
    hair = tones[which, np.arange(len(which))]
    # Hair, cropped hair, bald, cap over hair, cap, hood, mask
    kind = noise.index(np.array([0.4, 0.08, 0.17, 0.08, 0.13, 0.08, 0.06]))
    haired, cropped, _, cap_over, cap, hood, mask = (kind == k for k in range(7))
    colours[:, :, Material.HAIR] = hair[:, None, None]
    grows = haired | cropped | cap_over
    colours[grows, :, Material.SKIN, Segment.CROWN] = hair[grows, None]

    dark = skin * noise.uniform(0.1, 0.6)[:, None]
    colours[:, :, Material.SKIN, Segment.EYE] = dark[:, None]
    brow = np.where(noise.chance(0.5)[:, None], skin, np.minimum(hair, skin))
    colours[:, :, Material.SKIN, Segment.BROW] = brow[:, None]
    beard = noise.chance(0.2)
    colours[beard, :, Material.SKIN, Segment.JAW] = hair[beard, None]

    worn = _any_colour(noise)
    thick = noise.uniform(0.003, 0.03)
    peak = noise.uniform(0.03, 0.07) * noise.chance(0.5)
    for has, where in ((cap_over | cap, _CAP), (hood, _HOOD), (mask, _MASK)):
        row, segment = np.nonzero(has[:, None] & np.isin(np.arange(len(Segment)), where))
        colours[row, :, Material.SKIN, segment] = worn[row, None]
        grown[row, Material.SKIN, segment] = thick[row]
    capped = cap | cap_over
    grown[capped, Material.SKIN, Segment.PEAK] += peak[capped]
    # A cap over hair covers its top.
    colours[cap_over, :, Material.HAIR, Segment.CROWN] = worn[cap_over, None]
    return ~haired & ~cap_over


def varied_light(noise: RowNoise) -> Light:
    """Three lights of other brightness and warmth, more or less diffuse; exposure varies."""
    directions = noise.normal(shape=(3, 3))
    directions[:, 0, 2] = np.abs(directions[:, 0, 2]) + 0.3  # the first from above
    directions[:, 1:, 2] = np.abs(directions[:, 1:, 2]) - 0.5  # the others from anywhere else
    directions /= np.linalg.norm(directions, axis=2, keepdims=True)
    brightness = noise.uniform(shape=(3,)) ** 2 + [0.1, 0, 0]
    brightness /= brightness.sum(axis=1, keepdims=True)
    exposure, diffuse = noise.uniform(0.7, 1.8), noise.uniform(0.25, 0.8)
    warmth = noise.uniform(-0.2, 0.3, (4, 1)) * [1, 0, -1] + 1  # (B, 4, 3)
    direct = ((1 - diffuse) * exposure)[:, None] * brightness * 1.3
    return Light(
        directions=directions,
        colours=direct[..., None] * warmth[:, :3],
        ambient=(diffuse * exposure)[:, None] * warmth[:, 3],
    )
