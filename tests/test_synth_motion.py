"""Motion: BVH files, other sources, and what is made of captured poses."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from skelift.errors import InputError
from skelift.synth.body import load_bodies
from skelift.synth.bvh import Joint, read_bvh
from skelift.synth.motion import Motion, load_motion
from skelift.synth.parts import PARENT_PART, PARTS
from skelift.synth.poses import bend, graft, mirror
from skelift.synth.splits import split_clips, split_persons

# Name, parent, offset of a person in centimetres, Y up, facing +Z, the left at +X.
SKELETON = [
    ("Hips", None, (0, 0, 0)),
    ("Spine", "Hips", (0, 10, 0)),
    ("Spine1", "Spine", (0, 15, 0)),
    ("Neck", "Spine1", (0, 25, 0)),
    ("Head", "Neck", (0, 10, 0)),
    ("LeftArm", "Spine1", (18, 20, 0)),
    ("LeftForeArm", "LeftArm", (28, 0, 0)),
    ("LeftHand", "LeftForeArm", (25, 0, 0)),
    ("RightArm", "Spine1", (-18, 20, 0)),
    ("RightForeArm", "RightArm", (-28, 0, 0)),
    ("RightHand", "RightForeArm", (-25, 0, 0)),
    ("LeftUpLeg", "Hips", (10, 0, 0)),
    ("LeftLeg", "LeftUpLeg", (0, -42, 0)),
    ("LeftFoot", "LeftLeg", (0, -42, 0)),
    ("RightUpLeg", "Hips", (-10, 0, 0)),
    ("RightLeg", "RightUpLeg", (0, -42, 0)),
    ("RightFoot", "RightLeg", (0, -42, 0)),
]
NAMES = [name for name, _, _ in SKELETON]


def bvh_text(frames: np.ndarray, frame_time: float = 1 / 12, offsets: dict | None = None) -> str:
    """A BVH file of SKELETON: (F, J, 3) degrees about Z, X and Y, in that order."""

    def block(name: str, depth: int) -> list[str]:
        pad = "\t" * depth
        offset = (offsets or {}).get(name) or next(o for n, _, o in SKELETON if n == name)
        root = depth == 0
        position = "6 Xposition Yposition Zposition " if root else "3 "
        lines = [
            f"{pad}{'ROOT' if root else 'JOINT'} {name}",
            f"{pad}{{",
            f"{pad}\tOFFSET {offset[0]} {offset[1]} {offset[2]}",
            f"{pad}\tCHANNELS {position}Zrotation Xrotation Yrotation",
        ]
        children = [n for n, parent, _ in SKELETON if parent == name]
        for child in children:
            lines += block(child, depth + 1)
        if not children:
            lines += [f"{pad}\tEnd Site", f"{pad}\t{{", f"{pad}\t\tOFFSET 1 2 3", f"{pad}\t}}"]
        return [*lines, f"{pad}}}"]

    def depth_first(name: str) -> list[str]:
        children = [n for n, parent, _ in SKELETON if parent == name]
        return [name, *(n for child in children for n in depth_first(child))]

    order = [NAMES.index(name) for name in depth_first("Hips")]
    rows = [
        " ".join(str(v) for v in [1, 2, 3 + n, *row[order].ravel()]) for n, row in enumerate(frames)
    ]
    head = ["HIERARCHY", *block("Hips", 0), "MOTION", f"Frames: {len(frames)}"]
    return "\n".join([*head, f"Frame Time: {frame_time}", *rows]) + "\n"


def random_frames(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-40, 40, (count, len(SKELETON), 3)).round(3)


def test_bvh_rotations_multiply_down_the_hierarchy(tmp_path: Path) -> None:
    frames = random_frames(3)
    (tmp_path / "a.bvh").write_text(bvh_text(frames))
    bvh = read_bvh(tmp_path / "a.bvh")
    names = [joint.name for joint in bvh.joints]
    rotations, rest = bvh.rotations(), bvh.rest()
    for name, parent, offset in SKELETON:
        degrees = frames[:, NAMES.index(name)]
        expected = Rotation.from_euler("ZXY", degrees, degrees=True).as_matrix()
        if parent:
            expected = rotations[:, names.index(parent)] @ expected
            np.testing.assert_allclose(rest[names.index(name)] - rest[names.index(parent)], offset)
        np.testing.assert_allclose(rotations[:, names.index(name)], expected, atol=1e-9)
    assert bvh.frame_time == pytest.approx(1 / 12)
    np.testing.assert_allclose(rest[names.index("Head_end")] - rest[names.index("Head")], [1, 2, 3])


def test_a_standing_t_pose_is_the_canonical_rest(tmp_path: Path) -> None:
    (tmp_path / "walk_01.bvh").write_text(bvh_text(np.zeros((2, len(SKELETON), 3))))
    motion = load_motion(str(tmp_path), fps=12)
    expected = np.broadcast_to(np.eye(3), motion.rotations.shape)
    np.testing.assert_allclose(motion.rotations, expected, atol=1e-6)
    assert motion.clips == ("walk_01",)
    assert motion.activities == ("walk",)


def test_hanging_arms_at_rest_are_turned_from_the_t_pose(tmp_path: Path) -> None:
    hanging = {name: (0, -27, 0) for name in NAMES if name.endswith(("ForeArm", "Hand"))}
    text = bvh_text(np.zeros((1, len(SKELETON), 3)), offsets=hanging)
    (tmp_path / "a.bvh").write_text(text)
    pose = load_motion(str(tmp_path), fps=12).rotations[0]
    for part in ("l_upper_arm", "l_forearm"):
        np.testing.assert_allclose(pose[PARTS.index(part)] @ [1, 0, 0], [0, 0, -1], atol=1e-6)
    for part in ("r_upper_arm", "r_forearm"):
        np.testing.assert_allclose(pose[PARTS.index(part)] @ [-1, 0, 0], [0, 0, -1], atol=1e-6)


def test_the_left_forearm_bends_forward_in_the_frame_of_bodies(tmp_path: Path) -> None:
    frames = np.zeros((1, len(SKELETON), 3))
    frames[0, NAMES.index("LeftForeArm"), 2] = -90  # about Y (up): from +X (left) to +Z (front)
    (tmp_path / "a.bvh").write_text(bvh_text(frames))
    pose = load_motion(str(tmp_path), fps=12).rotations[0]
    np.testing.assert_allclose(pose[PARTS.index("l_forearm")] @ [1, 0, 0], [0, -1, 0], atol=1e-6)
    np.testing.assert_allclose(pose[PARTS.index("r_forearm")], np.eye(3), atol=1e-6)


def test_bvh_and_npz_of_the_same_motion_agree(tmp_path: Path) -> None:
    frames = random_frames(4)
    (tmp_path / "bvh").mkdir()
    (tmp_path / "bvh" / "a.bvh").write_text(bvh_text(frames))
    bvh = read_bvh(tmp_path / "bvh" / "a.bvh")
    quaternions = Rotation.from_matrix(bvh.rotations().reshape(-1, 3, 3)).as_quat()
    np.savez(
        tmp_path / "motion.npz",
        joint=np.array([joint.name for joint in bvh.joints]),
        global_quat_xyzw=quaternions.reshape(4, -1, 4),
        pos_cm=bvh.rest() + np.array([[[1, 2, 3 + n]] for n in range(4)]),
        rest_pos_cm=bvh.rest(),
        clip=np.array(["a"]),
        clip_len=np.array([4]),
    )
    (tmp_path / "CMU-INDEX.md").write_text("a  nothing\n")
    loaded = load_motion(str(tmp_path / "motion.npz"), fps=12)
    expected = load_motion(str(tmp_path / "bvh"), fps=12)
    np.testing.assert_allclose(loaded.rotations, expected.rotations, atol=1e-6)
    np.testing.assert_allclose(loaded.hips, expected.hips, atol=1e-6)
    # The files' Z is the way forward, which is -Y in the frame of bodies.
    steps = np.diff(loaded.hips, axis=0) * np.linalg.norm(head_of(bvh.rest(), bvh.joints))
    np.testing.assert_allclose(steps, np.broadcast_to([0, -1, 0], (3, 3)), atol=1e-6)


def test_motion_without_places_is_taken_without_them(tmp_path: Path) -> None:
    (tmp_path / "a.bvh").write_text(bvh_text(random_frames(2)))
    bvh = read_bvh(tmp_path / "a.bvh")
    np.savez(
        tmp_path / "motion.npz",
        joint=np.array([joint.name for joint in bvh.joints]),
        global_quat_xyzw=np.tile([0.0, 0, 0, 1], (2, len(bvh.joints), 1)),
        rest_pos_cm=bvh.rest(),
        clip=np.array(["a"]),
        clip_len=np.array([2]),
    )
    assert load_motion(str(tmp_path / "motion.npz"), fps=12).hips is None


def same_way(found: Motion, expected: Motion) -> None:
    steps = (np.diff(motion.hips, axis=0) for motion in (found, expected))
    np.testing.assert_allclose(*steps, atol=1e-6)


STILL = np.zeros((5, len(SKELETON), 3))


def under_reference(text: str, turn: str = "0 0 0", moves: bool = False) -> str:
    """The same motion with a ROOT above the hips; it, or the hips, have the places."""
    hierarchy, _, motion = text.partition("MOTION\n")
    body = hierarchy.split("ROOT Hips\n")[1]
    if moves:
        body = body.replace("CHANNELS 6 Xposition Yposition Zposition", "CHANNELS 3", 1)
    heading = "CHANNELS 6 Zrotation Xrotation Yrotation Xposition Yposition Zposition"
    root = f"HIERARCHY\nROOT Reference\n{{\nOFFSET 7 8 9\n{heading}\nJOINT Hips\n{body}}}\n"
    lines = motion.splitlines()
    for number, line in enumerate(lines[2:], start=2):
        place, rest = line.split(" ")[:3], line.split(" ")[3:]
        own = [*place, *rest] if moves else ["0", "0", "0", *place, *rest]
        lines[number] = " ".join([*turn.split(), *own])
    return root + "MOTION\n" + "\n".join(lines) + "\n"


def motion_of(folder: Path, text: str | bytes) -> Motion:
    folder.mkdir(exist_ok=True)
    content = text if isinstance(text, bytes) else text.encode()
    (folder / "walk_01.bvh").write_bytes(content)
    return load_motion(str(folder), fps=12)


@pytest.mark.parametrize("moves", [False, True])
def test_the_hips_are_the_root_wherever_they_stand(moves: bool, tmp_path: Path) -> None:
    text = bvh_text(random_frames(5))
    expected = motion_of(tmp_path / "plain", text)
    found = motion_of(tmp_path / "below", under_reference(text, moves=moves))
    np.testing.assert_allclose(found.rotations, expected.rotations, atol=1e-6)
    np.testing.assert_allclose(
        np.diff(found.hips, axis=0), np.diff(expected.hips, axis=0), atol=1e-6
    )
    assert np.linalg.norm(found.hips[-1] - found.hips[0]) > 0.05, "they go somewhere"


def test_a_reference_may_turn_z_up_into_y_up(tmp_path: Path) -> None:
    """The skeleton lies along Z in the zero pose; the joint above it sets it upright."""
    upright = bvh_text(STILL)
    offsets = {name: (x, -z, y) for name, _, (x, y, z) in SKELETON}
    lying = bvh_text(STILL, offsets=offsets)
    # Places of the hips are in the frame of the joint above: 1 2 3+n becomes 1 -3-n 2.
    for frame in range(len(STILL)):
        lying = lying.replace(f"\n1 2 {3 + frame} ", f"\n1 -{3 + frame} 2 ")
    expected = motion_of(tmp_path / "plain", upright)
    found = motion_of(tmp_path / "turned", under_reference(lying, turn="0 -90 0"))
    np.testing.assert_allclose(found.rotations, expected.rotations, atol=1e-6)
    np.testing.assert_allclose(
        np.diff(found.hips, axis=0), np.diff(expected.hips, axis=0), atol=1e-6
    )


def test_a_slanted_reference_turns_whom_it_carries(tmp_path: Path) -> None:
    """No turn from axis to axis: the walk goes along the slant, as the body faces."""
    motion = motion_of(tmp_path, under_reference(bvh_text(STILL), turn="0 0 30"))
    step = motion.hips[-1] - motion.hips[0]
    ahead = motion.rotations[0, PARTS.index("hips")] @ [0, -1, 0]
    np.testing.assert_allclose(step / np.linalg.norm(step), ahead, atol=1e-6)
    angle = np.degrees(np.arctan2(ahead[0], -ahead[1]))
    assert abs(angle) == pytest.approx(30, abs=1e-3)


def test_bvh_as_other_programs_write_it(tmp_path: Path) -> None:
    text = bvh_text(random_frames(4))
    expected = motion_of(tmp_path / "plain", text)
    keywords = ("HIERARCHY", "ROOT", "JOINT", "OFFSET", "CHANNELS", "End Site", "MOTION", "Frames")
    lower = text.replace("Frame Time", "frame time")
    for word in keywords:
        lower = lower.replace(word, word.lower())
    forms = {
        "mark": b"\xef\xbb\xbf" + text.encode(),
        "utf16": text.encode("utf-16"),
        "crlf": text.replace("\n", "\r\n").encode(),
        "mac": text.replace("\n", "\r").encode(),
        "blanks": text.replace("\n", "\n\n").replace(" ", "\t").encode(),
        "lower": lower.encode(),
        "channels": text.replace("rotation", "ROTATION").replace("position", "Position").encode(),
        "no end sites": re.sub(r"\s*End Site\s*{[^}]*}", "", text).encode(),
        "no colons": text.replace("Frames:", "Frames").replace("Time:", "Time").encode(),
        "spaces": text.replace("LeftArm", "Left Arm").encode(),
        "sides behind": text.replace("LeftArm", "arm_l").replace("RightUpLeg", "upLeg.R").encode(),
        "MOTION in a name": text.replace("JOINT LeftArm", "JOINT MOTION:LeftArm").encode(),
        "prefix": re.sub(r"(ROOT|JOINT) ", r"\1 mixamorig:", text).encode(),
    }
    for name, content in forms.items():
        found = motion_of(tmp_path / name, content)
        np.testing.assert_allclose(found.rotations, expected.rotations, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(found.hips, expected.hips, atol=1e-6, err_msg=name)


def test_channels_are_read_by_name_in_any_order(tmp_path: Path) -> None:
    frames = random_frames(4)
    expected = motion_of(tmp_path / "plain", bvh_text(frames))
    order = "Zposition Zrotation Xposition Xrotation Yrotation Yposition"
    text = bvh_text(frames).replace(
        "Xposition Yposition Zposition Zrotation Xrotation Yrotation", order
    )
    lines = text.splitlines()
    first = lines.index("MOTION") + 3
    for number in range(first, len(lines)):
        x, y, z, about_z, about_x, about_y, *rest = lines[number].split()
        lines[number] = " ".join([z, about_z, x, about_x, about_y, y, *rest])
    found = motion_of(tmp_path / "other", "\n".join(lines))
    np.testing.assert_allclose(found.rotations, expected.rotations, atol=1e-6)
    np.testing.assert_allclose(found.hips, expected.hips, atol=1e-6)


def test_every_joint_may_have_positions(tmp_path: Path) -> None:
    """They repeat the offsets, as motion capture programs write them."""
    frames = random_frames(4)
    plain = bvh_text(frames)
    (tmp_path / "order").mkdir()
    (tmp_path / "order" / "a.bvh").write_text(plain)
    joints = [j for j in read_bvh(tmp_path / "order" / "a.bvh").joints if j.channels]
    text = plain.replace("CHANNELS 3 ", "CHANNELS 6 Xposition Yposition Zposition ")
    lines = text.splitlines()
    for number in range(lines.index("MOTION") + 3, len(lines)):
        numbers = lines[number].split()
        cells = numbers[:6]
        for at, joint in enumerate(joints[1:], start=1):
            cells += [str(v) for v in joint.offset] + numbers[3 + 3 * at : 6 + 3 * at]
        lines[number] = " ".join(cells)
    expected = motion_of(tmp_path / "plain", plain)
    found = motion_of(tmp_path / "all", "\n".join(lines))
    np.testing.assert_allclose(found.rotations, expected.rotations, atol=1e-6)
    np.testing.assert_allclose(found.hips, expected.hips, atol=1e-6)


def test_positions_take_the_place_of_offsets_down_the_hierarchy(tmp_path: Path) -> None:
    (tmp_path / "a.bvh").write_text(under_reference(bvh_text(random_frames(3)), turn="0 0 90"))
    bvh = read_bvh(tmp_path / "a.bvh")
    places = bvh.places(bvh.rotations())
    assert bvh.joints[1].name == "Hips"
    # The joint above has its own positions, 0 0 0, and turns x into -z and z into x.
    np.testing.assert_allclose(places[:, 0], 0)
    np.testing.assert_allclose(places[:, 1], [[3 + n, 2, -1] for n in range(3)], atol=1e-9)


def head_of(places: np.ndarray, joints: tuple[Joint, ...]) -> np.ndarray:
    return places[[joint.name for joint in joints].index("Head")]


def test_bvh_frames_are_thinned_to_fps(tmp_path: Path) -> None:
    frames = random_frames(100)
    (tmp_path / "a.bvh").write_text(bvh_text(frames, frame_time=1 / 120))
    assert len(load_motion(str(tmp_path), fps=12).rotations) == 10


def test_sub_folders_are_activities(tmp_path: Path) -> None:
    (tmp_path / "jump").mkdir()
    (tmp_path / "jump" / "07.bvh").write_text(bvh_text(random_frames(1)))
    motion = load_motion(str(tmp_path), fps=12)
    assert (motion.clips, motion.activities) == (("jump/07",), ("jump",))


def test_only_files_of_motion_are_taken_in_natural_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("walk_10.bvh", "walk_2.BVH"):
        (tmp_path / name).write_text(bvh_text(random_frames(1)))
    (tmp_path / "._walk_2.BVH").write_bytes(b"\0\5\x16\7")  # as macOS leaves beside files
    (tmp_path / "empty.bvh").touch()
    assert load_motion(str(tmp_path), fps=12).clips == ("walk_2", "walk_10")
    assert "left out 2 files (1 empty, 1 of the system)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-30], "broken BVH file"),
        (lambda text: text.replace("HIERARCHY", "<html>"), "not a BVH file"),
        (lambda text: text.split("MOTION")[0], "not a BVH file"),
        (lambda text: text.replace("1 2 3 0.0", "1 2 3 nan", 1), "NaN"),
        (lambda text: text.replace("Zrotation", "Wrotation", 1), "unknown channel Wrotation"),
        (lambda text: text.replace("LeftArm", "Tentacle"), "no joint for l_upper_arm"),
        (lambda text: text.replace("OFFSET 0 -42 0", "OFFSET 0 42 0"), "does not stand upright"),
        (lambda text: text.replace("Frames: 2", "Frames: x"), "Frames"),
        (
            lambda text: text.replace("Frames: 2", "Frames: 3"),
            "2 frames of .* but Frames: 3",
        ),
        (
            lambda text: text.replace("Frames: 2", "Frames: 1"),
            "2 frames of .* but Frames: 1",
        ),
        (lambda text: text.replace("Time: 0.0833", "Time: nan 0.0833"), "no frame time"),
        (lambda text: text.replace("Time: 0.0833", "Time: 1e-320 0"), "no frame time"),
        (lambda text: text.replace("OFFSET 0 10 0", "OFFSET 0 nan 0", 1), "offset of Spine is not"),
        (lambda text: text.replace("OFFSET 0 10 0", "OFFSET 0 x 0", 1), "could not convert"),
        (lambda text: text.replace("1 2 3 0.0", "1 2 3,5 0.0", 1), "could not convert"),
        (lambda text: text.replace("1 2 3 0.0", "1 2 1e300 0.0", 1), "too far to count"),
        (lambda text: text.replace("Zrotation", "Xrotation", 1), "two channels Xrotation"),
        (lambda text: text.replace("JOINT Spine1", "JOINT Hips", 1), "Hips and Hips are one by"),
        (lambda text: text.replace("MOTION", "ROOT Other\n{\n}\nMOTION"), "keep one ROOT"),
        (lambda text: text.replace("}\nMOTION", "MOTION"), "braces"),
        (lambda text: text.replace("MOTION", "}\nMOTION"), "broken BVH file"),
        (lambda text: text.replace("JOINT Spine\n", "JOINT Spine\n{\n"), "broken BVH file"),
    ],
)
def test_a_bad_bvh_file_is_named(tmp_path: Path, change, message: str) -> None:  # type: ignore[no-untyped-def]
    text = bvh_text(np.zeros((2, len(SKELETON), 3)))
    changed = change(text)
    assert changed != text
    (tmp_path / "bad.bvh").write_text(changed)
    with pytest.raises(InputError, match=message) as raised:
        load_motion(str(tmp_path), fps=12)
    assert "bad.bvh" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clip_len": [3]}, "4 frames, but clips of 3"),
        ({"clip_len": [2, 2]}, "clips differ in number"),
        ({"clip_len": ["four"]}, "broken file of motion"),
        ({"global_quat_xyzw": np.zeros((4, 39, 4))}, "broken file of motion"),
        ({"global_quat_xyzw": np.full((4, 39, 4), np.nan)}, "broken file of motion"),
        ({"pos_cm": np.full((4, 39, 3), np.inf)}, "NaN or infinity"),
        ({"pos_cm": np.zeros((3, 39, 3))}, "differ in number"),
        ({"rest_pos_cm": np.zeros((5, 3))}, "broken file of motion"),
    ],
)
def test_a_broken_file_of_motion_is_named(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / "a.bvh").write_text(bvh_text(random_frames(4)))
    bvh = read_bvh(tmp_path / "a.bvh")
    count = len(bvh.joints)
    arrays = {
        "joint": [joint.name for joint in bvh.joints],
        "global_quat_xyzw": np.tile([0.0, 0, 0, 1], (4, count, 1)),
        "pos_cm": np.zeros((4, count, 3)),
        "rest_pos_cm": bvh.rest(),
        "clip": ["a"],
        "clip_len": [4],
    }
    np.savez(tmp_path / "m.npz", **arrays)
    assert len(load_motion(str(tmp_path / "m.npz"), fps=12).rotations) == 4
    changed = {
        key: value[:, :count] if isinstance(value, np.ndarray) and value.ndim == 3 else value
        for key, value in change.items()
    }
    np.savez(tmp_path / "m.npz", **arrays | changed)
    with pytest.raises(InputError, match=message) as raised:
        load_motion(str(tmp_path / "m.npz"), fps=12)
    assert "m.npz: " in str(raised.value)
    assert "\n" not in str(raised.value)


def test_bad_sources_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no BVH files"):
        load_motion(str(tmp_path), fps=12)
    with pytest.raises(InputError, match=r"nothing\.npz: not found"):
        load_motion(str(tmp_path / "nothing.npz"), fps=12)
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(InputError, match=r"text\.npz: cannot be read"):
        load_bodies(str(tmp_path / "text.npz"))
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(InputError, match=r"other\.npz: has no array"):
        load_bodies(str(tmp_path / "other.npz"))
    with pytest.raises(InputError, match=r"other\.npz: has no array"):
        load_motion(str(tmp_path / "other.npz"), fps=12)
    whole = (Path(load_motion.__code__.co_filename).parents[1] / "assets/motion.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cut\.npz: cannot be read"):
        load_motion(str(tmp_path / "cut.npz"), fps=12)


def test_who_walks_and_runs_in_the_package_goes_where_the_hips_face() -> None:
    motion = load_motion("assets", fps=12)
    assert motion.hips is not None
    assert motion.fps == 30  # the file's own
    for clip, activity in enumerate(motion.activities):
        if activity not in ("walk", "run"):
            continue
        frames = np.flatnonzero(motion.clip_of_frame == clip)
        np.testing.assert_array_equal(motion.later(frames, 0), frames)
        np.testing.assert_array_equal(motion.later(frames, 9999), frames[-1])
        np.testing.assert_array_equal(motion.later(frames, -9999), frames[0])
        step = motion.hips[motion.later(frames, 3)] - motion.hips[motion.later(frames, -3)]
        ahead = motion.rotations[frames, PARTS.index("hips")] @ [0, -1, 0]
        assert ((step * ahead).sum(1) > 0).all(), motion.clips[clip]
        # A hips-to-head distance is about half a metre: 1 m/s on foot, 3 m/s running.
        speed = np.linalg.norm(motion.hips[frames[-1]] - motion.hips[frames[0]]) / len(frames)
        assert 0.7 < speed * motion.fps * 0.5 < 4, motion.clips[clip]


def test_clips_and_persons_are_in_one_split_only() -> None:
    motion = load_motion("assets", fps=12)
    for seed in range(5):
        clips = split_clips(motion, [0.45, 0.15, 0.4], seed)
        dealt = np.concatenate(list(clips.values()))
        assert sorted(dealt) == list(range(len(motion.clips)))
        shares = [motion.lengths[clips[s]].sum() / motion.lengths.sum() for s in clips]
        np.testing.assert_allclose(shares, [0.45, 0.15, 0.4], atol=0.12)
        persons = split_persons(16, 0.25, seed)
        assert len(persons["test"]) == 4
        assert not set(persons["train"]) & set(persons["test"])
        assert not set(persons["prior"]) & set(persons["test"])


def test_three_clips_of_any_length_fill_three_splits(tmp_path: Path) -> None:
    for name, count in (("a", 1), ("b", 1), ("c", 40)):
        (tmp_path / f"{name}.bvh").write_text(bvh_text(random_frames(count)))
    motion = load_motion(str(tmp_path), fps=12)
    for seed in range(4):
        clips = split_clips(motion, [0.45, 0.15, 0.4], seed)
        assert [len(clips[split]) for split in ("train", "test", "prior")] == [1, 1, 1]
    (tmp_path / "c.bvh").unlink()
    with pytest.raises(InputError, match="2 clips"):
        split_clips(load_motion(str(tmp_path), fps=12), [0.45, 0.15, 0.4], 0)


def poses(count: int) -> np.ndarray:
    return load_motion("assets", fps=12).rotations[:: 600 // count][:count].astype(np.float64)


def test_a_mirrored_pose_is_the_reflection_with_sides_swapped() -> None:
    pose = poses(4)
    mirrored = mirror(pose)
    flip = np.diag([-1.0, 1, 1])
    left, right = PARTS.index("l_forearm"), PARTS.index("r_forearm")
    np.testing.assert_allclose(mirrored[:, left], flip @ pose[:, right] @ flip, atol=1e-12)
    np.testing.assert_allclose(mirror(mirrored), pose, atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(mirrored), 1, atol=1e-6)


def test_a_graft_keeps_legs_and_the_upper_bodys_bend() -> None:
    lower, upper = poses(6)[:3], poses(6)[3:]
    grafted = graft(lower, upper)
    for part in ("hips", "l_thigh", "r_foot"):
        index = PARTS.index(part)
        np.testing.assert_array_equal(grafted[:, index], lower[:, index])
    for part in ("abdomen", "head", "l_hand"):
        index = PARTS.index(part)
        relative = upper[:, 0].swapaxes(1, 2) @ upper[:, index]
        np.testing.assert_allclose(
            grafted[:, 0].swapaxes(1, 2) @ grafted[:, index], relative, atol=1e-6
        )


def test_bending_turns_each_joint_by_its_own_angle() -> None:
    pose = poses(5)
    vectors = np.random.default_rng(0).normal(0, 0.2, (5, len(PARTS), 3))
    bent = bend(pose, vectors)
    np.testing.assert_array_equal(bent[:, 0], pose[:, 0])
    for index, (part, parent) in enumerate(PARENT_PART.items()):
        if parent:
            above = PARTS.index(parent)
            before = pose[:, above].swapaxes(1, 2) @ pose[:, index]
            after = bent[:, above].swapaxes(1, 2) @ bent[:, index]
            turned = Rotation.from_matrix(before.swapaxes(1, 2) @ after).as_rotvec()
            np.testing.assert_allclose(turned, vectors[:, index], atol=1e-3, err_msg=part)
    np.testing.assert_allclose(bend(pose, 0 * vectors), pose, atol=1e-5)
