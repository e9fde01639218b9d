"""The real mouse, made up and small: what is trained on, what is scored, and what is neither."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tiny import load_skeleton

from scripts import real_mouse
from skelift.cli import main
from skelift.data.format import Dataset

WIDTH, HEIGHT, FRAMES, EVERY = 160, 120, 160, 5
LABELLED, HELD_OUT = 25, 95  # frames of the first clip
STILL = real_mouse.CHUNK + 10  # a labelled frame whose video is not there
JOINTS = load_skeleton("mouse10").joints
CALIBRATED = {
    camera: {
        "image_size": [WIDTH, HEIGHT],
        "K": [[300.0, 0, 79.5], [0, 300, 59.5], [0, 0, 1]],
        "distortion": [0.0] * 5,
        "R": np.eye(3).tolist(),
        "t": [aside, 0, 1000],
    }
    for camera, aside in {"E": 0, "L": 40}.items()
}
Array = NDArray[np.float64]


def pixel(camera: str, point: Array) -> Array:
    """Pixel (..., 2) of a point (..., 3) of the world, counted from the first one's centre."""
    known = CALIBRATED[camera]
    seen = (point + known["t"]) @ np.transpose(known["K"])
    return seen[..., :2] / seen[..., 2:]


def middle(frame: int) -> Array:
    """Where the mouse is, mm."""
    return np.array([130 * np.sin(frame / 20), 60 * np.cos(frame / 13), 0])


def picture(camera: str, frame: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(frame)
    image = np.full((HEIGHT, WIDTH, 3), 170.0) + rng.normal(0, 1, (HEIGHT, WIDTH, 1))
    x, y = pixel(camera, middle(frame)).round().astype(int).tolist()
    image = cv2.ellipse(image, (x, y), (16, 9), 0, 0, 360, (25.0, 25.0, 25.0), -1)
    return image.clip(0, 255).astype(np.uint8)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A folder of the form that scripts/real_mouse.py reads."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "recording"
    (folder / "videos/0").mkdir(parents=True)
    (folder / "stills").mkdir()
    for camera in CALIBRATED:
        file, code = folder / f"videos/0/camera_{camera}.mp4", cv2.VideoWriter.fourcc(*"mp4v")
        writer = cv2.VideoWriter(str(file), code, 100, (WIDTH, HEIGHT))
        for frame in range(FRAMES):
            writer.write(picture(camera, frame))
        writer.release()
    cv2.imwrite(str(folder / f"stills/{STILL:05d}_camera_E.jpg"), picture("E", STILL))
    (folder / "calibration.json").write_text(json.dumps({"cameras": CALIBRATED}))
    labelled = json.dumps({"all": [LABELLED, HELD_OUT, STILL]})
    (folder / "labelled_frames.json").write_text(labelled)
    known = [LABELLED, STILL]
    around = rng.uniform(-20, 20, (len(known), len(JOINTS) + 1, 3))
    poses = around + np.array([middle(frame) for frame in known])[:, None]
    poses[:, 2] = np.nan
    names = np.array([*JOINTS, "elbow_l"])
    np.savez(folder / "labels_dev.npz", joints=names, frame=np.array(known), joints_3d_mm=poses)
    np.savez(
        folder / "prior_2d.npz",
        joints=np.array(JOINTS),
        poses_2d=rng.uniform(40, 80, (12, len(JOINTS), 2)).astype(np.float32),
        camera=np.array(["E", "L"] * 6),
        source_size=np.array([[WIDTH, HEIGHT]] * 12),
        clip=np.array(["other mouse"] * 12),
        source_pose=np.repeat(np.arange(6), 2),
    )
    return folder


def test_no_frame_near_a_label_is_trained_on(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "sources"
    monkeypatch.setattr(sys, "argv", ["real_mouse.py", str(recording), str(out)])
    real_mouse.main()
    read = {"images": "clips", "poses": "poses.npz", "cameras": "cameras.json"}
    given = [
        f"data.folder.{key}={out / name}" for key, name in {**read, "truth": "truth.npz"}.items()
    ]
    given += [f"data.folder.every={EVERY}", f"paths.data={tmp_path / 'data'}"]
    given += ["data.folder.body.regions={}"]  # those of the recording are of five cameras
    assert main(["prepare", "experiment=mouse", *given]) == 0

    data = Dataset(tmp_path / "data")
    shown = {
        split: sorted(
            zip(
                *(data.split(split).samples[k].tolist() for k in ("clip", "camera", "frame")),
                strict=True,
            )
        )
        for split in ("train", "test")
    }
    assert shown["test"] == [("0", "E", LABELLED), ("0", "L", LABELLED), ("3500", "E", 10)]
    away = [n for n in range(0, FRAMES, EVERY) if min(abs(n - LABELLED), abs(n - HELD_OUT)) > 20]
    assert shown["train"] == [("0", camera, frame) for camera in "EL" for frame in away]

    test = data.split("test")
    assert test.joints_2d is not None
    hidden = np.isnan(test.joints_2d).all(axis=-1)
    assert (hidden == (np.arange(len(JOINTS)) == 2)).all()
    # Labels lie on the mouse, in the middle of its crop.
    assert np.abs(np.nanmean(test.joints_2d, axis=1) - data.info.size / 2).max() < 8
    assert data.prior.poses_2d.shape == (12, len(JOINTS), 2)
    assert len(set(data.prior.samples["clip"].tolist())) == 6, "views of one posture are one clip"


def test_a_folder_without_the_recording_leaves_what_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tmp_path / "sources/clips/0/E.mp4"
    made.parent.mkdir(parents=True)
    made.touch()
    monkeypatch.setattr(sys, "argv", ["real_mouse.py", str(tmp_path), str(tmp_path / "sources")])
    with pytest.raises(SystemExit):
        real_mouse.main()
    assert "labels_dev.npz: not found" in capsys.readouterr().err
    assert made.exists()
