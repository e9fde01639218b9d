"""The weights that ship: whole, small, and worth more than knowing nothing."""

import json
from pathlib import Path
from shutil import copytree

import cv2
import numpy as np
import pytest
import torch

from skelift import Predictor
from skelift.commands import predict
from skelift.config import compose
from skelift.data.format import Dataset
from skelift.errors import InputError
from skelift.evaluation.metrics import error_2d_swapped_px
from skelift.models.io import load_model
from skelift.stages import prepare
from skelift.weights import SHIPPED, model_folder


def test_they_are_small_and_have_a_card() -> None:
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) < 20e6
    card = (SHIPPED / "README.md").read_text()
    about = json.loads((SHIPPED / "model.json").read_text())
    assert about["data"]["synthetic"]
    assert "synthetic" in card
    assert f"{about['steps']:,} steps" in card


def test_predict_uses_them_and_finds_bodies_that_they_have_not_seen(tmp_path: Path) -> None:
    """Other bodies and clips than those of the training; against one pose for all images."""
    few = ["data.synth.train=8", "data.synth.test=40", "data.synth.prior=8"]
    config = compose(["data=quickstart", *few, f"paths.data={tmp_path / 'data'}"])
    data = Dataset(prepare.run(config))
    test = data.split("test")
    for number, image in enumerate(test.images[:]):
        cv2.imwrite(str(tmp_path / f"{number:03}.png"), image[..., ::-1])
    out = predict.run(sorted(tmp_path.glob("*.png")), None, tmp_path / "poses.json")
    predictions = json.loads(out.read_text())["predictions"]
    found = np.array([pose["joints_2d_px"] for pose in predictions])
    truth = np.array(test.joints_2d, dtype=np.float64)
    one = np.broadcast_to(truth.mean(0), truth.shape)
    errors = [error_2d_swapped_px(p, truth, data.skeleton.swap).mean() for p in (found, one)]
    assert errors[0] < 0.6 * errors[1]


def test_the_mouse_goes_by_its_name_and_knows_its_head(tmp_path: Path) -> None:
    """A dark oval with a pointed head and a pale ear, and its mirror image."""
    assert sum(file.stat().st_size for file in model_folder("mouse").iterdir()) < 8e6
    predictor = Predictor("mouse")
    assert predictor.skeleton.name == "mouse10"
    assert not predictor.card["data"]["synthetic"]
    snout, tail = (predictor.skeleton.index(name) for name in ("snout", "tail_base"))
    image = np.zeros((120, 200, 3), np.uint8)
    cv2.ellipse(image, (85, 60), (60, 32), 0, 0, 360, (28, 26, 26), -1)
    cv2.fillConvexPoly(image, np.array([[120, 38], [120, 80], [180, 78]]), (28, 26, 26))
    cv2.circle(image, (132, 46), 9, (90, 60, 60), -1)
    for x in (60, 110):
        cv2.rectangle(image, (x, 80), (x + 14, 98), (50, 36, 36), -1)
    mask = (image.any(2) * 255).astype(np.uint8)
    for shown, own, way in ((image, mask, 1), (image[:, ::-1], mask[:, ::-1], -1)):
        pose = predictor(np.ascontiguousarray(shown), mask=np.ascontiguousarray(own))
        along = way * (pose.joints_2d_px[snout, 0] - pose.joints_2d_px[tail, 0])
        assert along > 50
        assert way * (pose.joints_3d_mm[snout, 0] - pose.joints_3d_mm[tail, 0]) > 20


def test_a_folder_comes_before_the_weights_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert model_folder("mouse").parent == SHIPPED.parent
    Path("mouse").mkdir()
    assert model_folder("mouse") == Path("mouse")
    assert model_folder("shipped") == model_folder("person") == SHIPPED
    assert model_folder("shipped/mouse") == SHIPPED.parent / "mouse"
    said = r"mouse/model\.json: not found; the folder mouse here hides .*: write shipped/mouse for"
    with pytest.raises(InputError, match=said):
        Predictor("mouse")


def test_a_name_that_is_none_is_told_those_that_are() -> None:
    with pytest.raises(InputError, match=r"moose/model\.json: not found; .*: person or mouse$"):
        Predictor("moose")


def test_a_model_of_an_older_version_is_one_line(tmp_path: Path) -> None:
    """Its card has the optional networks among the core's keys, and no list of heads."""
    folder = tmp_path / "old"
    copytree(SHIPPED, folder)
    card = json.loads((folder / "model.json").read_text())
    del card["heads"]
    card["model"] |= {"facing": True, "refine": True}
    (folder / "model.json").write_text(json.dumps(card))
    with pytest.raises(InputError, match=r"old/model\.json: written by an older skelift; retrain"):
        load_model(folder, torch.device("cpu"))
