"""Make a test set's files of a real person before four cameras: frames, cameras, truth.

Reads ``$SKELIFT_DATA/real_video``: videos/cam0N.mp4 of Pose2Sim's single-person demo (BSD-3), and
truth.npz with what was measured of them (triangulated key points ``X`` (T, K, 3) in mm with names
``J``; cameras ``R``, ``t``, ``K``, ``D``; ``shift``, the frames by which each camera lags). Writes
to OUT (default: data/sources/real_person, where ``experiment=real_person`` reads)::

    frames/cam0N/FFF.png     every third frame
    cameras.json             data.folder.cameras
    truth.npz                data.folder.truth, true 3D in the world
    truth_camera.npz         the same in each camera's frame, with 2D: for use without cameras

The truth holds twelve joints: hips, knees, ankles, shoulders, elbows and wrists. docs/evaluation.md
has the commands that follow.

    SKELIFT_DATA=DIR python scripts/real_video_truth.py [OUT]
"""

import argparse
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from skelift.data.cameras import HALF, Camera
from skelift.data.videos import read_video
from skelift.files import write_json

EVERY = 3
SOLE_MM = 80.0  # from the ankle joint to the sole
JOINTS = [f"{side}{part}" for part in ("Hip", "Knee", "Ankle", "Shoulder", "Elbow", "Wrist")
          for side in "RL"]  # fmt: skip


def main() -> None:
    """Write the four outputs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Path("data/sources/real_person")  # where experiment=real_person reads
    parser.add_argument("out", type=Path, nargs="?", default=default, help=f"default: {default}")
    out = parser.parse_args().out
    source = Path(os.environ.get("SKELIFT_DATA", "data/sources")) / "real_video"
    with np.load(source / "truth.npz") as archive:
        measured = dict(archive)
    cameras = [_camera(measured, n) for n in range(len(measured["K"]))]
    frames = np.arange(0, len(measured["X"]), EVERY)
    for camera in cameras:
        video = source / "videos" / f"{camera.name}.mp4"
        size = _write_frames(video, out / "frames" / camera.name, set(frames.tolist()))
        assert camera.size is None or camera.size == size
    write_json(out / "cameras.json", {"cameras": {c.name: _as_json(c) for c in cameras}})
    world = np.stack([_at(measured, frames - shift) for shift in measured["shift"]])
    in_camera = np.stack([c.from_world(x) for c, x in zip(cameras, world, strict=True)])
    pixels = np.stack([c.project(x) for c, x in zip(cameras, in_camera, strict=True)])
    shared: dict[str, Any] = {
        "joints": np.array(JOINTS),
        "frame": np.tile(frames, len(cameras)),
        "camera": np.repeat([c.name for c in cameras], len(frames)),
        "height_mm": np.array(_height(measured)),
    }
    flat = (-1, len(JOINTS))
    np.savez(out / "truth.npz", **shared, joints_world_mm=world.reshape(*flat, 3))
    np.savez(
        out / "truth_camera.npz",
        **shared,
        joints_3d_mm=in_camera.reshape(*flat, 3),
        joints_2d_px=pixels.reshape(*flat, 2),
    )


def _camera(measured: dict[str, NDArray[np.floating]], n: int) -> Camera:
    return Camera(
        f"cam{n + 1:02d}",
        measured["K"][n].astype(np.float64) + HALF,
        measured["D"][n].astype(np.float64),
        measured["R"][n].astype(np.float64),
        measured["t"][n].astype(np.float64),
    )


def _as_json(camera: Camera) -> dict[str, object]:
    assert camera.rotation is not None
    assert camera.translation is not None
    return {
        "K": (camera.matrix - HALF).tolist(),
        "distortion": camera.distortion.tolist(),
        "R": camera.rotation.tolist(),
        "t": camera.translation.tolist(),
    }


def _write_frames(video: Path, folder: Path, wanted: set[int]) -> tuple[int, int]:
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in read_video(video, wanted):
        cv2.imwrite(str(folder / f"{index:03d}.png"), image[..., ::-1])
    return image.shape[1], image.shape[0]


def _at(
    measured: dict[str, NDArray[np.floating]], times: NDArray[np.floating]
) -> NDArray[np.float64]:
    """(F, 12, 3) world positions at fractional frames of the triangulation."""
    names = [str(name) for name in measured["J"]]
    own = measured["X"][:, [names.index(joint) for joint in JOINTS]].astype(np.float64)
    known = np.arange(len(own))
    columns = own.reshape(len(own), -1).T
    at = np.stack([np.interp(times, known, column) for column in columns], axis=1)
    return at.reshape(len(times), len(JOINTS), 3)


def _height(measured: dict[str, NDArray[np.floating]]) -> float:
    """Of the standing body: the most from ankles to the top of the head, and the foot's own."""
    joint = dict(zip(map(str, measured["J"]), measured["X"].transpose(1, 0, 2), strict=True))
    ankles = (joint["RAnkle"] + joint["LAnkle"]) / 2
    return float(np.linalg.norm(joint["Head"] - ankles, axis=-1).max()) + SOLE_MM


if __name__ == "__main__":
    main()
