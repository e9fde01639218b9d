"""Articulated skeletons, described in YAML and never in code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, ValidationError

from skelift.errors import InputError


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
        root: joint that poses are relative to.
        head: joint whose distance to the root sets the scale of the 2D poses.
        evaluated: joints of the headline PCK and AUC; empty means all.
        channels: channel name -> child joints of the bones drawn in that channel, used when
            the skeleton image has several channels. Empty derives left / right / centre from pairs.
    """

    __pydantic_config__ = ConfigDict(coerce_numbers_to_str=True)

    name: str
    root: str
    head: str
    joints: tuple[str, ...]
    bones: tuple[tuple[str, str], ...]
    bone_lengths_mm: tuple[float, ...]
    pairs: tuple[tuple[str, str], ...] = ()
    evaluated: tuple[str, ...] = ()
    channels: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(set(self.joints)) != len(self.joints):
            raise InputError(f"skeleton {self.name}: joint names repeat; give each its own name")
        if len(self.bones) != len(self.bone_lengths_mm):
            raise InputError(
                f"skeleton {self.name}: {len(self.bones)} bones but "
                f"{len(self.bone_lengths_mm)} bone_lengths_mm; give one length per bone"
            )
        if not self.bones or min(self.bone_lengths_mm) <= 0:
            raise InputError(f"skeleton {self.name}: needs bones, all with a length above 0 mm")
        named = {self.root, self.head, *self.evaluated}
        for names in (*self.bones, *self.pairs, *self.channels.values()):
            named.update(names)
        unknown = sorted(named - set(self.joints))
        if unknown:
            raise InputError(
                f"skeleton {self.name}: {', '.join(unknown)} not among its joints; correct the name"
            )
        if self.root == self.head:
            raise InputError(f"skeleton {self.name}: root and head must be different joints")

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> "Skeleton":
        """Build from the content of a skeleton YAML file (see ``conf/skeleton``)."""
        if not isinstance(mapping, Mapping):
            raise InputError(f"skeleton: {mapping!r} is not a mapping; give a skeleton's fields")

        given = {key: value for key, value in mapping.items() if value is not None}
        try:
            return _adapter().validate_python(given)
        except ValidationError as invalid:
            error = invalid.errors()[0]
        key, *inside = error["loc"]
        if error["type"] == "missing" and not inside:
            wrong = f"no {key}; add it"
        else:
            wrong = f"{key} has the wrong form ({error['msg']}); correct it"
        raise InputError(
            f"skeleton {mapping.get('name', '(unnamed)')}: {wrong} "
            "(conf/skeleton/h36m17.yaml is an example)"
        )

    def to_mapping(self) -> dict[str, Any]:
        """The YAML form, as plain lists and dicts."""
        mapping: dict[str, Any] = _adapter().dump_python(self, mode="json")
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


@cache
def _adapter() -> TypeAdapter[Skeleton]:
    return TypeAdapter(Skeleton)
