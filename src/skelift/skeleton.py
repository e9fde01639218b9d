"""Articulated skeletons, described in YAML and never in code."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, ValidationError

from skelift.errors import InputError


@dataclass(frozen=True)
class Part:
    """Flesh of a body: the convex hull of some joints, thicker by a radius."""

    joints: tuple[str, ...]
    radius_mm: float = 0.0


@dataclass(frozen=True)
class Skeleton:
    """Joints, bones and left/right partners of an articulated body.

    Attributes:
        name: name of the skeleton, e.g. ``h36m17``.
        joints: joint names; their order is the order of every joint axis in the project.
        bones: (parent, child) joint names; kappa draws one limb per bone.
        bone_lengths_mm: typical length of each bone. Their ratios are the prior of the
            relative-bone-length loss (Eq. 10), their mean gives predictions a size in mm.
        pairs: (left, right) partner joints; a mirrored image swaps them.
        axis: (rear, front) joints of the midline, of a body that lies, such as a dog: it heads from
            one to the other. Empty for a body that stands: it heads where its trunk faces.
        root: joint that poses are relative to.
        head: joint whose distance to the root sets the scale of the 2D poses.
        parts: flesh of a body that is more than limbs, by which its silhouette is drawn. Empty:
            limbs of one thickness.
        evaluated: joints of the headline PCK and AUC; empty means all.
        channels: channel name -> child joints of the bones drawn in that channel, used when
            the skeleton image has several channels. Empty derives left / right / centre from pairs.
    """

    __pydantic_config__ = ConfigDict(coerce_numbers_to_str=True, extra="forbid")

    name: str
    root: str
    head: str
    joints: tuple[str, ...]
    bones: tuple[tuple[str, str], ...]
    bone_lengths_mm: tuple[float, ...]
    pairs: tuple[tuple[str, str], ...] = ()
    axis: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    evaluated: tuple[str, ...] = ()
    channels: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for fault in self._faults():
            raise InputError(f"skeleton {self.name}: {fault}")

    def _faults(self) -> Iterator[str]:
        """What is wrong with it, the plainest first."""
        if not self.name.strip() or not all(joint.strip() for joint in self.joints):
            yield "its name and those of its joints must not be empty; name them"
        if twice := _repeated(map(joint_name, self.joints)):
            same = [joint for joint in self.joints if joint_name(joint) == twice]
            yield f"joint names repeat ({', '.join(same)}); give each its own name"
        if len(self.bones) != len(self.bone_lengths_mm):
            yield (
                f"{len(self.bones)} bones but {len(self.bone_lengths_mm)} bone_lengths_mm; give "
                "one length per bone"
            )
        if not self.bones or not all(0 < length < np.inf for length in self.bone_lengths_mm):
            yield "needs bones, all with a length above 0 mm"
        named = {self.root, self.head, *self.axis, *self.evaluated}
        of_parts = [part.joints for part in self.parts]
        for names in (*self.bones, *self.pairs, *self.channels.values(), *of_parts):
            named.update(names)
        if unknown := sorted(named - set(self.joints)):
            yield f"{', '.join(unknown)} not among its joints; correct the name"
        if self.root == self.head:
            yield "root and head must be different joints"
        if twice := _repeated(joint for pair in self.pairs for joint in pair):
            yield f"{twice} is twice in pairs; a joint has one partner"
        if self.axis and (len(self.axis) != 2 or _repeated(self.axis)):
            yield f"axis is [{', '.join(self.axis)}]; give two joints, the rear and the front one"
        if aside := sorted({joint for pair in self.pairs for joint in pair} & set(self.axis)):
            yield f"{aside[0]} of axis has a partner; take joints of the midline"
        if not all(part.joints and 0 <= part.radius_mm < np.inf for part in self.parts):
            yield "a part needs joints and a radius_mm of 0 or more"
        if twice := _repeated(self.evaluated):
            yield f"{twice} is twice in evaluated; name it once"
        if twice := _repeated(joint for names in self.channels.values() for joint in names):
            yield f"{twice} is twice in channels; its bone is drawn in one"
        if fault := self._no_tree():
            yield f"{fault}; its bones must join all joints, each by one way"

    def _no_tree(self) -> str:
        """Why the bones are not a tree of all joints, or nothing."""
        joined = {joint: {joint} for joint in self.joints}
        for parent, child in self.bones:
            if parent == child:
                return f"a bone joins {parent} to itself"
            if joined[parent] is joined[child]:
                return f"the bone from {parent} to {child} closes a circle"
            joined[parent] |= joined[child]
            joined |= dict.fromkeys(joined[child], joined[parent])
        apart = [joint for joint in self.joints if joint not in joined[self.root]]
        return f"no bones lead from {self.root} to {', '.join(apart)}" if apart else ""

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> "Skeleton":
        """Build from the content of a skeleton YAML file (see ``conf/skeleton``)."""
        if not isinstance(mapping, Mapping):
            raise InputError(f"skeleton: {mapping!r} is not a mapping; give a skeleton's fields")
        given = {str(key): value for key, value in mapping.items() if value is not None}
        try:
            return _adapter().validate_python(given)
        except ValidationError as invalid:
            error = invalid.errors()[0]
        key, *inside = error["loc"]
        if error["type"] == "missing" and not inside:
            wrong = f"no {key}; add it"
        elif error["type"] == "unexpected_keyword_argument":
            wrong = f"{key} is no field of a skeleton; correct the name"
        else:
            wrong = f"{key} has the wrong form ({error['msg']}); correct it"
        raise InputError(
            f"skeleton {mapping.get('name', '(unnamed)')}: {wrong} "
            "(conf/skeleton/h36m17.yaml is an example)"
        )

    def to_mapping(self) -> dict[str, Any]:
        """The YAML form, as plain lists and dicts."""
        mapping: dict[str, Any] = _adapter().dump_python(self, mode="json")
        for later in ("axis", "parts"):  # files without them stay as earlier versions read them
            if not mapping[later]:
                del mapping[later]
        return mapping

    def __len__(self) -> int:
        return len(self.joints)

    def index(self, joint: str) -> int:
        """Position of a joint on the joint axis."""
        return self.joints.index(joint)

    @cached_property
    def root_index(self) -> int:
        """Index of the root joint."""
        return self.index(self.root)

    @cached_property
    def head_index(self) -> int:
        """Index of the head joint."""
        return self.index(self.head)

    @cached_property
    def axis_path(self) -> NDArray[np.int64]:
        """(K,) indices of the joints from the rear to the front of the axis, along the bones.

        Empty for a body that stands.
        """
        if not self.axis:
            return np.empty(0, dtype=np.int64)
        rear, front = self.axis
        ways = [[rear]]  # the bones are a tree: one of them gets there
        while ways[0][-1] != front:
            way = ways.pop(0)
            ways += [
                [*way, end]
                for bone in self.bones
                for start, end in (bone, bone[::-1])
                if start == way[-1] and end not in way
            ]
        return np.array([self.index(joint) for joint in ways[0]], dtype=np.int64)

    @cached_property
    def bone_indices(self) -> NDArray[np.int64]:
        """(N, 2) joint indices (parent, child) of the bones: the set C of Eq. 2."""
        return np.array([[self.index(a), self.index(b)] for a, b in self.bones], dtype=np.int64)

    @cached_property
    def relative_bone_lengths(self) -> NDArray[np.float64]:
        """(N,) bone lengths over their mean: b_bar of Eq. 10."""
        lengths = np.asarray(self.bone_lengths_mm, dtype=np.float64)
        relative: NDArray[np.float64] = lengths / lengths.mean()
        return relative

    @cached_property
    def swap(self) -> NDArray[np.int64]:
        """(J,) permutation that swaps left and right joints."""
        order = np.arange(len(self.joints))
        for left, right in self.pairs:
            i, j = self.index(left), self.index(right)
            order[i], order[j] = j, i
        return order

    @cached_property
    def trunk_pairs(self) -> NDArray[np.int64]:
        """(P, 2) indices of the (left, right) pairs that hang on a joint of the midline."""
        order = np.arange(len(self.joints))
        on_midline = {self.joints[i] for i in order[self.swap == order]}
        hanging = {b for bone in self.bones for a, b in (bone, bone[::-1]) if a in on_midline}
        pairs = [pair for pair in self.pairs if hanging >= set(pair)]
        indices = [[self.index(left), self.index(right)] for left, right in pairs]
        return np.array(indices, dtype=np.int64).reshape(-1, 2)

    @cached_property
    def evaluated_indices(self) -> NDArray[np.int64]:
        """Indices of the joints of the headline PCK and AUC."""
        return np.array([self.index(j) for j in self.evaluated or self.joints], dtype=np.int64)

    @cached_property
    def channel_names(self) -> tuple[str, ...]:
        """Channels of a skeleton image that tells body sides (or fingers) apart."""
        return tuple(self._channel_of_child)

    @cached_property
    def bone_channels(self) -> NDArray[np.int64]:
        """(N,) channel of each bone, for a skeleton image with ``channel_names`` channels."""
        owner = {child: c for c, ch in enumerate(self._channel_of_child.values()) for child in ch}
        missing = [child for _, child in self.bones if child not in owner]
        if missing:
            raise InputError(
                f"skeleton {self.name}: no channel draws the bones to {', '.join(missing)}; "
                "name them under channels"
            )
        return np.array([owner[child] for _, child in self.bones], dtype=np.int64)

    @cached_property
    def _channel_of_child(self) -> Mapping[str, Sequence[str]]:
        if self.channels:
            return self.channels
        left = {pair[0] for pair in self.pairs}
        right = {pair[1] for pair in self.pairs}
        children = [child for _, child in self.bones]
        sides = {
            "left": [c for c in children if c in left],
            "right": [c for c in children if c in right],
            "centre": [c for c in children if c not in left | right],
        }
        return {name: bones for name, bones in sides.items() if bones}


def joint_name(name: str) -> str:
    """One spelling of a joint's name, by which joints of any file are compared.

    Lower case, words joined by ``_``, the body side in front as ``l`` or ``r``: ``LEFT_HIP``,
    ``leftHip``, ``Left Hip``, ``L_HIP``, ``LHip``, ``hip_l`` and ``hip.L`` are ``l_hip``.
    """
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", _composed(name))
    words = [word for word in re.split(r"[\W_]+", parted.lower()) if word]
    if len(words) == 1 and (stuck := _STUCK.fullmatch(words[0])):
        words = [stuck[1], stuck[2]]
    sides = [at for at, word in enumerate(words) if word in ("left", "right")]
    sides = sides or [at for at in (0, len(words) - 1) if words[at:] and words[at] in ("l", "r")]
    if len(words) > 1 and len(sides) == 1:
        words = [words.pop(sides[0])[0], *words]
    return "_".join(words) or name


# A side without a space before the joint: ``LHIP``, ``rightknee``. Not ``rear``, which is no ear.
_STUCK = re.compile(
    r"(left|right|l|r)(hip|knee|ankle|shoulder|elbow|wrist|eye|heel|foot|hand|(?<=t)ear)"
)


def _composed(name: str) -> str:
    """Letters with accents as one character each, however they were typed."""
    return unicodedata.normalize("NFKC", name)


def _repeated(names: Iterable[str]) -> str:
    """A name that is there more than once, or nothing."""
    return next((name for name, count in Counter(names).items() if count > 1), "")


@cache
def _adapter() -> TypeAdapter[Skeleton]:
    return TypeAdapter(Skeleton)
