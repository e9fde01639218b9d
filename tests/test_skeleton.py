"""Skeletons against the published joint orders, and what makes one invalid."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quadruped import DOG

from skelift.config import compose
from skelift.config.compose import to_yaml
from skelift.errors import InputError
from skelift.skeleton import Skeleton, joint_name

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


def test_axis_runs_along_the_bones() -> None:
    dog = Skeleton.from_mapping(DOG)
    assert [dog.joints[joint] for joint in dog.axis_path] == ["tail_base", "loin", "withers"]
    backwards = Skeleton.from_mapping(DOG | {"axis": DOG["axis"][::-1]})
    assert backwards.axis_path.tolist() == dog.axis_path[::-1].tolist()
    assert Skeleton.from_mapping(dog.to_mapping()) == dog


def test_files_of_bodies_that_stand_do_not_mention_an_axis() -> None:
    assert "axis" not in named("h36m17").to_mapping()
    assert not len(named("h36m17").axis_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"joints": ["hip", "top", "hip", "r_hand"]}, "joint names repeat"),
        ({"bone_lengths_mm": [500, 600]}, "3 bones but 2 bone_lengths_mm"),
        ({"joints": ["hip", "top", "l_hand", "handL"]}, "joint names repeat (l_hand, handL)"),
        ({"joints": ["hip", "top", "l_hand", " "]}, "must not be empty"),
        ({"name": ""}, "must not be empty"),
        ({"bone_lengths_mm": [500, 600, 0]}, "length above 0"),
        ({"bone_lengths_mm": [500, 600, -1]}, "length above 0"),
        ({"bone_lengths_mm": [500, 600, float("nan")]}, "length above 0"),
        ({"bone_lengths_mm": [500, 600, float("inf")]}, "length above 0"),
        ({"bones": [["hip", "top"], ["top", "top"], ["top", "r_hand"]]}, "joins top to itself"),
        ({"bones": [["hip", "top"], ["top", "hip"], ["top", "r_hand"]]}, "closes a circle"),
        (
            {"bones": [["l_hand", "top"], ["top", "r_hand"], ["r_hand", "l_hand"]]},
            "from r_hand to l_hand closes a circle",
        ),
        (
            {"bones": [["hip", "top"], ["l_hand", "r_hand"]], "bone_lengths_mm": [1, 2]},
            "no bones lead from hip to l_hand, r_hand",
        ),
        ({"pairs": [["l_hand", "r_hand"], ["l_hand", "top"]]}, "l_hand is twice in pairs"),
        ({"pairs": [["l_hand", "l_hand"]]}, "l_hand is twice in pairs"),
        ({"evaluated": ["top", "top"]}, "top is twice in evaluated"),
        ({"channels": {"a": ["top"], "b": ["top"]}}, "top is twice in channels"),
        ({"pair": [["l_hand", "r_hand"]]}, "pair is no field of a skeleton"),
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
        ({"axis": ["hip"]}, "axis is [hip]; give two joints, the rear and the front one"),
        ({"axis": ["hip", "hip"]}, "axis is [hip, hip]; give two joints"),
        ({"axis": ["hip", "l_hand", "top"]}, "axis is [hip, l_hand, top]; give two joints"),
        ({"axis": ["hip", "tail"]}, "tail not among"),
        ({"axis": ["l_hand", "top"]}, "l_hand of axis has a partner; take joints of the midline"),
        ({"axis": "hip"}, "axis has the wrong form"),
    ],
)
def test_invalid_skeleton_is_one_clear_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=r"^skeleton (stick)?: ") as raised:
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


FILE = """
name: {name}
root: {joint}
head: top
joints: [{joint}, top, l_hand, r_hand]
bones: [[{joint}, top], [top, l_hand], [top, r_hand]]
bone_lengths_mm: [500, 6e2, 700.5]
pairs: [[l_hand, r_hand]]
channels:
"""


def skeleton_file(folder: Path, joint: str = "hip", name: str = "stick") -> Path:
    path = folder / "own.yaml"
    path.write_text(FILE.format(joint=joint, name=name))
    return path


@pytest.mark.parametrize(
    "joint",
    ["no", "on", "Off", "y", "true", "1e3", "007", "1_000", "0x1F", ".5", "1:30", "2026-01-02"],
)
def test_names_in_a_file_stay_as_they_are_written(joint: str, tmp_path: Path) -> None:
    config = compose([f"skeleton={skeleton_file(tmp_path, joint, name='010')}", "flow.pca=4"])
    assert (config.body.joints[0], config.body.name) == (joint, "010")
    assert config.body.bone_lengths_mm == (500, 600, 700.5)
    (tmp_path / "run.yaml").write_text(to_yaml(config))
    assert compose(file=tmp_path / "run.yaml").body == config.body
    text = (tmp_path / "run.yaml").read_text().replace(f"'{joint}'", joint)  # written by hand
    (tmp_path / "run.yaml").write_text(text)
    assert compose(file=tmp_path / "run.yaml").body == config.body


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
def test_a_skeleton_file_may_have_any_encoding(encoding: str, tmp_path: Path) -> None:
    path = skeleton_file(tmp_path, "Hüfte", name="Krebs ü")
    path.write_bytes(path.read_text().replace("\n", "\r\n").encode(encoding))
    body = compose([f"skeleton={path}", "flow.pca=4"]).body
    assert (body.name, body.root) == ("Krebs ü", "Hüfte")


def test_keys_of_an_own_skeleton_can_be_set(tmp_path: Path) -> None:
    path = skeleton_file(tmp_path)
    body = compose([f"skeleton={path}", "flow.pca=4", "skeleton.root=l_hand"]).body
    assert (body.name, body.root) == ("stick", "l_hand")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("500", ".nan", "bone_lengths_mm"),
        ("500", "nan", "all with a length above 0 mm"),
        ("head: top", "head: nose", "nose not among its joints"),
        ("pairs:", "\tpairs:", "is not readable YAML"),
        ("head: top", "head: top\nhead: hip", "key head is there twice"),
        ("name: stick", "name: !!python/object:os.system stick", "is not readable YAML"),
        ("name: stick", "name: &a [*a]", "name has the wrong form"),
    ],
)
def test_a_bad_skeleton_file_is_named(old: str, new: str, says: str, tmp_path: Path) -> None:
    path = skeleton_file(tmp_path)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=says) as raised:
        compose([f"skeleton={path}", "flow.pca=4"])
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_other_names_are_no_sides() -> None:
    for name in ("rear", "lear", "rib", "leg", "l", "right", "root", "lip", "spine3", "1e3", "..."):
        assert joint_name(name) == name
    assert joint_name("LEFT_EYE_INNER") == "l_eye_inner"
    assert joint_name("MOUTH_LEFT") == "l_mouth"
    assert joint_name("Hu\u0308fte") == joint_name("H\u00fcfte")


def test_trunk_pairs_hang_on_the_midline() -> None:
    body = compose().body
    named = {tuple(body.joints[i] for i in pair) for pair in body.trunk_pairs}
    assert named == {("l_hip", "r_hip"), ("l_shoulder", "r_shoulder")}
    assert compose(["skeleton=hand21"]).body.trunk_pairs.shape == (0, 2)
