"""Damaged files of poses, motion and skeletons give a result or one line that names the file.

``FUZZ_EXAMPLES=2000 pytest tests/test_fuzz_poses.py`` looks longer, and elsewhere each time.
"""

import io
import json
import os
import re
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from test_pose_files import coco_file, csv_file, fixed_h5, table, table_h5
from test_skeleton import skeleton_file
from test_synth_motion import bvh_text
from tiny import load_skeleton

from skelift.config.skeleton_file import read_skeleton
from skelift.data.poses import read_poses
from skelift.errors import InputError
from skelift.skeleton import Skeleton
from skelift.synth.motion import load_motion

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
BODY = load_skeleton("h36m17")
PLACES = np.random.default_rng(0).uniform(20, 300, (3, 17, 2)).round(1)
SURE = np.ones((3, 17))

fuzz = settings(
    max_examples=EXAMPLES or 25,
    derandomize=not EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def check(name: str, content: bytes, read: Callable[[Path], Any]) -> None:
    """A result, or one line of InputError that names the file; and no warning."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        path = Path(folder) / name
        path.write_bytes(content)
        line = ""
        try:
            read(path)
        except InputError as error:
            line = str(error)
        assert not line or name in line
        assert "\n" not in line
        assert len(line) < 1500
        assert not [str(warning.message) for warning in said]


def check_poses(name: str, content: bytes) -> None:
    def read(path: Path) -> None:
        poses = read_poses(path, BODY, 64, 0.1)
        assert poses.poses_2d.shape[1:] == (17, 2)
        assert len(poses.samples) == len(poses.poses_2d) > 0
        assert np.isfinite(poses.poses_2d).all()
        assert np.isfinite(poses.samples["crop"]).all()

    check(name, content, read)


# Damage of bytes.

Damage = list[tuple[str, int, int, bytes]]
BITS = st.one_of(
    st.binary(max_size=8),
    st.sampled_from(
        [
            *(b"\n", b"\r\n", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b",", b";", b"{", b"}", b"["),
            *(b"nan", b"-inf", b"1e999", b"null", b"-1", b"0", b'"', b"MOTION", b"\xfc", b"\t"),
            b"9" * 30,
        ]
    ),
)
DAMAGE = st.lists(
    st.tuples(
        st.sampled_from(["set", "cut", "insert", "repeat", "end"]),
        st.integers(0, 2**20),
        st.integers(0, 40),
        BITS,
    ),
    min_size=1,
    max_size=4,
)


def damaged(content: bytes, damage: Damage) -> bytes:
    for kind, place, length, bits in damage:
        at = place % (len(content) + 1)
        head, part, tail = content[:at], content[at : at + length], content[at + length :]
        content = {
            "set": head + bits + content[at + len(bits) :],
            "cut": head + tail,
            "insert": head + bits + part + tail,
            "repeat": head + part + part + tail,
            "end": head,
        }[kind]
    return content


@cache
def whole(kind: str) -> bytes:
    """An undamaged file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        columns, values = table(PLACES, SURE)
        if kind == "coco":
            return coco_file(folder, PLACES, SURE).read_bytes()
        if kind == "csv":
            return csv_file(folder, PLACES, SURE).read_bytes()
        if kind == "fixed":
            return fixed_h5(folder / "p.h5", columns, [(columns, values)]).read_bytes()
        if kind == "table":
            return table_h5(folder / "p.h5", columns, [(columns, values)]).read_bytes()
        if kind == "npz":
            return npz(poses_2d=PLACES, joints=list(BODY.joints), clip=["a", "b", "c"])
        if kind == "bvh":
            return bvh_text(np.zeros((2, 17, 3))).encode()
        return skeleton_file(folder).read_bytes()


def npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


POSE_FILES = {"coco": "p.json", "csv": "p.csv", "fixed": "p.h5", "table": "p.h5", "npz": "p.npz"}


@pytest.mark.parametrize("kind", POSE_FILES)
@fuzz
@given(damage=DAMAGE)
def test_damaged_poses(kind: str, damage: Damage) -> None:
    check_poses(POSE_FILES[kind], damaged(whole(kind), damage))


@fuzz
@given(damage=DAMAGE)
def test_damaged_motion(damage: Damage) -> None:
    content = damaged(whole("bvh"), damage)
    assume(content)  # an empty file is left out, as of images
    check("walk.bvh", content, read_motion)


def read_motion(path: Path) -> None:
    motion = load_motion(str(path.parent), fps=12)
    assert np.isfinite(motion.rotations).all()
    assert motion.hips is not None
    assert np.isfinite(motion.hips).all()


@fuzz
@given(damage=DAMAGE)
def test_damaged_skeletons(damage: Damage) -> None:
    check("own.yaml", damaged(whole("yaml"), damage), read_own)


def read_own(path: Path) -> None:
    skeleton = Skeleton.from_mapping(read_skeleton(path))
    assert np.isfinite(skeleton.relative_bone_lengths).all()
    assert len(skeleton.bones) == len(skeleton) - 1


# Damage of the content: the file is sound, and something in it is another thing.

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["pelvis", "LEFT_HIP", "person", 0, -1, 1e308, 2**31]),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)


