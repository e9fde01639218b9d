"""Bad data is stopped, by the expectation that is about its fault and by no other."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny import load_skeleton, tiny_dataset

from skelift.cli import main
from skelift.data import validation
from skelift.data.counts import count_published
from skelift.data.crop import to_crop
from skelift.data.format import SAMPLE, Dataset
from skelift.data.measures import measure_dataset
from skelift.data.table import Table
from skelift.errors import InputError
from skelift.files import sha256, write_json

BODY = load_skeleton("h36m17")
WRIST, ELBOW = BODY.index("l_wrist"), BODY.index("l_elbow")

OF_LABELS = {
    *("samples/moment_shared", "samples/labelled", "samples/labels_outside"),
    *("samples/near_reprojection", "samples/labels_upside_down", "samples/labels_jump"),
    *("images/labels_off_body", "images/labels_mirrored"),
}
OF_TAKES = {
    *("samples/intruder", "samples/unusual_side", "samples/jump"),
    "images/mirrored",
}

Spoil = Callable[["Spoiled"], None]


class Spoiled:
    """Writable arrays of a data set; ``save`` writes them with checksums that agree."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.arrays = {
            path.relative_to(folder).with_suffix("").as_posix(): np.load(path)
            for path in folder.rglob("*.npy")
        }

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.arrays[name]

    def __setitem__(self, name: str, array: NDArray[Any]) -> None:
        self.arrays[name] = array

    def copy_row(self, source: tuple[str, int], target: tuple[str, int], *but: str) -> None:
        """Make a row the copy of another, but for its person, clip and activity."""
        for column in ("images-00000", "masks-00000", "joints_2d", "joints_3d_mm"):
            self[f"{target[0]}/{column}"][target[1]] = self[f"{source[0]}/{column}"][source[1]]
        for field in ("crop", "focal", "principal"):
            samples = self[f"{source[0]}/samples"][field][source[1]]
            self[f"{target[0]}/samples"][field][target[1]] = samples

    def save(self) -> Dataset:
        for name, array in self.arrays.items():
            np.save(self.folder / f"{name}.npy", array)
        content = json.loads((self.folder / "dataset.json").read_text())
        content["checksums"] = {name: sha256(self.folder / name) for name in content["checksums"]}
        write_json(self.folder / "dataset.json", content)
        return Dataset(self.folder)


def stretch_forearm(joints: NDArray[np.floating], factor: float) -> None:
    """Lengthen a (J, 3) pose's forearm; the wrist stays on its line of sight."""
    ray = joints[WRIST] / np.linalg.norm(joints[WRIST])
    length = factor * np.linalg.norm(joints[WRIST] - joints[ELBOW])
    along = ray @ joints[ELBOW]
    joints[WRIST] = ray * (along + np.sqrt(along**2 - joints[ELBOW] @ joints[ELBOW] + length**2))


def failing(tables: dict[str, Table]) -> set[str]:
    """The rules that do not hold, by plain NumPy."""
    failed = set()
    for rule in validation.RULES:
        column = tables.get(rule.table, {}).get(rule.column)
        if column is None:
            continue
        known = column[~np.isnan(column.astype(float))].astype(float)
        low = -np.inf if rule.low is None else rule.low
        high = np.inf if rule.high is None else rule.high
        if len(known) and np.mean((known >= low) & (known <= high)) < rule.mostly:
            failed.add(f"{rule.table}/{rule.column}")
    return failed


def set_rows(name: str, rows: Any, value: Any) -> Spoil:
    def spoil(data: Spoiled) -> None:
        data[name][rows] = value

    return spoil


def set_field(name: str, field: str, rows: Any, value: Any) -> Spoil:
    def spoil(data: Spoiled) -> None:
        data[name][field][rows] = value

    return spoil


def scale(name: str, factor: float) -> Spoil:
    def spoil(data: Spoiled) -> None:
        data[name] *= factor

    return spoil


