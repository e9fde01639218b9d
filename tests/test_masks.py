"""Masks that cannot be a body's are refused, counted or warned of, and never used in silence."""

import csv
import json
import os
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from test_folder import configure, save, save_poses, save_video
from tiny_run import random_model

from skelift.cli import main
from skelift.commands import predict
from skelift.config import FolderConfig
from skelift.data.clips import find_clips
from skelift.data.folder import prepare
from skelift.data.format import Dataset
from skelift.data.mask_checks import mask_fault
from skelift.data.measures import measure_dataset
from skelift.errors import InputError
from skelift.inference.pose_files import read_pose_table
from skelift.inference.predictor import Predictor

HEIGHT, WIDTH = 60, 80
Array = NDArray[np.uint8]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights."""
    return random_model(tmp_path_factory.mktemp("model") / "model")


def body(step: int = 0) -> Array:
    """The mask of a body at one of several places."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.ellipse(mask, (30 + step, 30), (9, 22), 0, 0, 360, 255, -1)
    return mask


def room(step: int = 0) -> Array:
    """That body before a bright wall."""
    wall = np.random.default_rng(7).integers(150, 200, (HEIGHT, WIDTH, 3), np.uint8)
    return np.where(body(step)[..., None] > 0, np.uint8([230, 60, 20]), wall)


