"""Human3.6M: the official archives, under their own folder names or h36m-fetch's.

Layout, below the root: ``S*/MyPoseFeatures/D2_Positions/*.cdf`` (or ``S*/Poses_D2_Positions``), the
same with ``D3_Positions_mono``, ``S*/Videos/*.mp4``, ``S*/MySegmentsMat/ground_truth_bb/*.mat``
and ``.../ground_truth_bs/*.mat`` (or ``*.mp4``). Of the 32 joints the 17 that move are kept.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skelift.config import Config, H36mConfig
from skelift.data.crop import CropBox
from skelift.data.images import check_size
from skelift.data.sources import h36m_simplified
from skelift.data.sources.build import Description, build
from skelift.data.sources.checks import Poses, check_frame_count, check_frame_rate, finite_frames
from skelift.data.sources.h36m_protocol import JOINTS, LICENCE, SUBJECTS, H36mClip
from skelift.data.sources.masks import level_of, mask_count, read_boxes, read_masks
from skelift.data.sources.recordings import (
    Crop,
    Floats,
    Recording,
    Shot,
    Skipped,
    open_root,
    reading,
)
from skelift.data.videos import read_frames, stated_count
from skelift.errors import InputError
from skelift.skeleton import Skeleton

FPS = 50.0
RENAMED = {"TakingPhoto": "Photo", "WalkingDog": "WalkDog"}  # S1's names
CORRUPT = {("S11", "Directions.54138969"): "its video is known to be corrupt"}
POSES_2D, POSES_3D = "D2_Positions", "D3_Positions_mono"


def prepare(config: Config) -> Path:
    """Make the data set of ``config.data.h36m``; InputError where a file is missing or broken."""
    assert config.data.h36m is not None
    source = replace(config.data.h36m, workers=0)  # parts do not depend on the number of workers
    root, crop = open_root(config, "h36m", "h36m17", len(JOINTS))
    images = f"the first {1 - source.prior:.0%} of each training"
    if h36m_simplified.is_here(root):
        recordings = h36m_simplified.find_recordings(root, source, crop)
        about = h36m_simplified.describe(images, config.body)
    else:
        recordings = find_recordings(root, source, crop, config.body)
        about = Description(
            provenance="Human3.6M (Ionescu et al. 2014): train S1, S5, S6, S7, S8, test S9, S11. "
            f"Images come from {images} clip, 2D poses of the prior from the rest.",
            licence=LICENCE,
            skeleton=config.body,
        )
    return build(config, config.data.h36m, recordings, about)


def find_recordings(
    root: Path, source: H36mConfig, crop: Crop, skeleton: Skeleton
) -> list[Recording]:
    """All recordings below the root, by their 2D poses; InputError where there are none."""
    recordings: list[Recording] = []
    for subject, split in SUBJECTS.items():
        for path in sorted(_poses(root / subject, POSES_2D).glob("*.cdf")):
            stem, activity = path.stem, path.stem.split(".")[0]
            if activity.startswith("_ALL"):
                continue
            if (subject, stem) in CORRUPT:
                print(f"{subject} {stem}: skipped: {CORRUPT[subject, stem]}", file=sys.stderr)
                continue
            name, _, number = activity.partition(" ")
            name = RENAMED.get(name, name)
            recordings.append(
                H36mRecording(
                    split=split,
                    person=subject,
                    clip=f"{subject}/{name} {number}".strip(),
                    camera=stem.rpartition(".")[2],
                    activity=name,
                    crop=crop,
                    folder=root / subject,
                    stem=stem,
                    source=source,
                    skeleton=skeleton,
                )
            )
    if not recordings:
        raise InputError(
            f"{root}: no poses in S*/MyPoseFeatures/{POSES_2D} or S*/Poses_{POSES_2D}; unpack "
            "Poses_D2_Positions_S*.tgz there (docs/datasets.md)"
        )
    return recordings


@dataclass(frozen=True, kw_only=True)
class H36mRecording(H36mClip):
    """One clip from one camera, in the archives' layout."""

    skeleton: Skeleton

    @property
    def files(self) -> tuple[Path, ...]:
        """Poses, video, silhouettes and boxes."""
        names = (
            _poses(self.folder, POSES_2D) / f"{self.stem}.cdf",
            _poses(self.folder, POSES_3D) / f"{self.stem}.cdf",
            self.folder / "Videos" / f"{self.stem}.mp4",
            self._segments("bs"),
        )
        return (*names, self._segments("bb")) if self.source.boxes == "masks" else names

    def shots(self) -> Iterator[Shot | Skipped]:
        """See ``Recording``."""
        poses_2d, poses_3d, video, silhouettes, *_ = self.files
        joints_2d, joints_3d = read_cdf(poses_2d, 2), read_cdf(poses_3d, 3)
        good = finite_frames(str(poses_2d), joints_2d, joints_3d)
        clip = Poses(str(poses_3d), self.skeleton, joints_2d, joints_3d, good)
        camera = clip.fit_camera()
        clip.check(camera)
        frames = stated_count(video)
        check_frame_rate(video, FPS)
        check_frame_count(video, frames, len(joints_2d))
        images, poses = self.part_frames(len(joints_2d))
        usable, with_nan = clip.usable((*images, *poses))
        yield with_nan
        boxes = self._boxes(joints_2d, usable)
        masked = min(mask_count(silhouettes), frames)
        with_image = [frame for frame in usable if frame in images]
        wanted = [frame for frame in with_image if frame < masked]
        yield Skipped(
            len(with_image) - len(wanted), "the silhouettes or the video end before the poses"
        )
        pairs = zip(
            read_frames(video, set(wanted), threads=1),
            read_masks(silhouettes, wanted),
            strict=False,
        )
        size: tuple[int, int] | None = None
        level = level_of(silhouettes)
        for (frame, image), (_, mask) in pairs:
            check_size(silhouettes, mask, image.shape)
            size = image.shape[1], image.shape[0]
            if frame in boxes:
                yield clip.shot(frame, boxes[frame], camera, image, mask, level)
            else:
                yield Skipped(1, "no bounding box")
        size = size or _video_size(video)
        for frame in usable:
            if frame in poses and frame in boxes:
                yield Shot(frame, boxes[frame], joints_2d[frame], size, camera=camera)

    def _boxes(self, joints_2d: Floats, frames: list[int]) -> dict[int, CropBox]:
        if self.source.boxes == "joints":
            return {frame: self.crop.around_joints(joints_2d[frame]) for frame in frames}
        found = read_boxes(self.files[-1], frames)
        return {frame: self.crop.around(*box) for frame, box in found}

    def _segments(self, kind: str) -> Path:
        """Masks as ``.mat``, or as the ``.mp4`` of newer releases."""
        base = self.folder / "MySegmentsMat" / f"ground_truth_{kind}" / self.stem
        video = base.with_name(f"{base.name}.mp4")
        return video if video.exists() else base.with_name(f"{base.name}.mat")


def read_cdf(path: Path, dimensions: int) -> NDArray[np.float64]:
    """(F, 17, dimensions) poses of a CDF file: pixels, or mm in the camera frame."""
    with reading(path, "a CDF file of poses"):
        from cdflib import CDF

        pose = np.asarray(CDF(path).varget("Pose"), dtype=np.float64)
        return pose.reshape(-1, 32, dimensions)[:, JOINTS]


def _poses(folder: Path, kind: str) -> Path:
    """The folder of a kind of poses: the archives' own name, or h36m-fetch's."""
    own = folder / "MyPoseFeatures" / kind
    return own if own.exists() else folder / f"Poses_{kind}"


def _video_size(video: Path) -> tuple[int, int]:
    _, frame = next(read_frames(video, {0}, threads=1))
    return frame.shape[1], frame.shape[0]