def stretch(rows: slice, factor: float) -> Spoil:
    def spoil(data: Spoiled) -> None:
        for joints in data["train/joints_3d_mm"][rows]:
            stretch_forearm(joints, factor)

    return spoil


def shift_2d(row: int, pixels: float) -> Spoil:
    def spoil(data: Spoiled) -> None:
        data["test/joints_2d"][row] += pixels

    return spoil


def grey_background(data: Spoiled) -> None:
    data["test/images-00000"][1][data["test/masks-00000"][1] == 0] = 60


def mask_of_somebody_else(data: Spoiled) -> None:
    masks = data["train/masks-00000"]
    masks[0] = np.roll(masks[0], 16, axis=1)


def nearly_a_training_image(data: Spoiled) -> None:
    data.copy_row(("train", 4), ("test", 0))
    image = data["test/images-00000"][0]
    image[:] = np.where(image > 0, image - image // 16, 0)


def shrink_prior(data: Spoiled) -> None:
    poses = data["prior/poses_2d"]
    poses[7] = 16 + 0.2 * (poses[7] - 16)


def drop(name: str, axis: int) -> Spoil:
    def spoil(data: Spoiled) -> None:
        data[name] = np.delete(data[name], -1, axis=axis)

    return spoil


SIDES = (BODY.index("l_hip"), BODY.index("r_hip"))


def exchange_hips(data: Spoiled) -> None:
    for name in ("joints_2d", "joints_3d_mm"):
        data[f"train/{name}"][:, SIDES] = data[f"train/{name}"][:, SIDES[::-1]]


def exchange_a_frame(data: Spoiled) -> None:
    """Four frames in which somebody stands still; in one of them left is right."""
    for row in (1, 2, 3):
        data.copy_row(("train", 0), ("train", row))
        body = np.argwhere(data["train/masks-00000"][row])[row]
        data["train/images-00000"][row][tuple(body)] = 50  # the images are not copies
    for name in ("joints_2d", "joints_3d_mm"):
        data[f"train/{name}"][2] = data[f"train/{name}"][2][BODY.swap]


def bend_knees_backward(data: Spoiled) -> None:
    """One person whose knees lie 6 % of the leg's length behind the line from hip to ankle."""
    samples, joints = data["train/samples"], data["train/joints_3d_mm"]
    samples["person"] = "train_person0"
    at = {name: joints[:, BODY.index(name)] for name in BODY.joints}
    forward = np.cross(at["l_hip"] - at["r_hip"], at["thorax"] - at["pelvis"])
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    for side in "lr":
        middle = (at[f"{side}_hip"] + at[f"{side}_ankle"]) / 2
        joints[:, BODY.index(f"{side}_knee")] = middle - 0.06 * 880 * forward
    pixels = joints[..., :2] / joints[..., 2:] * samples["focal"][:, None]
    pixels += samples["principal"][:, None]
    data["train/joints_2d"][:] = to_crop(pixels, samples["crop"], 32)


def turn_prior(data: Spoiled) -> None:
    data["prior/poses_2d"][..., 1] = 32 - data["prior/poses_2d"][..., 1]


def reorder_prior(**given: str) -> Spoil:
    """Prior poses in which joints are given the places of others."""
    order = [BODY.index(given.get(joint, joint)) for joint in BODY.joints]

    def spoil(data: Spoiled) -> None:
        data["prior/poses_2d"] = data["prior/poses_2d"][:, order]

    return spoil


def shuffle_prior(data: Spoiled) -> None:
    order = np.random.default_rng(1).permutation(len(BODY))
    data["prior/poses_2d"] = data["prior/poses_2d"][:, order]


ARMS = {
    f"{side}_{part}": f"{other}_{part}"
    for side, other in ("lr", "rl")
    for part in ("shoulder", "elbow", "wrist")
}


def repeat_prior(*rows: int) -> Spoil:
    """All prior poses are one of the given rows, by turns."""

    def spoil(data: Spoiled) -> None:
        poses = data["prior/poses_2d"]
        poses[:] = poses[np.resize(rows, len(poses))]

    return spoil


def copy_some_of_prior(data: Spoiled) -> None:
    data["prior/poses_2d"][:5] = data["prior/poses_2d"][5:10]


def outlier_in_prior(data: Spoiled) -> None:
    """A joint 2000 px from its body, whose crop holds both."""
    pose = data["prior/poses_2d"][7]
    pose[:] = 4 + 0.05 * (pose - 16)
    pose[WRIST] = 29


def mirror_3d(axis: int) -> Spoil:
    """3D that is not that of its 2D, of an unknown camera."""

    def spoil(data: Spoiled) -> None:
        for split in ("train", "test"):
            data[f"{split}/joints_3d_mm"][..., axis] *= -1
            # Mirrored bodies are given their sides back.
            data[f"{split}/joints_3d_mm"] = data[f"{split}/joints_3d_mm"][:, BODY.swap]
            data[f"{split}/samples"]["focal"] = np.nan

    return spoil


FAULTS: dict[str, tuple[Spoil, set[str]]] = {
    "none": (lambda data: None, set()),
    "a joint too few": (drop("train/joints_2d", 1), {"arrays/wrong_joints"}),
    "a joint too few in the prior": (drop("prior/poses_2d", 1), {"arrays/wrong_joints"}),
    "a row too few": (drop("train/joints_3d_mm", 0), {"arrays/wrong_rows"}),
    "images of another size": (drop("test/images-00000", 1), {"arrays/wrong_size"}),
    "crop box unknown": (
        set_field("train/samples", "crop", 3, np.nan),
        {"samples/wrong_crop"},
    ),
    "person in both splits": (
        set_field("test/samples", "person", slice(4), "train_person0"),
        {"samples/person_shared"},
    ),
    "clip in both splits": (
        set_field("test/samples", "clip", slice(4), "train_clip0"),
        {"samples/clip_shared"},
    ),
    "copies within a split": (
        lambda data: data.copy_row(("train", 4), ("train", 16)),
        {"samples/copy"},
    ),
    "copy of a training image": (
        lambda data: data.copy_row(("train", 4), ("test", 0)),
        {"samples/copy_of_other_split", "images/likeness"},
    ),
    "darker copy of a training image": (nearly_a_training_image, {"images/likeness"}),
    "NaN in 2D": (set_rows("train/joints_2d", (3, 5), np.nan), {"samples/non_finite_2d"}),
    "infinity in 2D": (
        set_rows("train/joints_2d", (3, 5), np.inf),
        {"samples/non_finite_2d", "samples/outside", "samples/reprojection"},
    ),
    "2D beside its image": (
        shift_2d(2, 40),
        {"samples/outside", "samples/reprojection", "images/off_body"},
    ),
    "2D a pixel off": (shift_2d(2, 1), {"samples/reprojection"}),
    "NaN in 3D": (set_rows("train/joints_3d_mm", (3, 5), np.nan), {"samples/non_finite_3d"}),
    "behind the camera": (scale("train/joints_3d_mm", -1), {"samples/depth_mm"}),
    "metres for millimetres": (scale("train/joints_3d_mm", 0.001), {"samples/size_factor"}),
    "one long forearm": (stretch(slice(1), 1.9), {"samples/bone_drift"}),
    "long forearms": (stretch(slice(None), 4), {"samples/bone_factor"}),
    "3D mirrored, camera unknown": (mirror_3d(0), {"samples/agreement"}),
    "3D upside down, camera unknown": (mirror_3d(1), {"samples/agreement"}),
    "camera unknown": (set_field("train/samples", "focal", slice(None), np.nan), set()),
    "wrong focal length": (
        set_field("train/samples", "focal", 2, 900),
        {"samples/reprojection"},
    ),
    "hips swapped": (exchange_hips, {"samples/twisted"}),
    "sides swapped in a frame": (exchange_a_frame, {"samples/sides_jump"}),
    "sides swapped in a person": (bend_knees_backward, {"samples/knee_bend"}),
    "mask of the whole image": (
        set_rows("test/masks-00000", 0, 255),
        {"images/mask_coverage", "images/mask_on_border"},
    ),
    "empty mask": (
        set_rows("test/masks-00000", 0, 0),
        {"images/mask_coverage", "images/off_body", "images/background_level"},
    ),
    "mask of somebody else": (
        mask_of_somebody_else,
        {"images/off_body", "images/background_level"},
    ),
    "background not black": (grey_background, {"images/background_level"}),
    "blank image": (set_rows("train/images-00000", 0, 0), {"images/brightest"}),
    "NaN in the prior": (set_rows("prior/poses_2d", (9, 1), np.nan), {"prior/non_finite_2d"}),
    "prior outside of its crop": (set_rows("prior/poses_2d", (9, 1), 40), {"prior/outside"}),
    "tiny pose in the prior": (shrink_prior, {"prior/extent"}),
    "prior of a test clip": (
        set_field("prior/samples", "clip", slice(3), "test_clip1"),
        {"prior/clip_shared"},
    ),
    "prior upside down": (turn_prior, {"prior/upside_down"}),
    "joints of the prior in any order": (
        shuffle_prior,
        {"prior_bones/length_factor", "prior_bones/order", "prior_pairs/crossed", "prior/lying"},
    ),
    "a leg of the prior from its ankle on": (
        reorder_prior(r_hip="r_ankle", r_ankle="r_hip"),
        {"prior_bones/length_factor", "prior_bones/order"},
    ),
    "a knee of the prior and its ankle exchanged": (
        reorder_prior(r_knee="r_ankle", r_ankle="r_knee"),
        {"prior_bones/order"},
    ),
    "arms of the prior exchanged": (reorder_prior(**ARMS), {"prior_pairs/crossed"}),
    "(row, column) in the prior": (
        lambda data: data["prior/poses_2d"].__setitem__(..., data["prior/poses_2d"][..., ::-1]),
        {"prior/lying"},
    ),
    "one pose for a prior": (repeat_prior(7), {"prior/copy", "prior/same_pose"}),
    "prior poses twice": (repeat_prior(*range(32)), {"prior/copy"}),
    "a few prior poses twice": (copy_some_of_prior, {"prior/copy"}),
    "an outlier in the prior": (outlier_in_prior, {"prior/farthest"}),
    "images of the prior of another size": (
        set_field("prior/samples", "source_size", slice(None), 100),
        {"prior/outside_image"},
    ),
    "focal length of the prior in mm": (
        set_field("prior/samples", "focal", slice(None), 35),
        {"prior/focal_share"},
    ),
    "focal length in mm": (
        set_field("train/samples", "focal", slice(None), 35),
        {"samples/focal_share", "samples/reprojection"},
    ),
    "prior without crop": (set_field("prior/samples", "crop", 0, 0), {"prior/wrong_crop"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_breaks_its_own_expectation(fault: str, tmp_path: Path) -> None:
    spoil, expected = FAULTS[fault]
    data = Spoiled(tiny_dataset(tmp_path / "set"))
    spoil(data)
    assert failing(measure_dataset(data.save())) == expected


def test_every_rule_has_a_fault() -> None:
    covered = set().union(*(expected for _, expected in FAULTS.values()))
    rules = {f"{rule.table}/{rule.column}" for rule in validation.RULES}
    # One is of data split by time, one of public data sets; their tests are below. Those of labels
    # are tested in test_truth.py, those of takes in test_contrast.py.
    elsewhere = {"samples/time_overlaps", "published/frames_missing"}
    assert rules - covered == elsewhere | OF_LABELS | OF_TAKES


@pytest.mark.parametrize(
    ("skeleton", "with_2d", "with_3d"),
    [("h36m17", False, False), ("h36m17", True, False), ("hand21", True, True)],
)
def test_suite_adapts_to_what_is_known(
    tmp_path: Path, skeleton: str, with_2d: bool, with_3d: bool
) -> None:
    folder = tiny_dataset(tmp_path / "set", skeleton, with_2d=with_2d, with_3d=with_3d)
    tables = measure_dataset(Dataset(folder))
    assert failing(tables) == set()
    assert ("outside" in tables["samples"]) == with_2d
    assert ("off_body" in tables["images"]) == with_2d
    assert ("bone_drift" in tables["samples"]) == with_3d
    assert ("reprojection" in tables["samples"]) == (with_2d and with_3d)


def test_joints_outside_of_the_source_image_are_not_expected_on_the_mask(tmp_path: Path) -> None:
    """The border of a source image cuts all bodies; without the border they would be faulty."""
    data = Spoiled(tiny_dataset(tmp_path / "set"))
    size = Dataset(data.folder).info.size
    for name in ("train", "test"):
        samples, joints = data[f"{name}/samples"], data[f"{name}/joints_2d"]
        samples["crop"] = [0, size / 2, size]  # columns left of the middle lie outside
        samples["source_size"] = size
        joints[:, 3, 0] = 1
        joints[:, 3, 1] = 1
        joints[:, 4] = joints[:, 3]
    assert not (measure_dataset(data.save())["images"]["off_body"] > 0.1).any()
    for name in ("train", "test"):
        data[f"{name}/samples"]["source_size"] = 0  # unknown
    assert (measure_dataset(data.save())["images"]["off_body"] > 0.1).all()


def test_split_by_time_is_judged_by_time(tmp_path: Path) -> None:
    data = Spoiled(tiny_dataset(tmp_path / "set"))
    content = json.loads((data.folder / "dataset.json").read_text())
    content["details"]["split_by"] = "time"
    write_json(data.folder / "dataset.json", content)
    for name, first in (("train", 0), ("test", 24)):
        samples = data[f"{name}/samples"]
        samples["person"], samples["clip"] = "one", "only"
        samples["camera"] = "c"
        samples["frame"] = first + np.arange(len(samples))
    assert failing(measure_dataset(data.save())) == set()
    data["test/samples"]["frame"][2] = 20
    assert failing(measure_dataset(data.save())) == {"samples/time_overlaps"}


def test_unknown_persons_are_no_leak(tmp_path: Path) -> None:
    data = Spoiled(tiny_dataset(tmp_path / "set"))
    for name in ("train", "test"):
        data[f"{name}/samples"]["person"] = ""
    assert failing(measure_dataset(data.save())) == set()


# Great Expectations itself: slow to import, so there are few of these.


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection may be opened."""
    import socket

    def refuse(*args: Any) -> None:
        raise AssertionError(f"connects to {args[1:]}")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def validate(folder: Path, reports: Path) -> int:
    return main(["validate", f"paths.data={folder}", f"paths.reports={reports}"])


@pytest.mark.usefixtures("offline")
def test_good_data_passes_and_is_documented(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny_dataset(tmp_path / "set")
    assert validate(folder, tmp_path / "reports") == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "reports" / "validation")
    report = json.loads((tmp_path / "reports/validation/validation.json").read_text())
    assert report["success"]
    assert report["counts"] == {"train": 24, "test": 8, "prior": 64}
    by_name = {f"{e['table']}/{e['column']}": e for e in report["expectations"]}
    assert "samples/agreement" not in by_name  # all cameras are known
    rules = {f"{rule.table}/{rule.column}" for rule in validation.RULES}
    assert len(by_name) == len(rules) - 3 - len(OF_LABELS | OF_TAKES)
    assert all(e["success"] for e in by_name.values())
    # One of the stick people bends over.
    assert {name for name, e in by_name.items() if e["unexpected"]} == {"prior/lying"}
    assert by_name["samples/reprojection"]["rows"] == 32
    assert by_name["images/likeness"]["rows"] == 8
    check_pages(tmp_path / "reports" / "validation", "All expectations hold")


@pytest.mark.usefixtures("offline")
def test_the_stricter_of_two_rules_speaks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bones 3 times as long are a warning, 5 times stop: of a leg from its ankle on, one line."""
    data = Spoiled(tiny_dataset(tmp_path / "set"))
    FAULTS["a leg of the prior from its ankle on"][0](data)
    data.save()
    assert validate(data.folder, tmp_path / "reports") == 2
    warning, error = capsys.readouterr().err.splitlines()
    assert "a joint reaches as far from the one before last" in warning
    assert "no bone is 5 times as long or short as bone_lengths_mm says: correct the ord" in error
    assert "1 of 16 rows fail, such as prior's bone pelvis to r_hip: length_factor" in error


@pytest.mark.usefixtures("offline")
def test_bad_data_stops_with_one_line_and_is_documented(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Many faults at once: Great Expectations finds just those that plain NumPy finds."""
    data = Spoiled(tiny_dataset(tmp_path / "set"))
    # Below one per cent of exceptions is allowed for off_body: judged as mostly, not as all.
    for fault in (
        "NaN in 2D",
        "NaN in 3D",
        "2D a pixel off",
        "person in both splits",
        "copies within a split",
        "mask of the whole image",
        "prior of a test clip",
    ):
        FAULTS[fault][0](data)
    expected = failing(measure_dataset(data.save()))
    assert len(expected) == 8

    assert validate(data.folder, tmp_path / "reports") == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert f"{tmp_path / 'set'}: expected that train and test show different persons" in error
    persons = measure_dataset(Dataset(data.folder))["samples"]["person_shared"].sum()
    assert f"but {persons} of 32 rows fail, such as train[0] (person train_person0" in error
    assert "and 7 more failed" in error
    index = tmp_path / "reports" / "validation" / "index.html"
    assert str(index) in error
    report = json.loads(index.with_name("validation.json").read_text())
    failed = [e for e in report["expectations"] if not e["success"]]
    assert {f"{e['table']}/{e['column']}" for e in failed} == expected
    assert all(e["unexpected"] and e["examples"] for e in failed)
    check_pages(index.parent, "8 of 42 expectations failed")


def frames_of(clip: str, camera: str, frames: range) -> NDArray[np.void]:
    records = np.zeros(len(frames), dtype=SAMPLE)
    records["clip"], records["camera"], records["frame"] = clip, camera, frames
    return records


def missing(name: str, samples: list[NDArray[np.void]], **details: Any) -> dict[str, float]:
    table = count_published(name, np.concatenate(samples), details)
    return dict(zip(table.get("row", []), table.get("frames_missing", []), strict=True))


def test_published_frames_are_counted() -> None:
    whole = [
        frames_of("S2/Seq1", "0", range(0, 3251, 5)),  # every fifth frame of the first half ...
        frames_of("S2/Seq1#poses", "0", range(3251, 6502, 5)),  # ... and of the poses of the second
        frames_of("S3/Seq1", "0", range(0, 12488, 5)),
        frames_of("S3/Seq1", "4", range(0, 6244, 5)),
        frames_of("TS1", "", range(0, 20000, 10)),  # valid frames lie apart
        frames_of("TS6", "", range(929)),
    ]
    found = missing("mpi_inf_3dhp", whole, source={"every": 5, "test_every": 1})
    by_part = {row.split(":")[0]: value for row, value in found.items()}
    assert by_part["S2/Seq1"] == pytest.approx(0, abs=0.002)
    assert by_part["S3/Seq1"] == pytest.approx(0.25, abs=0.001)
    assert by_part["S8/Seq2"] == 1
    assert "S3/Seq1: 18,735 of 24,976 published frames" in found
    assert by_part["valid frames of TS1 to TS6"] == 0
    assert missing("own", whole) == {}


def test_human36m_has_more_than_one_published_count() -> None:
    thinned = {"every": 100, "test_every": 50}

    def share(test: int) -> float:
        clips = [frames_of(f"S{n}/Walking", "c", range(0, 311_950, 100)) for n in (1, 5, 6, 7, 8)]
        clips += [frames_of(f"S{n}/Eating 1", "c", range(0, test, 50)) for n in (9, 11)]
        train, held = missing("h36m", clips, source=thinned).values()
        assert abs(train) < 0.001
        return held

    assert share(570_000 // 2) == 0
    assert share(283_460 // 2) == pytest.approx(0.5, abs=0.001)
    assert share(584_000) == pytest.approx(-1, abs=0.001)
    # KeypointGAN's copy holds six activities of fifteen.
    assert missing("h36m", [frames_of("S1/Walking", "c", range(9))], layout="simplified") == {}


def test_a_prior_of_handstands_or_of_hands_is_not_upside_down(tmp_path: Path) -> None:
    data = Spoiled(tiny_dataset(tmp_path / "set"))
    poses = data["prior/poses_2d"]
    poses[::3, :, 1] = 32 - poses[::3, :, 1]
    assert failing(measure_dataset(data.save())) == set()
    hands = Spoiled(tiny_dataset(tmp_path / "hands", "hand21"))
    hands["prior/poses_2d"][..., 1] = 32 - hands["prior/poses_2d"][..., 1]
    assert failing(measure_dataset(hands.save())) == set()


@pytest.mark.usefixtures("offline")
def test_missing_frames_are_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tiny_dataset(tmp_path / "set")
    content = json.loads((folder / "dataset.json").read_text())
    write_json(folder / "dataset.json", content | {"name": "handdb"})
    assert validate(folder, tmp_path / "reports") == 0
    warning = capsys.readouterr().err.strip()
    assert "warning: expected that the set has the published number of frames" in warning
    assert "such as synth2: 0 of 3,243 published frames" in warning
    assert "\n" not in warning
    check_pages(tmp_path / "reports" / "validation", "All expectations hold")


def test_wrong_shapes_are_judged_alone(tmp_path: Path) -> None:
    data = Spoiled(tiny_dataset(tmp_path / "set"))
    FAULTS["a joint too few"][0](data)
    with pytest.raises(InputError, match=r"poses have the skeleton's joints.*train/joints_2d"):
        validation.validate(data.save(), tmp_path / "reports")
    assert (tmp_path / "reports" / "index.html").exists()


def check_pages(folder: Path, verdict: str) -> None:
    """The pages need no network, lead to one another, and say what the report says."""
    pages = list(folder.rglob("*.html"))
    assert {page.parent.name for page in pages} >= {folder.name, "expectations"}
    for page in pages:
        html = page.read_text()
        assert not re.search(r"https?://(?!www\.w3\.org)", html), page
        assert "<script" not in html
        assert "<style>" in html
        for target in re.findall(r'href="([^"#]+)"', html):
            assert (page.parent / target).exists(), f"{page} leads to {target}"
    index = (folder / "index.html").read_text()
    assert verdict in index
    assert "3D projects onto 2D" in index


def test_changed_file_stops_before_anything_is_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny_dataset(tmp_path / "set", train=4, test=4, prior=4)
    np.save(folder / "train" / "joints_2d.npy", np.zeros((4, 17, 2), np.float32))
    assert validate(folder, tmp_path / "reports") == 2
    assert "train/joints_2d.npy: content differs" in capsys.readouterr().err
    assert not (tmp_path / "reports").exists()


def test_another_skeleton_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tiny_dataset(tmp_path / "set", "hand21", train=4, test=4, prior=4)
    assert validate(folder, tmp_path / "reports") == 2
    assert "choose skeleton=hand21" in capsys.readouterr().err


def test_missing_set_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert validate(tmp_path / "set", tmp_path / "reports") == 2
    assert f"{tmp_path / 'set' / 'dataset.json'}: not found" in capsys.readouterr().err


def test_library_is_imported_only_to_judge() -> None:
    code = (
        "import sys, skelift.data.validation, skelift.stages.validate\n"
        "assert not {'great_expectations', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
