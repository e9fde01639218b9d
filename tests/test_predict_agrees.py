"""The poses that ``predict`` writes are those that ``evaluate`` scores, image by image."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny import draw, load_skeleton, random_pose

from skelift.cli import main
from skelift.config import compose
from skelift.data.crop import to_source
from skelift.data.folder import prepare
from skelift.data.format import Dataset
from skelift.inference.pose_files import read_pose_table
from skelift.reporting.predictions import Predictions
from skelift.weights import SHIPPED

SKELETON = load_skeleton("h36m17")
HEIGHT, WIDTH, FOCAL = 240, 320, 400.0
IMAGES = 12
SIZE = 128  # of the shipped model's crops
# Files of poses are rounded to 0.01 mm and 0.01 px. That is stricter than 1e-4 of a body's size,
# and float32 leaves less than a tenth of it on the way.
ROUNDED = 0.0055


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of bodies of many sizes and places before noise, their masks, and 2D poses."""
    home = tmp_path_factory.mktemp("agrees")
    rng = np.random.default_rng(0)
    poses = [random_pose(SKELETON, rng)[:, :2] for _ in range(IMAGES)]
    np.savez(
        home / "poses.npz",
        poses_2d=np.stack(poses) + 2000,
        focal=np.full(2, FOCAL),
        source_size=np.full(2, 4000),
    )
    for folder in ("images", "masks"):
        (home / folder).mkdir()
    for number, pose in enumerate(poses):
        side = rng.uniform(30, 260)  # some are enlarged to the 128 px of a crop, some run out of it
        joints = (pose - pose.mean(0)) / np.ptp(pose, axis=0).max() * side
        joints += rng.uniform([80, 60], [WIDTH - 80, HEIGHT - 60])
        figure, mask = draw(SKELETON, joints, WIDTH, (230, 150, 90))
        mask = (mask[:HEIGHT] > 127) * np.uint8(255)
        noise = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        scene = np.where(mask[..., None] > 0, figure[:HEIGHT], noise)
        cv2.imwrite(str(home / "images" / f"{number:02}.png"), scene[..., ::-1])
        cv2.imwrite(str(home / "masks" / f"{number:02}.png"), mask)
    return home


def test_every_pose_of_predict_is_the_one_that_evaluate_scores(home: Path) -> None:
    folder = {"images": home / "images", "masks": home / "masks", "poses": home / "poses.npz"}
    options = {**folder, "focal_px": FOCAL, "test_fraction": 0.9}
    run = ["data=folder", f"data.size={SIZE}", f"paths.data={home / 'data'}"]
    run += [f"data.folder.{name}={value}" for name, value in options.items()]
    test = Dataset(prepare(compose(run))).split("test")
    rows = len(test.samples)
    run += [f"paths.model={SHIPPED}", f"paths.reports={home}", f"evaluate.shown={rows}"]
    assert main(["evaluate", *run, "evaluate.batch=4"]) == 0
    scored = Predictions.load(home / "predictions.npz")

    files = [str(home / "images" / f"{number:02}.png") for number in test.samples["frame"]]
    out = home / "poses.json"
    arguments = ["--masks", str(home / "masks"), "--focal", str(FOCAL), "--out", str(out)]
    assert main(["predict", *files, *arguments]) == 0
    predicted = read_pose_table(out)
    assert list(predicted.images) == files

    # evaluate keeps its poses in random order, each with its crop.
    same = (test.images[:][:, None] == scored.images[None]).all((2, 3, 4))
    order = same.argmax(1)
    assert same.sum() == len(set(order.tolist())) == rows == 11
    joints_mm = scored.joints_3d_mm[order]
    np.testing.assert_allclose(predicted.joints_3d_mm, joints_mm, rtol=0, atol=ROUNDED)
    crops = test.samples["crop"].astype(np.float64)
    joints_px = to_source(scored.joints_2d[order].astype(np.float64), crops, SIZE)
    np.testing.assert_allclose(predicted.joints_2d_px, joints_px, rtol=0, atol=ROUNDED)
    # No two images have poses as close as that.
    apart = np.abs(joints_mm[:, None] - joints_mm[None]).max((2, 3))
    assert apart[~np.eye(rows, dtype=bool)].min() > 10
