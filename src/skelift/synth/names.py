"""Which joint of a motion-capture skeleton moves which body part."""

import re
from collections.abc import Mapping, Sequence

from skelift.errors import InputError
from skelift.skeleton import joint_name
from skelift.synth.parts import PARTS, REQUIRED_PARTS

FAMILIES = ("Daz, Poser", "MotionBuilder, Mixamo", "Biovision")
# Part -> its joint's names in each family, the preferred one first; {s} is the first letter of the
# side. Compared as _plain spells them.
NAMES: dict[str, tuple[tuple[str, ...], ...]] = {
    "hips": (("hip",), ("hips",), ("hips",)),
    "abdomen": (("abdomen",), ("spine",), ("chest",)),
    "chest": (("chest",), ("spine3", "spine2", "spine1"), ("chest4", "chest3", "chest2", "chest")),
    "neck": (("neck",), ("neck", "neck1"), ("neck",)),
    "head": (("head",), ("head",), ("head",)),
    "collar": (("{s}collar",), ("{s}shoulder",), ("{s}collar",)),
    "upper_arm": (("{s}shldr",), ("{s}arm",), ("{s}shoulder", "{s}uparm")),
    "forearm": (("{s}forearm",), ("{s}forearm",), ("{s}elbow", "{s}lowarm")),
    "hand": (("{s}hand",), ("{s}hand",), ("{s}wrist", "{s}hand")),
    "thigh": (("{s}thigh",), ("{s}upleg",), ("{s}hip", "{s}upleg")),
    "shin": (("{s}shin",), ("{s}leg",), ("{s}knee", "{s}lowleg")),
    "foot": (("{s}foot",), ("{s}foot",), ("{s}ankle", "{s}foot")),
}


def parts_of(joints: Sequence[str], origin: str) -> dict[str, int]:
    """Part -> index of the joint that moves it, for the first naming family that fits.

    Raises:
        InputError: no family names all the parts that a body needs; ``origin`` is the file.
    """
    index: dict[str, list[int]] = {}
    for position, name in enumerate(joints):
        index.setdefault(_plain(name), []).append(position)
    fits = {name: _match(family, index) for family, name in enumerate(FAMILIES)}
    for parts in fits.values():
        if all(part in parts for part in REQUIRED_PARTS):
            return {part: _only(joints, found, origin) for part, found in parts.items()}
    family, parts = max(fits.items(), key=lambda fit: len(fit[1]))
    missing = [part for part in REQUIRED_PARTS if part not in parts]
    raise InputError(
        f"{origin}: no joint for {', '.join(missing)} (read with the joint names of {family}); "
        "rename its joints to those of MotionBuilder (Hips, LeftArm, LeftUpLeg ...)"
    )


def _only(joints: Sequence[str], found: Sequence[int], origin: str) -> int:
    """The joint of a part; InputError where several have its name."""
    if len(found) > 1:
        raise InputError(
            f"{origin}: its joints {' and '.join(joints[joint] for joint in found)} are one by "
            "name; keep one person per file, and give each joint a name of its own"
        )
    return found[0]


def _plain(name: str) -> str:
    """``LeftUpLeg``, ``mixamorig:LeftUpLeg`` and ``up_leg.L`` -> ``lupleg``."""
    spelled = re.sub("^mixamorig", "", name.split(":")[-1], flags=re.IGNORECASE)
    plain = joint_name(spelled).replace("_", "")
    return re.sub("^(left|right)", lambda side: side[0][0], plain)


def _match(family: int, index: Mapping[str, list[int]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for part in PARTS:
        side = part[0] if part[1] == "_" else ""
        for name in NAMES[part[2:] if side else part][family]:
            joint = name.format(s=side)
            if joint in index:
                found.setdefault(part, index[joint])
    return found
