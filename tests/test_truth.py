"""Recordings with truth: labelled frames are the test images, and nothing is trained on them."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny import draw, load_skeleton, random_pose, tiny_dataset
from tiny_run import overrides, random_model

from skelift.config import compose
from skelift.data.folder import prepare
from skelift.data.format import Dataset
from skelift.data.measures import measure_dataset
from skelift.data.truth import read_truth
from skelift.errors import InputError
from skelift.evaluation.baselines import own_lifter
from skelift.evaluation.bootstrap import interval
from skelift.evaluation.mean_pose import labelled_mean_pose, procrustes_mean_pose
from skelift.evaluation.metrics import p_mpjpe
from skelift.evaluation.predictions import Predicted
from skelift.evaluation.scores import facing, measure, score
from skelift.models.io import load_model
from skelift.stages import evaluate, pretrain_flow, train, validate

BODY = load_skeleton("h36m17")
SIDE, FOCAL = 128, 200.0
CAMERAS = ("east", "west")
FRAMES = 12
LABELLED = (3, 7)
HIDDEN = [BODY.index("head"), BODY.index("l_wrist")]


def camera_of(name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """R and t: two cameras around the body, each looking a little past it."""
    angle = {"east": 0.7, "west": -0.6}[name]
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]), np.array([300.0, -100, 4000])


def world_pose(clip: str, frame: int) -> NDArray[np.float64]:
    pose = random_pose(BODY, np.random.default_rng([len(clip), frame % 5]))
    return pose + np.array([40.0 * frame, 0, 20.0 * frame])


def pixels_of(camera: str, pose: NDArray[np.float64]) -> NDArray[np.float64]:
    rotation, move = camera_of(camera)
    at = pose @ rotation.T + move
    return at[:, :2] / at[:, 2:] * FOCAL + SIDE / 2


def make(folder: Path, clips: tuple[str, ...] = ("walk",)) -> Path:
    """Images (named by frame number, from 10), masks, cameras.json and poses.npz."""
    for clip in clips:
        for camera in CAMERAS:
            for frame in range(FRAMES):
                joints = pixels_of(camera, world_pose(clip, frame))
                image, mask = draw(BODY, joints, SIDE, (220, 40 + 10 * frame, 120))
                for kind, picture in (("images", image[..., ::-1]), ("masks", mask)):
                    file = folder / kind / clip / camera / f"frame_{frame + 10:04d}.png"
                    file.parent.mkdir(parents=True, exist_ok=True)
                    assert cv2.imwrite(str(file), picture)
    k = [[FOCAL, 0, SIDE / 2 - 0.5], [0, FOCAL, SIDE / 2 - 0.5], [0, 0, 1]]
    cameras = {
        name: {"K": k, "R": camera_of(name)[0].tolist(), "t": camera_of(name)[1].tolist()}
        for name in CAMERAS
    }
    (folder / "cameras.json").write_text(json.dumps({"cameras": cameras}))
    rng = np.random.default_rng(1)
    poses = np.stack([random_pose(BODY, rng)[:, :2] / 20 + SIDE / 2 for _ in range(40)])
    clip = np.repeat([f"prior{n}" for n in range(10)], 4)
    np.savez(folder / "poses.npz", poses_2d=poses, focal=FOCAL, source_size=SIDE, clip=clip)
    return folder


def save_truth(folder: Path, frames: tuple[int, ...] = LABELLED, **more: Any) -> Path:
    """World truth of some frames, two joints of which are not labelled."""
    poses = np.stack([world_pose("walk", frame) for frame in frames])
    poses[:, HIDDEN] = np.nan
    known = {"joints": np.array(BODY.joints), "frame": np.array(frames) + 10}
    np.savez(folder / "truth.npz", **(known | {"joints_world_mm": poses} | more))
    return folder / "truth.npz"


def prepared(folder: Path, **options: Any) -> Dataset:
    known = {
        "images": folder / "images",
        "masks": folder / "masks",
        "poses": folder / "poses.npz",
        "layout": "clip/camera",
        "truth": folder / "truth.npz",
        "cameras": folder / "cameras.json",
    }
    given = [f"data.folder.{name}={value}" for name, value in (known | options).items()]
    out = folder / "data"
    return Dataset(prepare(compose(["data=folder", "data.size=32", f"paths.data={out}", *given])))


def frames_of(data: Dataset, split: str) -> set[tuple[str, int]]:
    samples = data.split(split).samples
    return {(str(c), int(f) - 10) for c, f in zip(samples["camera"], samples["frame"], strict=True)}


# The data set.


def test_labelled_frames_are_the_test_images_and_their_moments_are_not_trained_on(
    tmp_path: Path,
) -> None:
    save_truth(make(tmp_path))
    data = prepared(tmp_path, every=2, exclude=1)
    assert frames_of(data, "test") == {(c, f) for c in CAMERAS for f in LABELLED}
    assert frames_of(data, "train") == {(c, f) for c in CAMERAS for f in (0, 10)}
    assert data.split("train").joints_2d is None
    assert data.split("train").joints_3d_mm is None
    tables = measure_dataset(data)
    assert not tables["samples"]["moment_shared"].any()
    assert (tables["samples"]["labelled"][-4:] == 15).all()
    assert np.isnan(tables["samples"]["labelled"][:-4]).all()
    assert tables["samples"]["reprojection"][-4:].max() < 1e-4
    assert tables["samples"]["labels_outside"][-4:].max() == 0
    assert tables["images"]["labels_off_body"][-4:].max() == 0


def test_truth_lies_where_the_camera_saw_it(tmp_path: Path) -> None:
    """Joints in the crop lie on the drawn body, and 3D is that of the turned view."""
    save_truth(make(tmp_path))
    test = prepared(tmp_path).split("test")
    assert test.joints_2d is not None
    assert test.joints_3d_mm is not None
    for row, sample in enumerate(test.samples):
        pose = world_pose("walk", sample["frame"] - 10)
        known = np.delete(np.arange(len(BODY)), HIDDEN)
        assert np.isnan(test.joints_2d[row][HIDDEN]).all()
        assert np.isnan(test.joints_3d_mm[row][HIDDEN]).all()
        x, y = np.floor(test.joints_2d[row][known]).astype(int).T
        assert (test.masks[row][y, x] > 100).mean() > 0.9
        # Turned about the camera's own place: distances, from it and between joints, are kept.
        rotation, move = camera_of(str(sample["camera"]))
        at, own = (pose @ rotation.T + move)[known], test.joints_3d_mm[row][known]
        np.testing.assert_allclose(np.linalg.norm(own, axis=1), np.linalg.norm(at, axis=1), 1e-5)
        assert p_mpjpe(own[None], at[None]) < 1e-2
        middle = (own.min(0) + own.max(0)) / 2
        assert np.abs(middle[:2]).max() < 80, "the view looks at the body"
        assert np.abs((at.min(0) + at.max(0))[:2] / 2).max() > 150


def test_truth_in_the_camera_frame_needs_no_cameras(tmp_path: Path) -> None:
    make(tmp_path)
    rotation, move = camera_of("east")
    pose = np.stack([world_pose("walk", f) @ rotation.T + move for f in LABELLED])
    save_truth(
        tmp_path,
        joints_world_mm=np.full(1, np.nan),
        camera=np.array(["east", "east"]),
        joints_3d_mm=pose,
        joints_2d_px=np.stack([pixels_of("east", world_pose("walk", f)) for f in LABELLED]),
    )
    with np.load(tmp_path / "truth.npz") as archive:
        kept = {name: archive[name] for name in archive.files if name != "joints_world_mm"}
    np.savez(tmp_path / "truth.npz", **kept)
    data = prepared(tmp_path, cameras="", focal_px=FOCAL)
    assert frames_of(data, "test") == {("east", f) for f in LABELLED}
    assert ("west", LABELLED[0]) not in frames_of(data, "train")
    test = data.split("test")
    assert test.joints_3d_mm is not None
    np.testing.assert_allclose(test.joints_3d_mm, pose, rtol=1e-6)
    assert measure_dataset(data)["samples"]["near_reprojection"][-2:].max() < 1e-5


def test_plain_crops_know_of_a_calibration_its_focal_length_alone(tmp_path: Path) -> None:
    """Images are those without a calibration; true poses are those of views."""
    save_truth(make(tmp_path))
    plain = prepared(tmp_path, crops="plain", exclude=1)
    splits = {name: plain.split(name) for name in ("train", "test")}
    kept = {n: (s.images[:], s.masks[:], np.array(s.samples)) for n, s in splits.items()}
    test_2d, test_3d = splits["test"].joints_2d, splits["test"].joints_3d_mm
    assert test_2d is not None
    assert test_3d is not None
    found_2d, found_3d = test_2d[:], test_3d[:]
    measured = measure_dataset(plain)["samples"]
    assert np.isnan(measured["reprojection"]).all(), "the camera of a plain crop is unknown"
    assert measured["labels_outside"][-4:].max() == 0

    views = prepared(tmp_path, exclude=1).split("test").joints_3d_mm
    assert views is not None
    np.testing.assert_array_equal(found_3d, views)

    known = [pixels_of(c, world_pose("walk", f)) for c in CAMERAS for f in LABELLED]
    labels: dict[str, Any] = {
        "joints": np.array(BODY.joints),
        "frame": np.tile(LABELLED, 2) + 10,
        "camera": np.repeat(CAMERAS, 2),
        "joints_2d_px": np.stack(known),
    }
    np.savez(tmp_path / "truth.npz", **labels)
    uncalibrated = prepared(tmp_path, cameras="", focal_px=FOCAL, exclude=1)
    for name, (images, masks, samples) in kept.items():
        split = uncalibrated.split(name)
        np.testing.assert_array_equal(images, split.images)
        np.testing.assert_array_equal(masks, split.masks)
        for field in ("camera", "frame", "crop", "focal"):
            np.testing.assert_array_equal(samples[field], split.samples[field])
        assert np.isnan(samples["principal"]).all()
    wanted = uncalibrated.split("test").joints_2d
    assert wanted is not None
    seen = np.delete(np.arange(len(BODY)), HIDDEN)
    np.testing.assert_allclose(found_2d[:, seen], wanted[:, seen], atol=1e-3)


def test_frames_near_a_moment_beyond_their_clip_are_not_trained_on(tmp_path: Path) -> None:
    """Where a recording is cut into clips, a moment may be labelled in the next one."""
    poses = np.stack([world_pose("walk", 3), np.full((len(BODY), 3), np.nan)])
    save_truth(make(tmp_path), frames=(3, FRAMES + 1), joints_world_mm=poses)
    data = prepared(tmp_path, exclude=3)
    assert {frame for _, frame in frames_of(data, "train")} == {7, 8, 9}
    assert {frame for _, frame in frames_of(data, "test")} == {3}


def test_clips_and_times_are_chosen_for_testing(tmp_path: Path) -> None:
    make(tmp_path, ("walk", "sprint"))
    save_truth(tmp_path, clip=np.array(["walk", "walk"]))
    chosen = prepared(tmp_path, test="[walk:10-14]")
    assert frames_of(chosen, "test") == {(c, 3) for c in CAMERAS}
    walk = chosen.split("train").samples
    walk = walk[walk["clip"] == "walk"]
    assert set(walk["frame"] - 10) == set(range(5, FRAMES)) - {7}, "labels are never trained on"
    times = prepared(tmp_path, truth="", test="[walk:14-15]", exclude=2)
    walk = times.split("train").samples
    walk = walk[walk["clip"] == "walk"]
    assert set(walk["frame"] - 10) == {0, 1, *range(8, FRAMES)}
    assert not measure_dataset(times)["samples"]["moment_shared"].any()
    whole = prepared(tmp_path, truth="", test="[spr*]")
    assert set(whole.split("test").samples["clip"]) == {"sprint"}
    assert set(whole.split("train").samples["clip"]) == {"walk"}
    assert len(whole.split("test")) == len(CAMERAS) * FRAMES
    with pytest.raises(InputError, match=r"no clip is called jump; there are sprint, walk"):
        prepared(tmp_path, test="[jump]")


def test_too_few_labels_keep_a_moment_out_of_both_splits(tmp_path: Path) -> None:
    poses = np.full((2, len(BODY), 3), np.nan)
    poses[0] = world_pose("walk", 3)
    poses[1, :3] = world_pose("walk", 7)[:3]
    save_truth(make(tmp_path), joints_world_mm=poses)
    data = prepared(tmp_path)
    assert {frame for _, frame in frames_of(data, "test")} == {3}
    assert 7 not in {frame for _, frame in frames_of(data, "train")}


def test_labels_without_an_image_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_truth(make(tmp_path), frames=(3, 90, 91))
    assert len(prepared(tmp_path).split("test")) == len(CAMERAS)
    assert "truth.npz: 2 labelled frames are of no image here" in capsys.readouterr().err


def test_weights_do_not_depend_on_the_truth(tmp_path: Path) -> None:
    weights = []
    for name in ("one", "other"):
        folder = make(tmp_path / name)
        shift = 0.0 if name == "one" else 25.0
        poses = np.stack([world_pose("walk", frame) + shift for frame in LABELLED])
        save_truth(folder, joints_world_mm=poses)
        data = prepared(folder)
        test = data.split("test").joints_3d_mm
        assert test is not None
        config = compose(overrides(folder, "run", "data.name=folder", "train.steps=3"))
        pretrain_flow.run(config)
        train.run(config)
        weights.append(((folder / "run/model/model.safetensors").read_bytes(), test.tobytes()))
    assert weights[0][1] != weights[1][1]
    assert weights[0][0] == weights[1][0]


@pytest.mark.parametrize("known", [0, 3])
def test_too_few_labels_everywhere_are_named_as_such(tmp_path: Path, known: int) -> None:
    poses = np.full((2, len(BODY), 3), np.nan)
    poses[:, :known] = world_pose("walk", 3)[:known]
    save_truth(make(tmp_path), joints_world_mm=poses)
    with pytest.raises(InputError, match=r"truth\.npz: labels 2 of the images, none .* 4 joints"):
        prepared(tmp_path)


def test_arrays_that_are_not_read_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_truth(make(tmp_path), notes=np.array("by hand"), joints_3d_raw=np.zeros(3))
    prepared(tmp_path)
    assert "truth.npz: notes, joints_3d_raw not read; known are joints," in capsys.readouterr().err


def save_without(folder: Path, name: str) -> None:
    with np.load(folder / "truth.npz") as archive:
        kept = {key: archive[key] for key in archive.files if key != name}
    np.savez(folder / "truth.npz", **kept)


TWO = np.array(["walk", "walk"])
NANS = np.full((2, len(BODY), 3), 1.0)
NANS[0, 0, 1] = np.nan
FAULTS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "not found": ({}, {"truth": "none.npz"}, r"none\.npz: not found; set data\.folder\.truth"),
    "frames elsewhere": ({"frame": np.array([90, 91])}, {}, "none of its frames is among"),
    "clip elsewhere": ({"clip": np.array(["run", "run"])}, {}, "none of its frames is among"),
    "twice": ({"frame": np.array([13, 13])}, {}, "rows 0 and 1 are both of frame 13; keep one"),
    "floats": ({"frame": np.array([13.0, 17.0])}, {}, "frame is float64"),
    "shape": ({"joints_world_mm": np.ones((2, 3, 3))}, {}, r"expected floats \(2, 17, 3\)"),
    "in part": ({"joints_world_mm": NANS}, {}, "1 joints of joints_world_mm are infinite or NaN"),
    "names": ({"joints": np.array([f"j{n}" for n in range(17)])}, {}, "none of its joints"),
    "both": ({"joints_3d_mm": np.ones((2, 17, 3))}, {}, "joints_3d_mm and joints_world_mm; keep"),
    "height": ({"height_mm": np.array(0.0)}, {}, "height_mm is 0"),
    "height in metres": (
        {"height_mm": 1.7},
        {},
        r"truth.npz: height_mm is 1.7, but joints of joints_world_mm are up to \S+ mm apart; give",
    ),
    "height in cm": ({"height_mm": 170}, {}, "height_mm is 170, but joints"),
    "height misspelt": ({"heigth_mm": np.array(1.0)}, {}, "heigth_mm is not known, call it height"),
    "unit left out": ({"joints_2d": np.ones((2, 17, 2))}, {}, "joints_2d .* call it joints_2d_px"),
    "camera column": ({"camera": np.array(["east"])}, {}, r"camera has shape \(1,\)"),
    "no cameras": ({}, {"cameras": "", "focal_px": 9}, "joints_world_mm needs data.folder.cameras"),
    "focal and cameras": ({}, {"focal_px": 9}, "focal_px and data.folder.cameras are both set"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_truth_file_is_refused_in_one_line(tmp_path: Path, fault: str) -> None:
    arrays, options, message = FAULTS[fault]
    save_truth(make(tmp_path), **arrays)
    with pytest.raises(InputError, match=message) as error:
        prepared(tmp_path, **options)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "data").exists()


def test_names_may_be_bytes(tmp_path: Path) -> None:
    make(tmp_path)
    plain = read_truth(save_truth(tmp_path, clip=np.array(["walk"] * len(LABELLED))), BODY)
    known = {"joints": [joint.encode() for joint in BODY.joints], "clip": [b"walk"] * len(LABELLED)}
    same = read_truth(save_truth(tmp_path, **known), BODY)
    assert same.rows == plain.rows
    np.testing.assert_array_equal(same.poses["joints_world_mm"], plain.poses["joints_world_mm"])


@pytest.mark.parametrize("name", ["joints", "frame", "joints_world_mm"])
def test_a_truth_file_that_lacks_an_array_is_refused(tmp_path: Path, name: str) -> None:
    save_truth(make(tmp_path))
    save_without(tmp_path, name)
    message = "has no poses; save one of" if "world" in name else f"lacks {name}; docs/datasets"
    with pytest.raises(InputError, match=re.escape(f"truth.npz: {message}")):
        prepared(tmp_path)


def test_labels_must_say_their_clip_where_there_are_several(tmp_path: Path) -> None:
    save_truth(make(tmp_path, ("walk", "sprint")))
    with pytest.raises(InputError, match="does not say which clip its frames are of"):
        prepared(tmp_path)


def spoil_moment(data: Dataset, arrays: Callable[[str], NDArray[Any]]) -> None:
    arrays("train/samples")["frame"][0] = arrays("test/samples")["frame"][0]


def spoil_labels(data: Dataset, arrays: Callable[[str], NDArray[Any]]) -> None:
    arrays("test/joints_3d_mm")[0, 3:] = np.nan
    arrays("test/joints_2d")[0, 3:] = np.nan


def spoil_place(data: Dataset, arrays: Callable[[str], NDArray[Any]]) -> None:
    arrays("test/joints_2d")[:] += 60
    arrays("test/samples")["principal"] = np.nan


def spoil_sides(data: Dataset, arrays: Callable[[str], NDArray[Any]]) -> None:
    arrays("test/joints_2d")[..., 0] = 16 + 12 * np.sign(arrays("test/joints_2d")[..., 0] - 16)
    arrays("test/samples")["source_size"] = 0


@pytest.mark.parametrize(
    ("spoil", "column", "table"),
    [
        (spoil_moment, "moment_shared", "samples"),
        (spoil_labels, "labelled", "samples"),
        (spoil_place, "labels_outside", "samples"),
        (spoil_sides, "labels_off_body", "images"),
    ],
)
def test_validation_checks_the_labels(
    tmp_path: Path, spoil: Callable[..., None], column: str, table: str
) -> None:
    from skelift.data.rules import RULES

    save_truth(make(tmp_path))
    data = prepared(tmp_path)
    opened: dict[str, NDArray[Any]] = {}

    def arrays(name: str) -> NDArray[Any]:
        if name not in opened:
            opened[name] = np.load(data.folder / f"{name}.npy")
        return opened[name]

    spoil(data, arrays)
    for name, array in opened.items():
        np.save(data.folder / f"{name}.npy", array)
    tables = measure_dataset(Dataset(data.folder))
    values = tables[table][column].astype(float)
    values = values[~np.isnan(values)]
    rules = [rule for rule in RULES if rule.column == column]
    assert not all(rule.warning for rule in rules), "it stops"
    for rule in rules:
        low = -np.inf if rule.low is None else rule.low
        high = np.inf if rule.high is None else rule.high
        assert np.mean((values >= low) & (values <= high)) < rule.mostly


EVERY = tuple(range(FRAMES))


def failing(data: Dataset) -> set[str]:
    """The columns whose rules do not hold."""
    from skelift.data.rules import RULES

    tables, failed = measure_dataset(data), set()
    for rule in RULES:
        column = tables.get(rule.table, {}).get(rule.column, np.zeros(0)).astype(float)
        known = column[~np.isnan(column)]
        low = -np.inf if rule.low is None else rule.low
        high = np.inf if rule.high is None else rule.high
        if len(known) and np.mean((known >= low) & (known <= high)) < rule.mostly:
            failed.add(rule.column)
    return failed


def own_frame(folder: Path, change: Callable[[Any], Any], with_2d: bool) -> None:
    """Truth of all images in their cameras' frames, changed; two joints are not labelled."""
    poses, pixels = [], []
    for camera in CAMERAS:
        rotation, move = camera_of(camera)
        for frame in EVERY:
            poses.append(change(world_pose("walk", frame) @ rotation.T + move))
            pixels.append(pixels_of(camera, world_pose("walk", frame)))
    labels: dict[str, Any] = {"joints_3d_mm": np.stack(poses)}
    labels |= {"joints_2d_px": np.stack(pixels)} if with_2d else {}
    for label in labels.values():
        label[:, HIDDEN] = np.nan
    names: dict[str, Any] = {
        "joints": np.array(BODY.joints),
        "frame": np.tile(EVERY, 2) + 10,
        "camera": np.repeat(CAMERAS, FRAMES),
    }
    np.savez(folder / "truth.npz", **names, **labels)