FAULTS: dict[str, tuple[Callable[[Array], Array], str]] = {
    "empty": (np.zeros_like, "covers nothing"),
    "labels of 0 and 1": (lambda m: m // 255, "covers nothing"),
    "everything": (lambda m: np.full_like(m, 255), "covers all of the image"),
    "inverted": (lambda m: 255 - m, "looks inverted"),
    "all but a speck": (
        lambda m: np.uint8(255) * (np.arange(m.size) != 2000).reshape(m.shape),
        "covers most of the image's border",
    ),
    "one pixel": (lambda m: np.uint8(255) * (np.arange(m.size) == 2000).reshape(m.shape), "1 x 1"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_faulty_masks_are_recognised(kind: str) -> None:
    spoil, says = FAULTS[kind]
    assert says in mask_fault((spoil(body()) > 127) * np.uint8(255))


@pytest.mark.parametrize("step", [-25, 0, 45])
def test_bodies_at_the_border_are_no_fault(step: int) -> None:
    assert mask_fault(body(step)) == ""
    close = np.zeros((HEIGHT, WIDTH), np.uint8)
    close[5:, 20:60] = 255
    assert mask_fault(close) == ""


# prepare


def folder_of(tmp: Path, spoiled: dict[int, Callable[[Array], Array]], count: int = 12) -> Path:
    for step in range(count):
        save(tmp / "images" / f"{step}.png", room(step))
        save(tmp / "masks" / f"{step}.png", spoiled.get(step, lambda m: m)(body(step)))
    return tmp / "images"


@pytest.mark.parametrize("kind", FAULTS)
def test_prepare_refuses_faulty_masks(tmp_path: Path, kind: str) -> None:
    spoil, says = FAULTS[kind]
    images = folder_of(tmp_path, {3: spoil, 10: spoil})
    config = configure(tmp_path, images=images, masks=tmp_path / "masks")
    with pytest.raises(InputError, match=rf"masks/3\.png: its mask .*{says}.*; mark .*bad_masks"):
        prepare(config)
    assert not (tmp_path / "out").exists()


def test_prepare_counts_the_few_that_it_leaves_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = folder_of(tmp_path, {3: lambda m: 255 - m})
    data = Dataset(prepare(configure(tmp_path, images=images, masks=tmp_path / "masks")))
    assert data.split("train").samples["frame"].tolist() == [0, 1, 2, *range(4, 11)]
    said = capsys.readouterr().err
    assert "skipped 1 images (1: its mask looks inverted; the first is" in said
    strict = configure(tmp_path, images=images, masks=tmp_path / "masks", bad_masks=0)
    with pytest.raises(InputError, match="looks inverted"):
        prepare(strict)


@pytest.mark.parametrize("wall", [40, 255])
def test_prepare_wants_a_mask_where_the_background_is_not_black(tmp_path: Path, wall: int) -> None:
    for step in range(6):
        image = np.where(body(step)[..., None] > 0, room(step), np.uint8(wall))
        image[:12] = 0  # a black bar above
        save(tmp_path / "images" / f"{step}.png", image)
    with pytest.raises(InputError, match=r"0\.png: its background is not black; give data\.folder"):
        prepare(configure(tmp_path, images=tmp_path / "images"))


def test_alpha_is_the_mask_of_a_data_set(tmp_path: Path) -> None:
    """Whether as the image's, as the mask's, or beside it, with any background asked for."""
    (tmp_path / "cut").mkdir()
    for step in range(6):
        save(tmp_path / "plain" / f"{step}.png", room(step))
        save(tmp_path / "masks" / f"{step}.png", body(step))
        save(tmp_path / "beside" / f"{step}.png", room(step))
        save(tmp_path / "beside" / f"{step}.mask.png", body(step))
        Image.fromarray(np.dstack([room(step), body(step)])).save(tmp_path / f"cut/{step}.png")
    ways: list[dict[str, Any]] = [
        {"images": "plain", "masks": tmp_path / "masks"},
        {"images": "plain", "masks": tmp_path / "cut"},
        {"images": "cut"},
        {"images": "cut", "background": "median"},
        {"images": "beside"},
        {"images": "beside", "background": "subtractor"},
    ]
    found = []
    for way in ways:
        data = Dataset(prepare(configure(tmp_path, **way | {"images": tmp_path / way["images"]})))
        split = data.split("train")
        found.append((np.array(split.images), np.array(split.masks)))
        shutil.rmtree(data.folder)
    for images, masks in found[1:]:
        np.testing.assert_array_equal(images, found[0][0])
        np.testing.assert_array_equal(masks, found[0][1])


def test_masks_may_lie_below_the_images(tmp_path: Path) -> None:
    images = folder_of(tmp_path, {}).rename(tmp_path / "all")
    (tmp_path / "masks").rename(images / "m")
    config = FolderConfig(images=str(images), masks=str(images / "m"))
    (clip,) = find_clips(config)
    assert [file.name for file in clip.files] == [f"{step}.png" for step in range(12)]
    assert clip.masks == tuple(images / "m" / f"{step}.png" for step in range(12))


def test_data_set_of_inverted_masks_is_no_data_set(tmp_path: Path) -> None:
    images = folder_of(tmp_path, {})
    data = Dataset(prepare(configure(tmp_path, images=images, masks=tmp_path / "masks")))
    column = measure_dataset(data)["images"]["mask_on_border"]
    assert (column < 0.05).all()
    # As an earlier version cropped an inverted mask: around all of the image.
    for name in ("train", "test"):
        split = data.split(name)
        masks, samples = (np.lib.format.open_memmap(f, "r+") for f in (
            next((data.folder / name).glob("masks-*.npy")), data.folder / name / "samples.npy",
        ))  # fmt: skip
        size, rows = data.info.size, len(split)
        samples["crop"] = [WIDTH / 2, HEIGHT / 2, WIDTH * 1.13]
        margin = (0.13 / 1.13 / 2) * size
        high = (1 - (HEIGHT / WIDTH) / 1.13) / 2 * size
        covered = np.zeros((size, size), np.uint8)
        covered[int(high) : size - int(high), int(margin) : size - int(margin)] = 255
        covered[14:20, 14:18] = 0  # the body
        masks[:] = np.repeat(covered[None], rows, axis=0)
        masks.flush()
        samples.flush()
    assert (measure_dataset(Dataset(data.folder))["images"]["mask_on_border"] > 0.5).all()


def test_clips_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("walk.avi", "walk.mkv"):
        save_video(tmp_path / "in" / name, [room(step) for step in range(3)])
    with pytest.raises(InputError, match=r"walk\.mkv: would be the clip walk, as .*walk\.avi is"):
        find_clips(FolderConfig(images=str(tmp_path / "in")))


# predict


@pytest.mark.parametrize("background", ["keep", "remove", "median", "subtractor"])
def test_predict_warns_of_faulty_masks(
    tmp_path: Path, model: Path, background: str, capsys: pytest.CaptureFixture[str]
) -> None:
    images = folder_of(tmp_path, {2: lambda m: 255 - m, 4: lambda m: 255 - m}, count=6)
    out = tmp_path / "p.json"
    predict.run([images], model, out, masks=tmp_path / "masks", background=background)
    said = capsys.readouterr().err
    assert "poses of 2 images (2: its mask looks inverted; the first is" in said
    assert "2.png) are not to be trusted" in said
    predict.run([images / "1.png"], model, out, masks=tmp_path / "masks", background=background)
    assert not capsys.readouterr().err.strip()


def test_predictor_warns_too(tmp_path: Path, model: Path) -> None:
    predictor = Predictor(model)
    with pytest.warns(UserWarning, match="the mask looks inverted"):
        predictor(room(), mask=255 - body())
    with pytest.warns(UserWarning, match="nothing marks the body"):
        predictor(room())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predictor(room(), mask=body())
        predictor(np.where(body()[..., None] > 0, room(), np.uint8(0)))


def test_alpha_is_the_mask_of_a_prediction(tmp_path: Path, model: Path) -> None:
    cut = np.dstack([room(), body()])
    Image.fromarray(cut).save(tmp_path / "cut.png")
    Image.fromarray(room()).save(tmp_path / "plain.png")
    predictor = Predictor(model)
    expected = predictor(room(), mask=body()).joints_3d_mm
    np.testing.assert_array_equal(predictor(tmp_path / "cut.png").joints_3d_mm, expected)
    predict.run([tmp_path / "cut.png"], model, tmp_path / "p.json")
    (entry,) = json.loads((tmp_path / "p.json").read_text())["predictions"]
    assert entry["crop"]["from"] == "mask"
    np.testing.assert_allclose(entry["joints_3d_mm"], expected, atol=0.006)


def test_one_mask_is_never_that_of_two_images(tmp_path: Path, model: Path) -> None:
    for folder in "ab":
        save(tmp_path / folder / "0.png", room())
    save(tmp_path / "masks" / "0.png", body())
    (tmp_path / "both").mkdir()
    for folder in "ab":
        (tmp_path / folder).rename(tmp_path / "both" / folder)
    with pytest.raises(InputError, match=r"masks/0\.png: would be the mask of .*a/0.* and of "):
        predict.run([tmp_path / "both"], model, tmp_path / "p.json", masks=tmp_path / "masks")


def test_what_was_left_out_is_said(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for step in (10, 9):
        save(tmp_path / "in" / f"{step}.png", room(step))
        save(tmp_path / "in" / f"{step}.mask.png", body(step))
    (tmp_path / "in" / "a.heic").write_bytes(b"x")
    (tmp_path / "in" / "b.png").touch()
    predict.run([tmp_path / "in"], model, tmp_path / "p.json")
    said = capsys.readouterr().err.strip()
    assert said == f"{tmp_path / 'in'}: left out 2 files (1 .heic, 1 empty)"
    names = [Path(name).name for name in read_pose_table(tmp_path / "p.json").images]
    assert names == ["9.png", "10.png"]


@pytest.mark.parametrize("option", ["input", "--masks", "--draw", "--out"])
def test_empty_name_is_not_this_folder(
    tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"input": str(tmp_path), "--out": "p.json"} | {option: ""}
    words = ["predict", given.pop("input"), *(word for pair in given.items() for word in pair)]
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    assert "is empty; name a file or folder" in capsys.readouterr().err


# Names.


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems refuse such names")
def test_no_name_costs_a_run_its_results(tmp_path: Path, model: Path) -> None:
    names = [b"caf\xe9.png", 'Männer, "2"\n.png'.encode(), b"n" * 251 + b".png"]
    inputs = tmp_path / "in"
    inputs.mkdir()
    for name in names:
        save(tmp_path / "a.png", room()).rename(inputs / os.fsdecode(name))
    save_video(tmp_path / "v.avi", [room(step) for step in range(6)]).rename(
        inputs / os.fsdecode(b"clip\xff.avi")
    )
    expected = sorted(os.fsdecode(name) for name in [*names, *[b"clip\xff.avi"] * 6])
    drawn = tmp_path / os.fsdecode(b"drawn\xfc")
    for suffix in ("json", "csv", "npz"):
        predict.run([inputs], model, tmp_path / f"p.{suffix}", draw=drawn)
    assert len(list(drawn.iterdir())) == 4
    clip = (drawn / os.fsdecode(b"clip\xff.mp4")).rename(tmp_path / "d.mp4")
    assert cv2.VideoCapture(str(clip)).get(cv2.CAP_PROP_FRAME_COUNT) == 6
    for suffix in ("json", "npz"):
        table = read_pose_table(tmp_path / f"p.{suffix}")
        assert sorted(Path(name).name for name in table.images) == expected
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 17 * 9
    assert any(r"caf\udce9.png" in row["image"] for row in rows)


def test_data_set_of_such_folders_is_written_as_text(tmp_path: Path) -> None:
    for folder in (b"clip_\xfc", b"clip2"):
        images = tmp_path / "in" / os.fsdecode(folder)
        for step in range(3):
            save(tmp_path / "a.png", np.where(body(step)[..., None] > 0, room(), np.uint8(0)))
            images.mkdir(parents=True, exist_ok=True)
            (tmp_path / "a.png").rename(images / f"{step}.png")
    poses = save_poses(tmp_path / "poses.npz")
    data = Dataset(prepare(configure(tmp_path, images=tmp_path / "in", poses=poses)))
    names = {str(name) for split in ("train", "test") for name in data.split(split).samples["clip"]}
    assert names == {r"clip_\xfc", "clip2"}


def test_drawings_that_cannot_be_written_are_found_first(tmp_path: Path, model: Path) -> None:
    save(tmp_path / "in" / "a.mp4" / "0.png", room())
    save_video(tmp_path / "in" / "a.avi", [room()])
    with pytest.raises(InputError, match=r"a\.avi: would be drawn to a\.mp4, which is a folder"):
        predict.run([tmp_path / "in"], model, tmp_path / "p.json", draw=tmp_path / "drawn")
