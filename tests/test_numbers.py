"""Numbers, cameras and names are checked where they come in."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import tiny_dataset
from tiny_run import random_model

from skelift.cli import main
from skelift.config import FolderConfig, compose
from skelift.data.chosen import chosen_dataset
from skelift.data.format import Dataset, recorded
from skelift.errors import InputError
from skelift.inference.predictor import Predictor
from skelift.models.io import load_card
from skelift.numbers import is_positive, is_real

NUMBERS = [1, 0.5, np.float32(3), np.int64(2)]
OTHERS = [True, "1", None, float("nan"), float("inf"), 10**400, [1], np.nan, b"1", 1j]


def test_what_a_number_is() -> None:
    assert all(map(is_real, NUMBERS))
    assert not any(map(is_real, OTHERS))
    assert all(map(is_positive, NUMBERS))
    assert not any(map(is_positive, [*OTHERS, 0, -1, -0.0]))


# A model's card.


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return random_model(tmp_path / "model")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("size", 0, "size=0: must be 1 or more"),
        ("size", 50, "size=50: must be a multiple of 8"),
        ("size", 48.5, "size=48.5: must be a valid integer"),
        ("size", "48", "size=48: must be a valid integer"),
        ("scale", float("nan"), "scale=nan: must be a finite number"),
        ("scale", 0, "scale=0: must be above 0"),
        ("margin", -5, "margin=-5: must be 0 or more"),
        ("margin", float("inf"), "margin=inf: must be a finite number"),
        ("crop_side", 0, "crop_side=0: must be above 0"),
        ("crop_side", None, "crop_side=null: must be a valid number"),
        ("heads", 3, "incomplete"),
        ("model", {"width": -1}, "model.width=-1: must be 1 or more"),
        (
            "model",
            {"wdith": 1},
            "got an unexpected keyword argument 'wdith'",
        ),
        ("skeleton", {"joints": 1}, "model.json: "),
    ],
)
def test_a_card_with_a_bad_number_is_one_line(key: str, value: Any, said: str, model: Path) -> None:
    file = model / "model.json"
    card = json.loads(file.read_text())
    file.write_text(json.dumps(card | {key: value}))
    for load in (load_card, Predictor):
        with pytest.raises(InputError) as raised:
            load(model)
        assert str(raised.value).startswith(f"{file}: ")
        assert said in str(raised.value)
        assert "\n" not in str(raised.value)


# What a program gives.


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "", "meta"])
def test_a_device_that_is_not_here_is_one_line(device: str, model: Path) -> None:
    with pytest.raises(InputError, match=f"device={device}: ") as raised:
        Predictor(model, device)
    assert "\n" not in str(raised.value)


def test_a_predictor_refuses_what_is_no_number(model: Path) -> None:
    predictor, image = Predictor(model), np.full((20, 20, 3), 90, np.uint8)
    for focal in ("1000", True, 0, -1, float("inf"), [1000]):
        with pytest.raises(InputError, match=r"focal_px=.*: must be a number above 0"):
            predictor(image, focal_px=focal)  # type: ignore[arg-type]
    for box in ("1234", ("1", 2, 9, 9), (1, 2, True, 9), (0, 0, 10**400, 9), 5, (1, 2, -9, 9)):
        with pytest.raises(InputError, match="the box must be X Y WIDTH HEIGHT"):
            predictor(image, box=box)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no images given"):
        predictor.predict([])
    given = predictor(image, focal_px=np.float32(900), box=np.array([2, 2, 9, 9]))  # type: ignore[arg-type]
    assert given.prepared.focal_px == 900


# A data set.


def config_of(folder: Path, *more: str) -> Any:
    small = ["data.size=32", "model.disc_scales=1", "data.name=tiny"]
    return compose([*small, f"paths.data={folder}", *more])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tiny_dataset(tmp_path / "set", train=8, test=4, prior=8, size=32)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data.name=other", "data set of data.name=tiny, the configuration has data.name=other"),
        ("data.size=48", "data set of data.size=32, the configuration has data.size=48"),
        ("skeleton=hand21", "of skeleton=h36m17, the configuration has skeleton=hand21"),
    ],
)
@pytest.mark.parametrize("verb", ["pretrain-flow", "train", "evaluate", "sweep"])
def test_another_data_set_than_the_configured_one_is_refused(
    verb: str, override: str, said: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["data.size=32", "model.disc_scales=1", "data.name=tiny", "flow.pca=8"]
    assert main([verb, *small, f"paths.data={data}", override]) == 2
    error = capsys.readouterr().err
    assert f"{data}: a " in error
    assert said in error
    assert error.count("\n") == 1


def test_a_data_set_that_fits_is_taken(data: Path) -> None:
    assert chosen_dataset(config_of(data)).counts == {"train": 8, "test": 4, "prior": 8}


@pytest.mark.parametrize(
    ("part", "field", "value", "said"),
    [
        ("train", "focal", -5, "a focal length not above 0 in 1 of 8 rows, the first is 3"),
        ("test", "focal", np.inf, "a focal length not above 0 in 1 of 4 rows"),
        ("prior", "focal", 0, "a focal length not above 0"),
        ("train", "crop", 0, "a crop without a size"),
        ("prior", "crop", np.nan, "a crop without a size"),
    ],
)
def test_cameras_that_cannot_be_are_refused(
    part: str, field: str, value: float, said: str, data: Path
) -> None:
    file = data / part / "samples.npy"
    samples = np.load(file)
    samples[field][3] = value
    np.save(file, samples)
    with pytest.raises(InputError, match=said) as raised:
        chosen_dataset(config_of(data))
    assert str(raised.value).startswith(f"{file}: ")


def test_poses_that_are_no_numbers_are_refused(data: Path) -> None:
    file = data / "prior" / "poses_2d.npy"
    poses = np.load(file)
    poses[2, 4] = np.nan
    np.save(file, poses)
    with pytest.raises(InputError, match="a pose of NaN or infinity in 1 of 8 rows"):
        chosen_dataset(config_of(data))


@pytest.mark.parametrize(
    ("key", "value"), [("size", 0), ("size", "32"), ("margin", -1), ("counts", {"train": -1})]
)
def test_a_description_with_a_bad_number_is_one_line(key: str, value: Any, data: Path) -> None:
    file = data / "dataset.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(InputError, match=rf"dataset\.json: {key}.*must be"):
        Dataset(data)


def test_an_unknown_camera_is_said_by_prepare_and_before_the_flow_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import cv2

    for number in range(4):
        picture = np.zeros((40, 40, 3), np.uint8)
        picture[5:35, 12 : 20 + number] = 200
        (tmp_path / "images").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), picture)
    rng = np.random.default_rng(0)
    poses = {"poses_2d": rng.uniform(100, 900, (9, 17, 2))}
    np.savez(tmp_path / "unknown.npz", **poses)
    np.savez(tmp_path / "known.npz", **poses, focal=np.array([900.0, 900.0]))
    out = tmp_path / "out"
    base = ["data=folder", "data.size=32", "model.disc_scales=1", f"paths.data={out}"]
    base += [f"data.folder.images={tmp_path / 'images'}", f"paths.flow={tmp_path / 'flow'}"]
    for name, focal, said in (
        ("unknown", 0, "3 training images, 1 test images, 9 unpaired poses without a focal length"),
        ("unknown", 500, "warning: 9 unpaired poses without a focal length"),
        ("known", 0, "warning: 3 training images, 1 test images without a focal length"),
        ("known", 500, ""),
    ):
        argv = [*base, f"data.folder.poses={tmp_path / name}.npz", f"data.folder.focal_px={focal}"]
        assert main(["prepare", *argv, "model.units=crop"]) == 0
        assert "focal" not in capsys.readouterr().err
        assert main(["prepare", *argv]) == 0
        error = capsys.readouterr().err
        assert said in error
        assert ("model.units=crop" in error) == bool(said)
        if said:
            assert main(["pretrain-flow", *argv]) == 2
            error = capsys.readouterr().err
            assert f"{out}: " in error
            assert "without a focal length; set model.units=crop" in error


def test_where_files_lie_is_not_recorded() -> None:
    section = FolderConfig(
        images="/home/me/pics/", poses="a/poses.npz", layout="person/clip", licence="A/B"
    )
    kept = recorded(section)
    assert (kept["images"], kept["poses"]) == ("pics", "poses.npz")
    assert (kept["layout"], kept["licence"]) == ("person/clip", "A/B")
