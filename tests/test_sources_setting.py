"""The source files of rendered people: how they are found, and how they are built."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from skelift.cli import main
from skelift.config import compose, to_yaml

ROOT = Path(__file__).parents[1]
VERB = "prepare"
EXPERIMENTS = sorted(file.stem for file in (ROOT / "src/skelift/conf/experiment").glob("*.yaml"))


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "build_sources", ROOT / "scripts/build_sources.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_no_experiment_names_a_folder_of_one_machine(
    experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SKELIFT_DATA", raising=False)
    composed = to_yaml(compose([f"experiment={experiment}"]))
    assert "../" not in composed
    assert "shared/" not in composed


def test_the_setting_names_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKELIFT_DATA", "/elsewhere")
    synth = compose(["experiment=people"]).data.synth
    assert synth is not None
    assert synth.bodies == "/elsewhere/people_clothed.npz"
    assert synth.motion == "/elsewhere/cmu_mocap_12fps.npz"
    folder = compose(["experiment=real_video"]).data.folder
    assert folder is not None
    assert folder.images == "/elsewhere/real_video/videos"


def test_a_missing_source_is_one_line_that_names_the_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SKELIFT_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main([VERB, "experiment=people"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"={tmp_path}/people_clothed.npz: not found; set SKELIFT_DATA to the folder" in line
    assert "docs/datasets.md" in line
    assert not list(tmp_path.iterdir())


def euler(axis: str, degrees: float) -> np.ndarray:
    a = np.deg2rad(degrees)
    i = "XYZ".index(axis)
    j, k = (i + 1) % 3, (i + 2) % 3
    matrix = np.eye(3)
    matrix[j, j] = matrix[k, k] = np.cos(a)
    matrix[k, j], matrix[j, k] = np.sin(a), -np.sin(a)
    return matrix


PARENTS = {
    "hip": "",
    "abdomen": "hip",
    "chest": "abdomen",
    "neck": "chest",
    "head": "neck",
} | {
    side + joint: parent if parent in ("chest", "hip") else side + parent
    for side in "rl"
    for joint, parent in {
        "Collar": "chest",
        "Shldr": "Collar",
        "ForeArm": "Shldr",
        "Hand": "ForeArm",
        "Buttock": "hip",
        "Thigh": "Buttock",
        "Shin": "Thigh",
        "Foot": "Shin",
    }.items()
}


def write_bvh(path: Path, offsets: dict[str, np.ndarray], values: np.ndarray) -> list[str]:
    """A skeleton of cgspeed's names; returns the joints in the order of their channels."""
    order: list[str] = []

    def lines(joint: str) -> list[str]:
        order.append(joint)
        places = "" if PARENTS[joint] else "Xposition Yposition Zposition "
        x, y, z = offsets[joint]
        inner = [f"OFFSET {x} {y} {z}", f"CHANNELS {6 if places else 3} {places}{TURNS}"]
        children = [child for child, parent in PARENTS.items() if parent == joint]
        for child in children:
            inner += lines(child)
        if not children:
            x, y, z = offsets[f"{joint}_end"]
            inner += ["End Site", "{", f"OFFSET {x} {y} {z}", "}"]
        return [f"{'JOINT' if PARENTS[joint] else 'ROOT'} {joint}", "{", *inner, "}"]

    text = ["HIERARCHY", *lines("hip"), "MOTION", f"Frames: {len(values)}", "Frame Time: 0.0083333"]
    path.write_text("\n".join(text + [" ".join(map(str, row)) for row in values]))
    return order


TURNS = "Zrotation Xrotation Yrotation"


