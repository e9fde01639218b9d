"""Human3.6M: the official archives, under their own folder names or h36m-fetch's.

Layout, below the root: ``S*/MyPoseFeatures/D2_Positions/*.cdf`` (or ``S*/Poses_D2_Positions``), the
same with ``D3_Positions_mono``, ``S*/Videos/*.mp4``, ``S*/MySegmentsMat/ground_truth_bb/*.mat``
and ``.../ground_truth_bs/*.mat`` (or ``*.mp4``). Of the 32 joints the 17 that move are kept.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skelift.config import Config, H36mConfig
from skelift.data.crop import CropBox
from skelift.data.images import check_size, fewest_frames, frame_count, read_frames
from skelift.data.sources import h36m_simplified
from skelift.data.sources.build import Description, build
from skelift.data.sources.checks import check_frame_rate, check_sides, fit_camera
from skelift.data.sources.h36m_protocol import JOINTS, LICENCE, SUBJECTS
from skelift.data.sources.masks import level_of, mask_count, read_boxes, read_masks
from skelift.data.sources.recordings import (
    Crop,
    Floats,
    Recording,
    Shot,
    Skipped,
    check_root,
    finite_frames,
    part_frames,
)
from skelift.errors import InputError
from skelift.skeleton import Skeleton

FPS = 50.0
RENAMED = {"TakingPhoto": "Photo", "WalkingDog": "WalkDog"}  # S1's names
CORRUPT = {("S11", "Directions.54138969"): "its video is known to be corrupt"}
POSES_2D, POSES_3D = "D2_Positions", "D3_Positions_mono"


def prepare(config: Config) -> Path:
    """Make the data set of ``config.data.h36m`` at ``config.paths.data``.

    Raises:
        InputError: a file is missing or broken.
    """
    source = config.data.h36m
    assert source is not None
    _check(source, config.body)
    root = check_root("data.h36m.root", source.root)
    crop = Crop(config.data.size, config.data.margin)
    if h36m_simplified.is_here(root):
        return h36m_simplified.prepare(config, source, root, crop)
    recordings = find_recordings(root, source, crop, config.body)
    about = Description(
        provenance="Human3.6M (Ionescu et al. 2014): train S1, S5, S6, S7, S8, test S9, S11. "
        f"Images come from the first {1 - source.prior:.0%} of each training clip, 2D poses of "
        "the prior from the rest.",
        licence=LICENCE,
        skeleton=config.body,
        details={},
    )
    return build(config, source, recordings, about)


def find_recordings(
    root: Path, source: H36mConfig, crop: Crop, skeleton: Skeleton
) -> list[Recording]:
    """All recordings below the root, by the 2D pose files that are there.

    Raises:
        InputError: no poses, or a file that belongs to a recording is missing.
    """
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
                    every=source.every if split == "train" else source.test_every,
                    prior=source.prior if split == "train" else 0.0,
                    boxes=source.boxes,
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
class H36mRecording(Recording):
    """One clip from one camera.

    Attributes:
        folder: the subject's folder.
        stem: name of its files, such as ``Sitting 2.54138969``.
        every: keep every n-th frame.
        prior: share of the clip that gives poses and no image.
        boxes: where crops come from, ``masks`` or ``joints``.
        skeleton: of the poses.
    """

    folder: Path
    stem: str
    every: int
    prior: float
    boxes: str
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
        return (*names, self._segments("bb")) if self.boxes == "masks" else names

    def shots(self) -> Iterator[Shot | Skipped]:
        """See ``Recording``."""
        poses_2d, poses_3d, video, silhouettes, *_ = self.files
        joints_2d = read_cdf(poses_2d, 2)
        joints_3d = read_cdf(poses_3d, 3)
        if len(joints_2d) != len(joints_3d):
            raise InputError(
                f"{poses_3d}: {len(joints_3d)} poses, but {poses_2d} has {len(joints_2d)}; unpack "
                "both archives again"
            )
        good = finite_frames(joints_2d, joints_3d)
        if not good.any():
            raise InputError(f"{poses_2d}: no pose is free of NaN; unpack the archive again")
        camera = fit_camera(str(poses_3d), joints_2d[good], joints_3d[good])
        check_sides(str(poses_3d), joints_3d[good], self.skeleton)
        _check_video(video, len(joints_2d))
        images, poses = part_frames(len(joints_2d), self.every, self.prior)
        usable = [frame for frame in (*images, *poses) if good[frame]]
        if len(usable) < len(images) + len(poses):
            yield Skipped(len(images) + len(poses) - len(usable), "NaN in the poses")
        boxes = self._boxes(joints_2d, usable)
        masked = min(mask_count(silhouettes), frame_count(video))
        wanted = {frame for frame in usable if frame in images and frame < masked}
        without = sum(frame in images and frame >= masked for frame in usable)
        if without:
            yield Skipped(without, "the silhouettes or the video end before the poses")
        pairs = zip(
            read_frames(video, wanted, threads=1),
            read_masks(silhouettes, sorted(wanted)),
            strict=False,
        )
        size: tuple[int, int] | None = None
        level = level_of(silhouettes)
        for (frame, image), (_, mask) in pairs:
            check_size(silhouettes, mask, image.shape)
            size = image.shape[1], image.shape[0]
            box = boxes.get(frame)
            if box is None:
                yield Skipped(1, "no bounding box")
                continue
            yield Shot(
                frame, box, joints_2d[frame], size, joints_3d[frame], camera, image, mask, level
            )
        size = size or _video_size(video)
        for frame in poses:
            if good[frame] and frame in boxes:
                yield Shot(frame, boxes[frame], joints_2d[frame], size, camera=camera)

    def _boxes(self, joints_2d: Floats, frames: list[int]) -> dict[int, CropBox]:
        if self.boxes == "joints":
            return {frame: self.crop.around_joints(joints_2d[frame]) for frame in frames}
        found = read_boxes(self.files[-1], frames)
        return {frame: self.crop.around(*box) for frame, box in found}

    def _segments(self, kind: str) -> Path:
        """Masks as ``.mat``, or as the ``.mp4`` of newer releases."""
        base = self.folder / "MySegmentsMat" / f"ground_truth_{kind}" / self.stem
        video = base.with_name(f"{base.name}.mp4")
        return video if video.exists() else base.with_name(f"{base.name}.mat")


def read_cdf(path: Path, dimensions: int) -> NDArray[np.float64]:
    """(F, 17, dimensions) poses of a CDF file: pixels, or mm in the camera frame.

    Raises:
        InputError: the file is missing, truncated or of another form, or cdflib is not installed.
    """
    try:
        from cdflib import CDF
    except ImportError:
        raise InputError(
            f"{path}: reading it needs cdflib; install it with: pip install 'skelift[datasets]'"
        ) from None
    try:
        pose = np.asarray(CDF(path).varget("Pose"), dtype=np.float64)
        return pose.reshape(-1, 32, dimensions)[:, JOINTS]
    except Exception as error:  # cdflib meets a broken file with whatever its parsing ran into
        raise InputError(
            f"{path}: cannot be read ({_one_line(error)}); it is truncated or of another form, "
            "unpack its archive again"
        ) from None


def _poses(folder: Path, kind: str) -> Path:
    """The folder of a kind of poses: the archives' own name, or h36m-fetch's."""
    own = folder / "MyPoseFeatures" / kind
    return own if own.exists() else folder / f"Poses_{kind}"


def _check(source: H36mConfig, skeleton: Skeleton) -> None:
    if len(skeleton) != len(JOINTS):
        raise InputError(f"skeleton={skeleton.name}: Human3.6M uses h36m17; set skeleton=h36m17")


def _check_video(video: Path, poses: int) -> None:
    check_frame_rate(video, FPS)
    count = frame_count(video)
    if count < fewest_frames(poses):
        raise InputError(
            f"{video}: {count} frames for {poses} poses; it is truncated, unpack its archive again"
        )


def _video_size(video: Path) -> tuple[int, int]:
    _, frame = next(read_frames(video, {0}, threads=1))
    return frame.shape[1], frame.shape[0]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