def as_is(pose: NDArray[np.float64]) -> NDArray[np.float64]:
    return pose


def y_up(pose: NDArray[np.float64]) -> NDArray[np.float64]:
    return pose * [1, -1, 1]


def x_left(pose: NDArray[np.float64]) -> NDArray[np.float64]:
    return pose * [-1, 1, 1]


UP_OR_RIGHT: dict[str, tuple[Callable[[Any], Any], bool, float, set[str]]] = {
    "as it is": (as_is, False, FOCAL, set()),
    "as it is, with 2D": (as_is, True, FOCAL, set()),
    "as it is, with 2D alone": (as_is, True, 0, set()),
    # 2D unknown: the masks know what is up, and where the body is.
    "y up": (y_up, False, FOCAL, {"labels_mirrored", "labels_upside_down", "labels_off_body"}),
    "x left": (x_left, False, FOCAL, {"labels_mirrored", "labels_off_body", "labels_outside"}),
    "y up, with 2D": (y_up, True, FOCAL, {"near_reprojection", "labels_upside_down"}),
    "y up, with 2D alone": (y_up, True, 0, {"agreement", "labels_upside_down"}),
    "x left, with 2D": (x_left, True, FOCAL, {"near_reprojection"}),
    "y up, nothing else known": (y_up, False, 0, {"labels_upside_down"}),
}


