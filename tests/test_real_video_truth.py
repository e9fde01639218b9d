"""The labels of the real person are the same with cameras and without."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from tiny import load_skeleton

from scripts import real_video_truth
from skelift.data.cameras import find_camera, read_cameras
from skelift.data.truth import read_truth

FRAMES = 7


def test_labels_in_pixels_are_those_that_the_cameras_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pixels of a truth file count from the corner of the first one."""
    rng = np.random.default_rng(0)
    names = [*real_video_truth.JOINTS, "Head"]
    source = tmp_path / "real_video"
    (source / "videos").mkdir(parents=True)
    for number in (1, 2):
        writer = cv2.VideoWriter(
            str(source / f"videos/cam0{number}.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 25, (160, 96)
        )
        for _ in range(FRAMES):
            writer.write(rng.integers(0, 255, (96, 160, 3), dtype=np.uint8))
        writer.release()
    np.savez(
        source / "truth.npz",
        X=rng.normal(0, 400, (FRAMES, len(names), 3)),
        J=np.array(names),
        K=np.array([[[120.0, 0, 79.5], [0, 120, 47.5], [0, 0, 1]]] * 2),
        D=np.array([[-0.05, 0.1, 0.001, 0.002]] * 2),
        R=Rotation.random(2, random_state=0).as_matrix(),
        t=np.array([[0, 0, 4000.0]] * 2),
        shift=np.array([0, 0.5]),
    )
    monkeypatch.setenv("SKELIFT_DATA", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["real_video_truth.py", str(tmp_path / "out")])
    real_video_truth.main()
    body = load_skeleton("h36m17")
    world = read_truth(tmp_path / "out/truth.npz", body)
    seen = read_truth(tmp_path / "out/truth_camera.npz", body)
    calibration = tmp_path / "out/cameras.json"
    assert world.rows.keys() == seen.rows.keys()
    for (_, name, _), row in world.rows.items():
        camera = find_camera(read_cameras(calibration), name, calibration)
        for ours, theirs in zip(world.pose(row, camera), seen.pose(row, None), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-3)