def test_motion_is_thinned_and_posed_as_forward_kinematics_says(
    build: ModuleType, tmp_path: Path
) -> None:
    rng = np.random.default_rng(3)
    offsets = {
        name: rng.uniform(-20, 20, 3) for joint in PARENTS for name in (joint, f"{joint}_end")
    }
    offsets["hip"] = np.zeros(3)
    values = rng.uniform(-60, 60, (25, 3 + 3 * len(PARENTS)))
    (tmp_path / "01").mkdir()
    order = write_bvh(tmp_path / "01" / "01_01.bvh", offsets, values)
    arrays = build.build_motion(tmp_path, {"01_01": 3})
    for frame, row in enumerate(values[::10]):
        turned, placed = {}, {}
        for joint, angles in zip(order, row[3:].reshape(-1, 3), strict=True):
            own = euler("Z", angles[0]) @ euler("X", angles[1]) @ euler("Y", angles[2])
            parent = PARENTS[joint]
            turned[joint] = turned[parent] @ own if parent else own
            moved = placed[parent] + turned[parent] @ offsets[joint] if parent else row[:3]
            placed[joint] = moved
            turned[f"{joint}_end"] = turned[joint]
            placed[f"{joint}_end"] = moved + turned[joint] @ offsets[f"{joint}_end"]
        for index, joint in enumerate(arrays["joint"]):
            np.testing.assert_allclose(arrays["pos_cm"][frame, index], placed[joint], atol=0.1)
            x, y, z, w = arrays["global_quat_xyzw"][frame, index].astype(np.float64)
            twice = [2 * (y * y + z * z), 2 * (x * x + z * z), 2 * (x * x + y * y)]
            np.testing.assert_allclose(1 - np.array(twice), np.diag(turned[joint]), atol=4e-3)
            skewed = [turned[joint][2, 1] - turned[joint][1, 2], turned[joint][0, 2]]
            assert 4 * x * w == pytest.approx(skewed[0], abs=4e-3)
            assert 2 * (x * z + y * w) == pytest.approx(skewed[1], abs=4e-3)


def test_the_table_has_114_clips_of_11374_frames(build: ModuleType) -> None:
    clips = build.table_of_clips()
    assert (len(clips), sum(clips.values())) == (114, 11374)
    wardrobe = [line.split() for line in build.WARDROBE.strip().splitlines()]
    assert len(wardrobe) == build.PERSONS
    assert all("suit" in suit and "shoes" in shoes for suit, shoes, *_ in wardrobe)


def test_a_missing_clip_is_named(build: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"has no 01_01\.bvh"):
        build.build_motion(tmp_path, {"01_01": 3})


def test_a_garment_hangs_on_the_body_and_hides_what_lies_under_it(
    build: ModuleType, tmp_path: Path
) -> None:
    # Base mesh, Z up: a strip of two quads in the XZ plane, 0.5 m wide.
    base = np.array([[0, 0, 0], [0.5, 0, 0], [0.5, 0, 1], [0, 0, 1], [1, 0, 0], [1, 0.2, 1]])
    quads = np.array([[0, 1, 2, 3], [1, 4, 5, 2]])
    skin = np.array([[1.0, 0], [1, 0], [1, 0], [1, 0], [0, 1], [0, 1]])
    (tmp_path / "cape.mhclo").write_text(
        "name cape\nx_scale 0 1 5\ny_scale 0 3 10\nz_scale 0 5 2\nmaterial a.mhmat\nverts 0\n"
        "0 1 4 0.5 0.25 0.25 1 2 3\n5\n2\n3\n\ndelete_verts\n3 - 3 0\n"
    )
    (tmp_path / "cape.obj").write_text("v 0 0 0\nf 1/1 2/2 3/3 4/4\n")
    dressed = build.dress(base, skin, quads, [build.read_garment(tmp_path / "cape.mhclo")])
    # Weighted mean (0.375, 0, 0) plus scaled x 0.1 * 1, up 0.1 * 2, forward (-Y) 0.1 * 3.
    hung = dressed["vertices_0p1mm"] / 1e4
    np.testing.assert_allclose(hung[4], [0.475, -0.3, 0.2])
    np.testing.assert_allclose(hung[5], base[5])
    np.testing.assert_allclose(hung[:4], base[[1, 2, 4, 5]])
    np.testing.assert_array_equal(dressed["faces"], [[0, 2, 3], [0, 3, 1], [4, 5, 6], [4, 6, 7]])
    np.testing.assert_array_equal(dressed["material"], [0] * 4 + [build.SUIT] * 4)
    weight_of_second = np.where(dressed["skin_bone"] == 1, dressed["skin_weight"], 0).sum(axis=1)
    np.testing.assert_array_equal(weight_of_second, [0, 0, 255, 255, 64, 255, 0, 0])
