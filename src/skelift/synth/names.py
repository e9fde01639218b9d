"""Which joint of a motion-capture skeleton moves which body part."""

import re
from collections.abc import Sequence

from skelift.errors import InputError
from skelift.synth.parts import PARTS, REQUIRED_PARTS

# Naming family -> part -> joint names, the preferred one first; {side} is "left" or "right" and
# {s} its first letter. Compared in lower case, without prefixes ("mixamorig:") and punctuation.
FAMILIES: dict[str, dict[str, tuple[str, ...]]] = {
    "Daz, Poser": {
        "hips": ("hip",),
        "abdomen": ("abdomen",),
        "chest": ("chest",),
        "neck": ("neck",),
        "head": ("head",),
        "collar": ("{s}collar",),
        "upper_arm": ("{s}shldr",),
        "forearm": ("{s}forearm",),
        "hand": ("{s}hand",),
        "thigh": ("{s}thigh",),
        "shin": ("{s}shin",),
        "foot": ("{s}foot",),
    },
    "MotionBuilder, Mixamo": {
        "hips": ("hips",),
        "abdomen": ("spine",),
        "chest": ("spine3", "spine2", "spine1"),
        "neck": ("neck", "neck1"),
        "head": ("head",),
        "collar": ("{side}shoulder",),
        "upper_arm": ("{side}arm",),
        "forearm": ("{side}forearm",),
        "hand": ("{side}hand",),
        "thigh": ("{side}upleg",),
        "shin": ("{side}leg",),
        "foot": ("{side}foot",),
    },
    "Biovision": {
        "hips": ("hips",),
        "abdomen": ("chest",),
        "chest": ("chest4", "chest3", "chest2", "chest"),
        "neck": ("neck",),
        "head": ("head",),
        "collar": ("{side}collar",),
        "upper_arm": ("{side}shoulder", "{side}uparm"),
        "forearm": ("{side}elbow", "{side}lowarm"),
        "hand": ("{side}wrist", "{side}hand"),
        "thigh": ("{side}hip", "{side}upleg"),
        "shin": ("{side}knee", "{side}lowleg"),
        "foot": ("{side}ankle", "{side}foot"),
    },
}


def parts_of(joints: Sequence[str], origin: str) -> dict[str, int]:
    """Part -> index of the joint that moves it, for the first naming family that fits.

    Raises:
        InputError: no family names all the parts that a body needs; ``origin`` is the file.
    """
    index = {_plain(name): position for position, name in reversed(list(enumerate(joints)))}
    fits = {family: _match(names, index) for family, names in FAMILIES.items()}
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


def _match(names: dict[str, tuple[str, ...]], index: dict[str, int]) -> dict[str, int]:
    found = {}
    for part in PARTS:
        side = {"l": "left", "r": "right"}.get(part[0] if part[1] == "_" else "", "")
        for name in names[part[2:] if side else part]:
            joint = name.format(side=side, s=side[:1])
            if joint in index:
                found[part] = index[joint]
                break
    return found