@pytest.mark.parametrize("case", UP_OR_RIGHT)
def test_truth_in_another_frame_than_the_camera_s_is_found(tmp_path: Path, case: str) -> None:
    change, with_2d, focal, expected = UP_OR_RIGHT[case]
    own_frame(make(tmp_path), change, with_2d)
    data = prepared(tmp_path, cameras="", focal_px=focal, poses="")
    assert failing(data) - {"knee_bend", "twisted"} == expected


def knees(pose: NDArray[np.float64], forward: float) -> NDArray[np.float64]:
    """Knees so far (mm) in front of the line from hip to ankle, hips and shoulders parallel."""
    at = {name: pose[BODY.index(name)] for name in BODY.joints}
    hips, up = at["l_hip"] - at["r_hip"], at["thorax"] - at["pelvis"]
    front = np.cross(hips, up) / np.linalg.norm(np.cross(hips, up))
    bent = pose.copy()
    for side, sign in ("l", 1), ("r", -1):
        middle = (at[f"{side}_hip"] + at[f"{side}_ankle"]) / 2
        bent[BODY.index(f"{side}_knee")] = middle + forward * front
        bent[BODY.index(f"{side}_shoulder")] = at["thorax"] + sign * 0.6 * hips
    return bent


SIDES: dict[str, tuple[Callable[[Any], Any], set[str]]] = {
    "as they are": (lambda pose: knees(pose, 60), set()),
    "all names exchanged": (lambda pose: knees(pose, 60)[BODY.swap], {"knee_bend"}),
    "hips exchanged": (
        lambda pose: np.where(
            np.isin(BODY.joints, ["l_hip", "r_hip"])[:, None], pose[BODY.swap], pose
        ),
        {"twisted"},
    ),
}


