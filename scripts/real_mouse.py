"""Make what ``experiment=mouse`` reads of the real mouse before five cameras.

FOLDER is that of the recording (docs/datasets.md): videos/CHUNK/camera_X.mp4, stills/, labels,
calibration.json, labelled_frames.json and prior_2d.npz. Writes to OUT (default:
data/sources/real_mouse, where ``data=mouse`` reads)::

    clips/CHUNK/X.mp4          links to the videos; layout=clip/camera, frames count from 0
    clips/CHUNK/X/FFFF.jpg     labelled pictures of videos that are not there
    cameras.json               data.folder.cameras
    truth.npz                  data.folder.truth: labels in the world. All labelled frames are in
                               it, so none is trained on; those of the held-out half have no values
    poses.npz                  data.folder.poses: the prior, in the body's line of sight; each
                               posture is a clip of its own

    python scripts/real_mouse.py FOLDER [OUT] [--labels FILE]
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skelift.data.cameras import KEYS, find_camera, read_cameras

CHUNK = 3500  # frames of a video, or fewer; its folder is called by its first one
REACH = 20  # frames around a labelled one that are not trained on, data.folder.exclude
LENGTH_MM = 94.0  # tail base to snout along the skeleton's bones
LABELS, LABELLED = "labels_dev.npz", "labelled_frames.json"
CALIBRATION, PRIOR = "calibration.json", "prior_2d.npz"


def main() -> None:
    """Write the outputs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Path("data/sources/real_mouse")
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path, nargs="?", default=default, help=f"default: {default}")
    parser.add_argument("--labels", type=Path, help=f"default: FOLDER/{LABELS}")
    args = parser.parse_args()
    folder, out = args.folder.resolve(), args.out
    labels = args.labels or folder / LABELS
    for file in (labels, *(folder / name for name in (CALIBRATION, LABELLED, PRIOR))):
        if not file.is_file():
            parser.error(f"{file}: not found; name the recording's folder (docs/datasets.md)")
    shutil.rmtree(out / "clips", ignore_errors=True)
    for video in sorted((folder / "videos").glob("*/camera_?.mp4")):
        link = out / f"clips/{video.parent.name}/{video.stem[-1]}.mp4"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(video)
    for still in sorted((folder / "stills").glob("*_camera_?.jpg")):
        frame, camera = int(still.stem[:5]), still.stem[-1]
        first = frame - frame % CHUNK
        picture = out / f"clips/{first}/{camera}/{frame - first:04d}.jpg"
        picture.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(still, picture)
    cameras = json.loads((folder / CALIBRATION).read_text())["cameras"]
    read = {name: {key: of[key] for key in KEYS if key in of} for name, of in cameras.items()}
    (out / "cameras.json").write_text(json.dumps({"cameras": read}))
    labelled = json.loads((folder / LABELLED).read_text())["all"]
    clips = [int(clip.name) for clip in (out / "clips").iterdir()]
    _write_truth(out / "truth.npz", labels, labelled, clips)
    _write_prior(out / "poses.npz", folder / PRIOR, out / "cameras.json")


def _write_truth(file: Path, labels: Path, labelled: list[int], clips: list[int]) -> None:
    """A row per labelled frame and clip that shows it, or a frame near it."""
    with np.load(labels) as arrays:
        joints = arrays["joints"]
        known = dict(zip(arrays["frame"].tolist(), arrays["joints_3d_mm"], strict=True))
    unknown: NDArray[np.float64] = np.full((len(joints), 3), np.nan)
    rows = [
        (str(first), frame - first, known.get(frame, unknown))
        for frame in labelled
        for first in clips
        if first - REACH <= frame < first + CHUNK + REACH
    ]
    clip, number, poses = zip(*rows, strict=True)
    np.savez(
        file,
        joints=joints,
        clip=np.array(clip),
        frame=np.array(number),
        joints_world_mm=np.array(poses),
        height_mm=LENGTH_MM,
    )


def _write_prior(file: Path, prior: Path, cameras: Path) -> None:
    """The prior, each pose as its camera would see it that looks straight at it, as crops do."""
    known = read_cameras(cameras)
    with np.load(prior) as arrays:
        poses, names = arrays["poses_2d"].astype(np.float64), arrays["camera"].tolist()
        joints, sizes = arrays["joints"], arrays["source_size"]
        postures = zip(arrays["clip"], arrays["source_pose"], strict=True)
        clips = np.array([f"{recording} {pose}" for recording, pose in postures])
    focal = np.empty(len(poses))
    for row, name in enumerate(names):
        camera = find_camera(known, name, cameras)
        view = camera.look_at((poses[row].min(0) + poses[row].max(0)) / 2)
        poses[row], focal[row] = view.from_image(poses[row]), view.focal
    # Views of one posture are one clip: they stay together where some are held out.
    np.savez_compressed(
        file,
        joints=joints,
        poses_2d=poses.astype(np.float32),
        focal=np.stack([focal, focal], 1),
        source_size=sizes,
        clip=clips,
    )


if __name__ == "__main__":
    main()
