"""Prediction for images of any size: cropping, the way back to pixels, the JSON answer."""

import json
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny import draw, load_skeleton
from tiny_run import random_model

from skelift.errors import InputError
from skelift.inference.predictor import Predictor
from skelift.models.io import load_model
from skelift.models.omega import Omega

SKELETON = load_skeleton("h36m17")
SIZE, MARGIN, CROP_SIDE = 32, 0.25, 0.4
HEIGHT, WIDTH = 240, 200
ImageArray = NDArray[np.uint8]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights."""
    return random_model(tmp_path_factory.mktemp("predictor") / "model", MARGIN)


@pytest.fixture(scope="module")
def predictor(model: Path) -> Predictor:
    return Predictor(model)


@pytest.fixture(scope="module")
def image() -> ImageArray:
    """A body of soft edges on black."""
    joints = np.random.default_rng(0).uniform([60, 50], [150, 200], (17, 2))
    image, _ = draw(SKELETON, joints, HEIGHT, (200, 120, 90))
    image = cv2.GaussianBlur(image, (0, 0), 3)[:, :WIDTH]
    return np.where(image.max(-1, keepdims=True) > 40, image, 0).astype(np.uint8)


def body(image: ImageArray) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(image.max(-1))
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1


def test_crop_follows_the_mask(predictor: Predictor) -> None:
    image = np.full((HEIGHT, WIDTH, 3), 200, dtype=np.uint8)
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[20:120, 90:150] = 255
    mask[200:, :] = 127  # not body: only above 127 is
    prepared = predictor.prepare(image, mask)
    assert prepared.crop_from == "mask"
    assert (prepared.crop.x, prepared.crop.y) == (120, 70)
    assert prepared.crop.side == 100 * (1 + MARGIN)
    assert prepared.size == (WIDTH, HEIGHT)
    # Black outside of the mask; inside, the image: 60 x 100 of 125 source pixels at 32 pixels.
    lit = (prepared.x.max(-1) > 100).nonzero()
    assert np.ptp(lit[0]) + 1 == pytest.approx(100 / 125 * SIZE, abs=1)
    assert np.ptp(lit[1]) + 1 == pytest.approx(60 / 125 * SIZE, abs=1)


def test_grey_of_a_soft_mask_is_background(predictor: Predictor) -> None:
    image = np.full((HEIGHT, WIDTH, 3), 200, dtype=np.uint8)
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[50:150, 50:150] = 120
    mask[80:120, 80:120] = 255
    assert (predictor.prepare(image, mask).x[0] == 0).all()


def test_crop_follows_the_body_on_black(predictor: Predictor, image: ImageArray) -> None:
    prepared = predictor.prepare(image)
    top, bottom, left, right = body(image)
    assert prepared.crop_from == "black background"
    assert (prepared.crop.x, prepared.crop.y) == ((left + right) / 2, (top + bottom) / 2)
    assert prepared.crop.side == max(bottom - top, right - left) * (1 + MARGIN)


def test_whole_image_is_taken_where_nothing_marks_the_body(predictor: Predictor) -> None:
    noise = np.random.default_rng(0).integers(60, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    prepared = predictor.prepare(noise)
    assert prepared.crop_from == "whole image"
    assert (prepared.crop.x, prepared.crop.y) == (WIDTH / 2, HEIGHT / 2)
    assert prepared.crop.side == HEIGHT
    assert predictor.prepare(np.zeros_like(noise)).crop_from == "whole image"


def test_empty_mask_is_refused(predictor: Predictor, image: ImageArray) -> None:
    with pytest.raises(InputError, match="mask is empty"):
        predictor.prepare(image, np.zeros((HEIGHT, WIDTH), dtype=np.uint8))


@pytest.mark.parametrize(
    "box",
    [
        *[(100, 0, WIDTH, HEIGHT), (0, 0, 1e9, 1e9), (-9, 0, 50, 50), (0, 0, -5, 50)],
        *[(1, 2, 3), (0, 0, float("nan"), 50), (WIDTH, 0, 9, 9)],
    ],
)
def test_a_box_must_lie_on_its_image(
    predictor: Predictor, image: ImageArray, box: tuple[float, ...]
) -> None:
    with pytest.raises(InputError, match=rf"box must be X Y WIDTH HEIGHT .* {WIDTH} x {HEIGHT}"):
        predictor(image, box=box)


def test_a_rounded_edge_of_a_box_is_cut(predictor: Predictor, image: ImageArray) -> None:
    crop = predictor.prepare(image, box=(-1.5, 0, WIDTH + 3, HEIGHT)).crop
    assert (crop.x, crop.y) == (WIDTH / 2, HEIGHT / 2)


def test_unknown_camera_is_as_far_as_in_training(predictor: Predictor, image: ImageArray) -> None:
    unknown, given = predictor.prepare(image), predictor.prepare(image, focal_px=900.0)
    assert (unknown.focal_from, given.focal_from) == ("typical", "given")
    assert unknown.crop.side / unknown.focal_px == pytest.approx(CROP_SIDE)
    assert given.focal_px == 900
    flat, tall = predictor.predict([unknown, given])
    np.testing.assert_array_equal(flat.joints_2d_px, tall.joints_2d_px)
    assert not np.allclose(flat.joints_3d_mm, tall.joints_3d_mm)


@pytest.mark.parametrize(("focal", "doubted"), [(35, True), (71.9, True), (72.1, False)])
def test_a_focal_length_in_millimetres_is_told(
    predictor: Predictor, image: ImageArray, focal: float, doubted: bool
) -> None:
    """Lenses have 0.3 of the longer side, here 240 px, and more."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        entry = predictor(image, focal_px=focal).as_json()
    assert [str(each.message) for each in told] == entry["warnings"]
    said = [f"a focal length of {focal:g} px is 0." in line for line in entry["warnings"]]
    assert said == [True] * doubted
    assert predictor(image).as_json()["warnings"] == []  # however near the typical one is


