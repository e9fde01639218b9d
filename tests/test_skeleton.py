"""Skeletons against the published joint orders, and what makes one invalid."""

from typing import Any

import numpy as np
import pytest

from skelift.config import compose
from skelift.errors import InputError
from skelift.skeleton import Skeleton

# Human3.6M's 17 joints as VideoPose3D orders them: parent of each joint, and the mirrored order.
H36M_PARENTS = [-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15]
H36M_MIRRORED = [0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13]
# HandDB's 21 joints: the wrist, then five fingers of four.
HAND_PARENTS = [-1, *(0 if joint % 4 == 1 else joint - 1 for joint in range(1, 21))]

MAPPING: dict[str, Any] = {
    "name": "stick",
    "root": "hip",
    "head": "top",
    "joints": ["hip", "top", "l_hand", "r_hand"],
    "bones": [["hip", "top"], ["top", "l_hand"], ["top", "r_hand"]],
    "bone_lengths_mm": [500, 600, 700],
    "pairs": [["l_hand", "r_hand"]],
}


def named(name: str) -> Skeleton:
    return compose([f"skeleton={name}"]).body


@pytest.mark.parametrize(("name", "parents"), [("h36m17", H36M_PARENTS), ("hand21", HAND_PARENTS)])
def test_bones_are_the_published_tree(name: str, parents: list[int]) -> None:
    skeleton = named(name)
    expected = {(parent, joint) for joint, parent in enumerate(parents) if parent >= 0}
    assert {(int(a), int(b)) for a, b in skeleton.bone_indices} == expected
    assert len(skeleton) == len(parents)
    assert skeleton.root_index == 0


def test_mirrored_order_is_the_published_one() -> None:
    assert named("h36m17").swap.tolist() == H36M_MIRRORED
    assert named("hand21").swap.tolist() == list(range(21))  # a mirrored left hand is a right one


def test_paired_bones_are_equally_long() -> None:
    skeleton = named("h36m17")
    lengths = {
        frozenset(bone.tolist()): length
        for bone, length in zip(skeleton.bone_indices, skeleton.bone_lengths_mm, strict=True)
    }
    for bone, length in lengths.items():
        assert lengths[frozenset(H36M_MIRRORED[joint] for joint in bone)] == length


def test_relative_bone_lengths_average_one() -> None:
    relative = Skeleton.from_mapping(MAPPING).relative_bone_lengths
    np.testing.assert_allclose(relative, [500 / 600, 1, 700 / 600])


def test_evaluated_joints_default_to_all() -> None:
    assert named("hand21").evaluated_indices.tolist() == list(range(21))
    evaluated = named("h36m17").evaluated_indices
    assert len(evaluated) == 14
    assert 0 not in evaluated


def test_body_sides_are_channels() -> None:
    skeleton = named("h36m17")
    names = [skeleton.channel_names[channel] for channel in skeleton.bone_channels]
    for (_, child), name in zip(skeleton.bones, names, strict=True):
        assert name == {"l": "left", "r": "right"}.get(child.split("_")[0], "centre")


def test_fingers_are_channels() -> None:
    skeleton = named("hand21")
    assert skeleton.bone_channels.tolist() == [finger for finger in range(5) for _ in range(4)]


def test_bone_without_a_channel_is_named() -> None:
    skeleton = Skeleton.from_mapping(MAPPING | {"channels": {"arms": ["l_hand", "r_hand"]}})
    with pytest.raises(InputError, match="no channel draws the bones to top"):
        _ = skeleton.bone_channels


@pytest.mark.parametrize("name", ["h36m17", "hand21"])
def test_mapping_and_back(name: str) -> None:
    assert Skeleton.from_mapping(named(name).to_mapping()) == named(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"joints": ["hip", "top", "hip", "r_hand"]}, "joint names repeat"),
        ({"bone_lengths_mm": [500, 600]}, "3 bones but 2 bone_lengths_mm"),
        ({"bone_lengths_mm": [500, 600, 0]}, "length above 0"),
        ({"bones": [], "bone_lengths_mm": []}, "needs bones"),
        ({"bones": [["hip", "top"], ["top"], ["top", "r_hand"]]}, "bones has the wrong form"),
        ({"bones": [["hip", "top"], ["top", "tail"], ["top", "r_hand"]]}, "tail not among"),
        ({"pairs": [["l_hand", "tail"]]}, "tail not among"),
        ({"evaluated": ["tail"]}, "tail not among"),
        ({"channels": {"all": ["tail"]}}, "tail not among"),
        ({"root": "tail"}, "tail not among"),
        ({"head": "hip"}, "root and head must be different"),
        ({"bone_lengths_mm": ["a", "b", "c"]}, "bone_lengths_mm has the wrong form"),
        ({"joints": 4}, "joints has the wrong form"),
    ],
)
def test_invalid_skeleton_is_one_clear_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match="skeleton stick: ") as raised:
        Skeleton.from_mapping(MAPPING | change)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("key", ["name", "root", "head", "bone_lengths_mm"])
def test_missing_field_is_named(key: str) -> None:
    with pytest.raises(InputError, match=f"no {key}; add it"):
        Skeleton.from_mapping({name: value for name, value in MAPPING.items() if name != key})


@pytest.mark.parametrize("content", ["h36m17", ["hip"], None])
def test_skeleton_must_be_a_mapping(content: Any) -> None:
    with pytest.raises(InputError, match="is not a mapping"):
        Skeleton.from_mapping(content)


def test_trunk_pairs_hang_on_the_midline() -> None:
    body = compose().body
    named = {tuple(body.joints[i] for i in pair) for pair in body.trunk_pairs}
    assert named == {("l_hip", "r_hip"), ("l_shoulder", "r_shoulder")}
    assert compose(["skeleton=hand21"]).body.trunk_pairs.shape == (0, 2)