@pytest.mark.parametrize("case", SIDES)
def test_truth_is_checked_for_left_and_right(tmp_path: Path, case: str) -> None:
    change, expected = SIDES[case]
    own_frame(make(tmp_path), lambda pose: change(knees(pose, 60)), with_2d=False)
    failed = failing(prepared(tmp_path, cameras="", focal_px=FOCAL, poses=""))
    assert failed & {"knee_bend", "twisted", "labels_jump"} >= expected
    assert bool(failed & {"knee_bend", "twisted"}) == bool(expected)


def test_a_frame_whose_labels_change_sides_is_a_warning(tmp_path: Path) -> None:
    """The frame before is the same pose; between labels that are far apart it is no fault."""
    still = world_pose("walk", 3)
    poses = np.stack([still, still[BODY.swap]])
    poses[:, HIDDEN] = np.nan
    for frames, jumps in (((3, 5), True), ((3, 10), False)):
        folder = make(tmp_path / str(frames[1]))
        save_truth(folder, frames=frames, joints_world_mm=poses)
        data = prepared(folder, poses="")
        assert bool(measure_dataset(data)["samples"]["labels_jump"].any()) == jumps


# A test set alone.


def test_a_set_to_test_on_needs_no_prior(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_truth(make(tmp_path), height_mm=np.array(1700.0))
    data = prepared(tmp_path, poses="")
    assert data.counts == {"test": 4}
    measure_dataset(data)
    model = random_model(tmp_path / "model")
    paths = [f"paths.data={data.folder}", f"paths.reports={tmp_path / 'reports'}"]
    paths.append("data.name=folder")
    evaluate.run(compose([*paths, "data.size=32", f"paths.model={model}"]))
    metrics = json.loads((tmp_path / "reports/metrics.json").read_text())
    assert list(metrics["rows"]) == ["skelift", "test_mean_pose", "own_lifter"]
    assert metrics["rows"]["own_lifter"]["overall"]["error_2d_px"] == 0
    row = metrics["rows"]["skelift"]
    assert set(row["per_camera"]) == set(CAMERAS)
    both = np.mean([row["per_camera"][c]["p_mpjpe_mm"] for c in CAMERAS])
    assert row["overall"]["p_mpjpe_mm"] == pytest.approx(both)
    low, high = row["interval"]["p_mpjpe_mm"]
    assert low <= row["overall"]["p_mpjpe_mm"] <= high
    ratio = row["overall"]["error_2d_percent"] / row["overall"]["error_2d_mm"]
    assert ratio == pytest.approx(100 / 1700)
    # A pixel of the crop is so many mm at the body: some 1,900 mm fill 32 px.
    assert 30 < row["overall"]["error_2d_mm"] / row["overall"]["error_2d_px"] < 100
    capsys.readouterr()
    for truth, said in (("", False), ("else/truth.npz", False), ("nothere.npz", True)):
        keys = ["data=folder", *paths, "data.size=32", f"data.folder.truth={truth}"]
        validate.run(compose(keys))
        assert ("data.folder.truth=nothere.npz is not read" in capsys.readouterr().err) == said
    with pytest.raises(InputError, match="has no unpaired poses, only test; choose a data set"):
        pretrain_flow.run(compose([*overrides(tmp_path, "run"), *paths]))
    with pytest.raises(InputError, match="has no train images, only test; choose a data set"):
        data.split("train")


def test_own_lifter_is_given_the_truth(tmp_path: Path) -> None:
    test = Dataset(tiny_dataset(tmp_path / "set")).split("test")
    pipeline, _ = load_model(random_model(tmp_path / "model"), torch.device("cpu"))
    guess = np.full((len(test), len(pipeline.core.skeleton), 2), 7.0, np.float32)
    lifted = own_lifter(pipeline, test, Predicted(guess, guess), 32)

    crop, focal, principal = (
        test.samples[f].astype(np.float64) for f in ("crop", "focal", "principal")
    )
    joints_2d = np.array(test.joints_2d, dtype=np.float64)
    px = crop[:, None, :2] + (joints_2d / 32 - 0.5) * crop[:, None, 2:]
    rays = (px - principal[:, None]) / focal[:, None]
    y = (rays - rays[:, :1]) / (10 * pipeline.core.scale)  # at depth 10 about 1
    with torch.no_grad():
        v = pipeline.in_mm(pipeline.core.lift(torch.from_numpy(y).float())[0]).numpy()
    np.testing.assert_allclose(lifted.joints_3d_mm, v, atol=0.1)
    np.testing.assert_array_equal(lifted.joints_2d, test.joints_2d)


def test_a_model_of_another_skeleton_is_refused(tmp_path: Path) -> None:
    folder = tiny_dataset(tmp_path / "set", "hand21")
    model = random_model(tmp_path / "model")
    paths = [f"paths.data={folder}", f"paths.model={model}"]
    config = compose(["skeleton=hand21", "data.name=tiny", "data.size=32", *paths])
    with pytest.raises(InputError, match=r"its skeleton is h36m17, that of .* hand21; prepare"):
        evaluate.run(config)


# Scores over labelled joints.


def poses(count: int = 6, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    truth = np.stack([random_pose(BODY, rng) for _ in range(count)])
    truth[..., 2] += 4000
    return truth + rng.normal(scale=60, size=truth.shape), truth


def test_scores_are_those_of_the_labelled_joints_alone() -> None:
    """By hand: each image's labelled joints, taken out and aligned by the textbook."""
    predicted, truth = poses()
    rng = np.random.default_rng(2)
    hidden = rng.random(truth.shape[:2]) < 0.4
    assert 0 < hidden[:, BODY.root_index].sum() < len(truth)
    truth[hidden] = np.nan
    found = measure(
        BODY,
        predicted_3d_mm=predicted,
        true_3d_mm=truth,
        predicted_2d_px=predicted[..., :2],
        true_2d_px=truth[..., :2],
        height_mm=900.0,
    )
    for row in range(len(truth)):
        p, g = predicted[row][~hidden[row]], truth[row][~hidden[row]]
        assert found["error_2d_px"][row] == pytest.approx(
            np.linalg.norm(p[:, :2] - g[:, :2], axis=1).mean()
        )
        p, g = p - p.mean(0), g - g.mean(0)  # the root is not labelled in all images
        scale = (p * g).sum() / (p * p).sum()
        scaled = np.linalg.norm(scale * p - g, axis=1)
        assert found["n_mpjpe_mm"][row] == pytest.approx(scaled.mean())
        assert found["pck_150_root_all"][row] == pytest.approx(100 * (scaled < 150).mean())
        known = np.delete(np.arange(len(BODY)), np.flatnonzero(hidden[row]))
        counted = np.isin(known, BODY.evaluated_indices)
        expected = 100 * (scaled[counted] < 90).mean()
        assert found["pck_tenth"][row] == pytest.approx(expected)
        p, g = p - p.mean(0), g - g.mean(0)
        u, s, vt = np.linalg.svd(p.T @ g)
        sign = np.sign(np.linalg.det(u @ vt))
        turned = p @ u @ np.diag([1, 1, sign]) @ vt
        best = (s * [1, 1, sign]).sum() / (p * p).sum() * turned
        assert found["p_mpjpe_mm"][row] == pytest.approx(np.linalg.norm(best - g, axis=1).mean())


def test_predictions_of_unlabelled_joints_count_nowhere() -> None:
    predicted, truth = poses()
    truth[:, HIDDEN] = np.nan
    moved = predicted.copy()
    moved[:, HIDDEN] += 1000
    one, other = (measure(BODY, predicted_3d_mm=p, true_3d_mm=truth) for p in (predicted, moved))
    for name, values in one.items():
        np.testing.assert_allclose(values, other[name], err_msg=name)


def test_a_pose_without_labels_or_partly_nan_is_refused() -> None:
    predicted, truth = poses()
    truth[2] = np.nan
    with pytest.raises(InputError, match="image 2 is not finite"):
        measure(BODY, predicted_3d_mm=predicted, true_3d_mm=truth)
    truth[2] = truth[1]
    truth[4, 0, 0] = np.nan
    with pytest.raises(InputError, match="image 4 is not finite"):
        measure(BODY, predicted_3d_mm=predicted, true_3d_mm=truth)


def test_the_side_seen_is_unknown_where_its_joints_are_not_labelled() -> None:
    _, truth = poses()
    truth[1, BODY.index("l_hip")] = np.nan
    sides = facing(truth, BODY)
    assert sides is not None
    assert sides[1] == "unknown"
    assert "unknown" not in np.delete(sides, 1)
    truth[:, BODY.index("head")] = np.nan
    assert facing(truth, BODY) is None


def test_an_interval_draws_moments_with_all_their_views() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(100, 20, 400)
    moments = np.array([f"m{n}" for n in range(400)])
    low, high = interval(values, moments)
    error = 1.96 * values.std() / np.sqrt(400)  # the central limit theorem
    assert low == pytest.approx(values.mean() - error, abs=0.3)
    assert high == pytest.approx(values.mean() + error, abs=0.3)
    # Four equal views of each moment bring no knowledge.
    same = interval(np.repeat(values, 4), np.repeat(moments, 4))
    np.testing.assert_allclose(same, [low, high])
    assert interval(np.full(5, 7.0), moments[:5]) == [7, 7]
    scores = score(
        BODY,
        ["walk"] * 6,
        cameras=np.array(["a", "b"] * 3),
        moments=moments[:6],
        predicted_3d_mm=poses()[0],
        true_3d_mm=poses()[1],
    )
    assert set(scores["per_camera"]) == {"a", "b"}
    assert set(scores["interval"]) == {"p_mpjpe_mm", "n_mpjpe_mm"}


def test_the_mean_of_labelled_poses_is_the_mean_pose() -> None:
    _, truth = poses(40)
    whole = procrustes_mean_pose(truth, BODY.root_index)
    assert p_mpjpe(labelled_mean_pose(truth)[None], whole[None])[0] < 3
    # Copies of one pose, turned, moved and scaled, each lacking some joints: it is found.
    rng = np.random.default_rng(4)
    one = truth[0]
    copies = []
    for _ in range(20):
        q, r = np.linalg.qr(rng.normal(size=(3, 3)))
        q *= np.sign(np.diag(r))
        q[:, 0] *= np.linalg.det(q)
        copy = rng.uniform(0.8, 1.2) * one @ q + rng.normal(scale=100, size=3)
        copy[rng.permutation(len(BODY))[:7]] = np.nan
        copies.append(copy)
    assert p_mpjpe(labelled_mean_pose(copies)[None], one[None])[0] < 1e-3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"height_mm": np.array("tall")}, "height_mm is tall"),
        ({"height_mm": np.array([1700.0, 1800.0])}, "height_mm is"),
        ({"frame": np.array(3)}, "joints and frame are lists"),
        ({"joints": np.array("nose")}, "joints and frame are lists"),
        ({"joints": np.array(["Nose", "nose"])}, "names nose twice"),
    ],
)
def test_truth_of_another_form_is_one_line(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    arrays = {
        "joints": np.array(["nose", "head"]),
        "frame": np.arange(2),
        "joints_3d_mm": np.zeros((2, 2, 3)),
    }
    np.savez(tmp_path / "truth.npz", **(arrays | change))
    with pytest.raises(InputError, match=rf"truth\.npz: {said}"):
        read_truth(tmp_path / "truth.npz", load_skeleton("h36m17"))


def test_a_damaged_truth_file_is_one_line(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "ok.npz", joints=np.array(["nose"] * 40), frame=np.arange(4000))
    content = bytearray((tmp_path / "ok.npz").read_bytes())
    skeleton = load_skeleton("h36m17")
    for place in range(0, len(content), 7):
        damaged = content.copy()
        damaged[place] ^= 0x55
        (tmp_path / "bad.npz").write_bytes(damaged)
        with pytest.raises(InputError, match=r"bad\.npz"):
            read_truth(tmp_path / "bad.npz", skeleton)