def test_2d_joints_are_in_pixels_of_the_original_image(
    predictor: Predictor, image: ImageArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    y = torch.zeros(1, 17, 2)
    y[0, 1], y[0, 2] = torch.tensor([-1.0, -1.0]), torch.tensor([1.0, 0.5])
    monkeypatch.setattr(Omega, "soft_argmax", lambda self, s: (y, torch.full((1, 17), 0.5)))
    prepared = predictor.prepare(image)
    predicted = predictor.predict([prepared])[0]
    joints = predicted.joints_2d_px
    np.testing.assert_allclose(predicted.spread_px, prepared.crop.side / 4, rtol=1e-5)
    x, down, half = prepared.crop.x, prepared.crop.y, prepared.crop.side / 2
    np.testing.assert_allclose(joints[0], [x, down], rtol=1e-5)
    np.testing.assert_allclose(joints[1], [x - half, down - half], rtol=1e-5)
    np.testing.assert_allclose(joints[2], [x + half, down + half / 2], rtol=1e-5)


def test_prediction_is_the_pipelines(model: Path, predictor: Predictor, image: ImageArray) -> None:
    prepared = predictor.prepare(image)
    ours = predictor.predict([prepared])[0]
    pipeline, _ = load_model(model, torch.device("cpu"))
    pose = pipeline.core
    with torch.no_grad():
        x = torch.tensor(prepared.x, dtype=torch.float32).permute(2, 0, 1)[None] / 255
        y = pose.omega(pose.phi(x))
        centred = (y - y[:, :1]) * CROP_SIDE / 2 / (0.1 * 10)
        v, _ = pose.lift(centred)
    expected = pipeline.in_mm(v)[0].numpy()
    np.testing.assert_allclose(ours.joints_3d_mm, expected, atol=0.5)
    np.testing.assert_array_equal(ours.joints_3d_mm[0], 0)  # root-relative


def test_shifted_image_gives_the_same_pose_shifted(predictor: Predictor, image: ImageArray) -> None:
    moved = np.zeros((HEIGHT + 60, WIDTH + 90, 3), dtype=np.uint8)
    moved[37 : 37 + HEIGHT, 71 : 71 + WIDTH] = image
    here, there = predictor.predict([predictor.prepare(image), predictor.prepare(moved)])
    np.testing.assert_allclose(there.joints_3d_mm, here.joints_3d_mm, atol=0.1)
    np.testing.assert_allclose(
        there.joints_2d_px, here.joints_2d_px + np.array([71, 37]), atol=0.01
    )


def test_enlarged_image_gives_the_same_pose_enlarged(
    predictor: Predictor, image: ImageArray
) -> None:
    large = np.repeat(np.repeat(image, 3, axis=0), 3, axis=1)
    here, there = predictor.predict([predictor.prepare(image), predictor.prepare(large)])
    size = np.linalg.norm(here.joints_3d_mm, axis=-1).max()
    np.testing.assert_allclose(there.joints_3d_mm, here.joints_3d_mm, atol=0.02 * size)
    np.testing.assert_allclose(there.joints_2d_px / 3, here.joints_2d_px, atol=0.01 * HEIGHT)


def test_images_of_a_batch_do_not_touch_each_other(predictor: Predictor, image: ImageArray) -> None:
    prepared = [predictor.prepare(p) for p in (image, image[:, ::-1].copy(), image // 2)]
    together = predictor.predict(prepared)
    for one, among in zip(prepared, together, strict=True):
        alone = predictor.predict([one])[0]
        np.testing.assert_allclose(among.joints_3d_mm, alone.joints_3d_mm, atol=0.1)
        np.testing.assert_allclose(among.joints_2d_px, alone.joints_2d_px, atol=0.01)


def test_answer_explains_itself(predictor: Predictor, image: ImageArray) -> None:
    prediction = predictor.predict([predictor.prepare(image)])[0]
    answer = json.loads(json.dumps(predictor.answer([("a.png", prediction)]), allow_nan=False))
    assert answer["schema_version"] == 1
    assert answer["model"] == {"name": "tiny", "version": predictor.card["skelift_version"]}
    assert answer["units"] == "mm"
    assert "x right, y down, z forward" in answer["frame"]
    assert "typical body" in answer["scale"]
    assert answer["joint_names"] == list(SKELETON.joints)
    (entry,) = answer["predictions"]
    assert entry["image"] == "a.png"
    assert entry["image_size"] == [WIDTH, HEIGHT]
    assert entry["crop"].keys() == {"x", "y", "side", "from"}
    assert entry["focal_px"] == {"value": prediction.prepared.focal_px, "from": "typical"}
    np.testing.assert_allclose(entry["joints_3d_mm"], prediction.joints_3d_mm, atol=0.006)
    np.testing.assert_allclose(entry["joints_2d_px"], prediction.joints_2d_px, atol=0.006)
    assert np.shape(entry["joints_3d_mm"]) == (17, 3)
    assert np.shape(entry["joints_2d_px"]) == (17, 2)


def test_folder_without_a_model_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model\.json.*skelift train"):
        Predictor(tmp_path)
    (tmp_path / "model.json").write_text((model / "model.json").read_text())
    with pytest.raises(InputError, match=r"model\.safetensors.*skelift train"):
        Predictor(tmp_path)
    truncated = (model / "model.safetensors").read_bytes()[:1000]
    (tmp_path / "model.safetensors").write_bytes(truncated)
    with pytest.raises(InputError, match=r"model\.safetensors.*skelift train"):
        Predictor(tmp_path)