def replaced(content: Any, place: int, value: Any) -> Any:
    """JSON with one of its nodes replaced, the ``place``-th of all."""
    nodes: list[tuple[Any, Any]] = []

    def visit(node: Any) -> None:
        keys = node if isinstance(node, dict) else range(len(node))
        for key in keys:
            nodes.append((node, key))
            if isinstance(node[key], dict | list):
                visit(node[key])

    visit(content)
    # The many numbers of keypoints do not crowd out the rest.
    few = [(node, key) for node, key in nodes if isinstance(node, dict)]
    parent, key = (few if place % 2 else nodes)[place // 2 % len(few if place % 2 else nodes)]
    parent[key] = value
    return content


@fuzz
@given(changes=st.lists(st.tuples(st.integers(0, 10**6), JSON), min_size=1, max_size=3))
def test_coco_of_other_content(changes: list[tuple[int, Any]]) -> None:
    content = json.loads(whole("coco"))
    for place, value in changes:
        content = replaced(content, place, value)
    check_poses("p.json", json.dumps(content).encode())


WORDS = st.one_of(
    st.text(max_size=6),
    st.sampled_from(
        [
            *("nan", "-inf", "1e999", "1,5", "", "-1", "0", "x", "y", "likelihood", "coords", "{"),
            *("}", "ROOT a", "JOINT", "End Site", "CHANNELS", "OFFSET", "6", "99999999999", "Hips"),
            *("Zrotation", "Xposition", "MOTION", "Frames:", "*a", "&a", "- ", "!!float", "null"),
        ]
    ),
)


def reworded(content: bytes, between: str, words: list[tuple[int, str]]) -> bytes:
    parts = re.split(f"({between})", content.decode())
    for place, word in words:
        parts[place % len(parts)] = word
    return "".join(parts).encode("utf-8", "surrogatepass")


REWORDED = st.lists(st.tuples(st.integers(0, 10**6), WORDS), min_size=1, max_size=4)


@fuzz
@given(words=REWORDED)
def test_csv_of_other_content(words: list[tuple[int, str]]) -> None:
    check_poses("p.csv", reworded(whole("csv"), "[,\n]", words))


@fuzz
@given(words=REWORDED)
def test_motion_of_other_content(words: list[tuple[int, str]]) -> None:
    check("walk.bvh", reworded(whole("bvh"), r"\s+", words), read_motion)


@fuzz
@given(words=REWORDED)
def test_skeletons_of_other_content(words: list[tuple[int, str]]) -> None:
    check("own.yaml", reworded(whole("yaml"), r"[\[\],:\s]+", words), read_own)


ARRAYS = st.one_of(
    st.sampled_from(
        [
            np.zeros(0),
            np.zeros((3, 17, 2)),
            np.full((3, 17, 2), np.nan),
            np.full((3, 17, 2), 1e308),
            np.full((3, 17, 3), -1),
            np.ones((3, 17), bool),
            np.array("a"),
            np.array([b"a\xff", b"b", b"c"]),
            np.array(["2026"], "M8[Y]"),
            np.array(1 + 2j),
            np.array([("a", 1)], dtype=[("n", "U1"), ("v", "i4")]),
            np.float16(np.inf),
            np.array([2**63 - 1]),
        ]
    ),
    st.builds(np.full, st.lists(st.integers(0, 18), max_size=3).map(tuple), st.floats()),
    st.lists(st.text(max_size=3), max_size=17).map(np.array),
)
NAMES = st.sampled_from(
    ["poses_2d", "joints", "clip", "person", "focal", "source_size", "confidence", "scores"]
)


@fuzz
@given(arrays=st.dictionaries(NAMES, ARRAYS, max_size=3))
def test_npz_of_other_content(arrays: dict[str, Any]) -> None:
    check_poses("p.npz", npz(**{"poses_2d": PLACES} | arrays))


@fuzz
@given(
    layout=st.sampled_from(["fixed", "table"]),
    place=st.integers(0, 10**6),
    value=st.one_of(SCALARS, st.binary(max_size=20), ARRAYS),
    remove=st.booleans(),
)
def test_h5_of_other_content(layout: str, place: int, value: Any, remove: bool) -> None:
    import h5py

    stream = io.BytesIO(whole(layout))
    with h5py.File(stream, "a") as file:
        nodes: list[Any] = [file]
        file.visititems(lambda _, node: nodes.append(node))
        things = [(node, key) for node in nodes if isinstance(node, h5py.Group) for key in node]
        things += [(node.attrs, key) for node in nodes for key in node.attrs]
        holder, key = things[place % len(things)]
        del holder[key]
        if not remove:
            try:
                holder[key] = value
            except (TypeError, ValueError, OSError, OverflowError):
                return  # HDF5 has no such thing
    check_poses("p.h5", stream.getvalue())
