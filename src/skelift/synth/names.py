"""Which joint of a motion-capture skeleton moves which body part."""

import re
from collections.abc import Mapping, Sequence

from skelift.errors import InputError
from skelift.synth.parts import PARTS, REQUIRED_PARTS

FAMILIES = ("Daz, Poser", "MotionBuilder, Mixamo", "Biovision")
# Part -> its joint's names in each family, the preferred one first; {side} is "left" or "right" and
# {s} its first letter. Compared in lower case, without prefixes ("mixamorig:") and punctuation.
NAMES: dict[str, tuple[tuple[str, ...], ...]] = {
    "hips": (("hip",), ("hips",), ("hips",)),
    "abdomen": (("abdomen",), ("spine",), ("chest",)),
    "chest": (("chest",), ("spine3", "spine2", "spine1"), ("chest4", "chest3", "chest2", "chest")),
    "neck": (("neck",), ("neck", "neck1"), ("neck",)),
    "head": (("head",), ("head",), ("head",)),
    "collar": (("{s}collar",), ("{side}shoulder",), ("{side}collar",)),
    "upper_arm": (("{s}shldr",), ("{side}arm",), ("{side}shoulder", "{side}uparm")),
    "forearm": (("{s}forearm",), ("{side}forearm",), ("{side}elbow", "{side}lowarm")),
    "hand": (("{s}hand",), ("{side}hand",), ("{side}wrist", "{side}hand")),
    "thigh": (("{s}thigh",), ("{side}upleg",), ("{side}hip", "{side}upleg")),
    "shin": (("{s}shin",), ("{side}leg",), ("{side}knee", "{side}lowleg")),
    "foot": (("{s}foot",), ("{side}foot",), ("{side}ankle", "{side}foot")),
}


def parts_of(joints: Sequence[str], origin: str) -> dict[str, int]:
    """Part -> index of the joint that moves it, for the first naming family that fits.

    Raises:
        InputError: no family names all the parts that a body needs; ``origin`` is the file.
    """
    index = {_plain(name): position for position, name in reversed(list(enumerate(joints)))}
    fits = {name: _match(family, index) for family, name in enumerate(FAMILIES)}
    for parts in fits.values():
        if all(part in parts for part in REQUIRED_PARTS):
            return parts
    family, parts = max(fits.items(), key=lambda fit: len(fit[1]))
    missing = [part for part in REQUIRED_PARTS if part not in parts]
    raise InputError(
        f"{origin}: no joint for {', '.join(missing)} (read with the joint names of {family}); "
        "rename its joints to those of MotionBuilder (Hips, LeftArm, LeftUpLeg ...)"
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().split(":")[-1]).removeprefix("mixamorig")


def _match(family: int, index: Mapping[str, int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in PARTS:
        side = {"l": "left", "r": "right"}.get(part[0] if part[1] == "_" else "", "")
        for name in NAMES[part[2:] if side else part][family]:
            joint = name.format(side=side, s=side[:1])
            if joint in index:
                found.setdefault(part, index[joint])
    return found
