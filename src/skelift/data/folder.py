"""One's own images or videos become a data set: masked, cropped as in training, and split."""

import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skelift.config import Config, FolderConfig
from skelift.data.anatomy import upside_down
from skelift.data.cameras import Camera, find_camera, implausible_focal, read_cameras
from skelift.data.clips import Clip, find_clips
from skelift.data.folder_images import Filled, Shots, write_images
from skelift.data.format import DatasetInfo, parts_folder, recorded, write_dataset
from skelift.data.listing import list_files
from skelift.data.poses import UnpairedPoses, read_poses
from skelift.data.region import check_regions
from skelift.data.truth import Part, Truth, read_truth, split_by_moment
from skelift.data.videos import frame_count
from skelift.errors import InputError
from skelift.files import printable


def prepare(config: Config) -> Path:
    """Make the data set that ``config.data.folder`` describes, at ``config.paths.data``.

    Frames are streamed, and a video is decoded at most three times: to count its frames, to learn
    its background and to cut out bodies. With ``cameras``, crops are views
    (``skelift.data.cameras``), unless ``crops`` is plain, and true poses are in the view's frame;
    turning it changes no score.
    Masks that were searched for are kept beside the data set until it is complete, so that a run
    that is killed goes on from them.

    Raises:
        InputError: images, masks or poses that cannot be used; nothing is written then.
    """
    folder = config.data.folder
    assert folder is not None
    _check_keys(folder)
    poses = _read_poses(config, folder) if folder.poses else None
    body = poses.skeleton if poses else config.body
    clips = find_clips(folder)
    check_regions(folder.body, [clip.camera for clip in clips])
    cameras = read_cameras(Path(folder.cameras)) if folder.cameras else ()
    truth = read_truth(Path(folder.truth), body) if folder.truth else None
    split_by, shots = _choose(clips, cameras, truth, folder, config.data.seed)
    details = _details(folder, split_by, poses, truth)
    info = DatasetInfo(
        name=config.data.name,
        skeleton=body,
        size=config.data.size,
        margin=config.data.margin,
        synthetic=False,
        provenance=_provenance(folder, poses),
        licence=f"images: {folder.licence or 'unknown'}"
        + (f"; poses: {poses.licence or 'unknown'}" if poses else ""),
        details=details,
    )
    out = Path(config.paths.data)
    kept = parts_folder(out)
    with write_dataset(out, info) as writer:
        filled = write_images(writer, shots, truth, folder, kept)
        details["masks"] = dict(filled.masks_from)  # how many of each kind
        if poses:
            writer.write_prior(poses.poses_2d, poses.samples)
    shutil.rmtree(kept, ignore_errors=True)
    for remark in (
        *_of_images(folder, filled),
        *_of_truth(folder, truth, shots),
        *_of_poses(folder, poses),
    ):
        print(remark, file=sys.stderr)
    return out


def _check_keys(folder: FolderConfig) -> None:
    for option in ("images", "poses"):
        # With truth and without poses: a test set alone.
        if not getattr(folder, option) and not (option == "poses" and folder.truth):
            raise InputError(f"data.folder.{option}: not set; name what to read")
    if folder.cameras and folder.focal_px:
        raise InputError(
            "data.folder.focal_px and data.folder.cameras are both set; the file of cameras has "
            "their focal lengths, leave focal_px out"
        )


def _read_poses(config: Config, folder: FolderConfig) -> UnpairedPoses:
    return read_poses(
        Path(folder.poses),
        config.body,
        config.data.size,
        config.data.margin,
        folder.joints,
        folder.category,
        folder.min_confidence,
        folder.complete,
    )


def _details(
    folder: FolderConfig, split_by: str, poses: UnpairedPoses | None, truth: Truth | None
) -> dict[str, Any]:
    """How the set was made."""
    details: dict[str, Any] = {"folder": recorded(folder), "split_by": split_by}
    if poses:
        details["poses_left_out"] = {r: n for r, n in poses.left_out.items() if n}
        details["poses_completed"] = poses.completed
    if truth:
        details["height_mm"] = truth.height_mm
    return details


def _provenance(folder: FolderConfig, poses: UnpairedPoses | None) -> str:
    source = folder.provenance or f"Images of {Path(folder.images).resolve().name}"
    return printable(f"{source}." + (f" {poses.provenance}" if poses else ""))


def _of_images(folder: FolderConfig, filled: Filled) -> Iterator[str]:
    """Lines that say which images are not in the set."""
    if count := filled.empty["train"]:
        yield f"{folder.images}: skipped {count} frames without a body"
    if count := filled.empty["test"]:
        yield (
            f"{folder.images}: skipped {count} test frames without a body; they count in no score"
        )
    yield from sorted(filled.focal_faults)
    if filled.faults.first:
        yield f"{folder.images}: skipped {filled.faults.summary()}"
    if Path(folder.images).is_dir() and (left_out := list_files(Path(folder.images)).summary()):
        yield left_out


def _of_truth(folder: FolderConfig, truth: Truth | None, shots: Sequence[Shots]) -> Iterator[str]:
    """A line that says how many labels are of no image."""
    unseen = truth.unseen([shot.part for shot in shots]) if truth and not folder.test else 0
    if unseen:
        yield f"{folder.truth}: {unseen} labelled frames are of no image here"


def _of_poses(folder: FolderConfig, poses: UnpairedPoses | None) -> Iterator[str]:
    """Lines that say which poses are not in the set, and whether they stand on their heads."""
    if poses is None:
        return
    if report := poses.report():
        yield f"{folder.poses}: {report}"
    for focal, size in zip(poses.samples["focal"], poses.samples["source_size"], strict=True):
        if min(size) > 0 and (fault := implausible_focal(float(focal.mean()), *size.tolist())):
            yield f"{folder.poses}: warning: {fault}"
            break
    turned = upside_down(poses.poses_2d, poses.skeleton)
    if turned is not None and turned.mean() > 0.5:
        yield (
            f"{folder.poses}: warning: {int(turned.sum())} of {len(turned)} poses stand on their "
            "heads; y points down in an image, negate it where it points up"
        )


def _choose(
    clips: Sequence[Clip],
    cameras: Sequence[Camera],
    truth: Truth | None,
    folder: FolderConfig,
    seed: int,
) -> tuple[str, list[Shots]]:
    """What the split is by (person, clip, time or moment), and the frames of each clip."""
    path = Path(folder.cameras)
    own = {
        clip.camera: find_camera(cameras, clip.camera, path) if cameras else None for clip in clips
    }
    if truth or folder.test:
        names = [
            (clip.camera, camera.name, *camera.aliases)
            if (camera := own[clip.camera])
            else (clip.camera,)
            for clip in clips
        ]
        parts = split_by_moment(clips, truth, folder, names)
        return "moment", [Shots(part, own[part.clip.camera]) for part in parts]
    split_by, firsts = split_clips(clips, folder.test_fraction, seed)
    shots = []
    for clip, first in zip(clips, firsts, strict=True):
        indices = np.array(clip.indices, dtype=np.int64)
        in_test = np.arange(len(indices)) >= first
        shots.append(
            Shots(Part(clip, indices, in_test, np.full(len(indices), -1)), own[clip.camera])
        )
    return split_by, shots


def split_clips(clips: Sequence[Clip], fraction: float, seed: int) -> tuple[str, list[int]]:
    """Which part of each clip is for testing.

    Whole persons go to one side where persons are known, else whole clips. Where all images are
    of one person (or one clip), the last part in time of each clip is the test.

    Returns:
        ``person``, ``clip`` or ``time``, and for each clip the position (in its ``indices``) of
        the first test frame: 0 for a test clip, its length for a training clip.
    """
    by_person = all(clip.person for clip in clips)
    groups = [clip.person if by_person else clip.name for clip in clips]
    lengths = [len(clip.indices) for clip in clips]
    if len(set(groups)) == 1:
        for clip in clips:
            if len(clip.indices) < 2:
                raise InputError(_one_left(clip))
        return "time", [n - min(max(1, round(fraction * n)), n - 1) for n in lengths]
    test = _draw(groups, lengths, fraction, seed)
    firsts = [0 if group in test else n for group, n in zip(groups, lengths, strict=True)]
    return "person" if by_person else "clip", firsts


def _one_left(clip: Clip) -> str:
    """Why a clip cannot be split, and the fix."""
    place = clip.files[0] if clip.is_video else clip.files[0].parent
    what = "frame" if clip.is_video else "image"
    count = frame_count(place) if clip.is_video else len(clip.files)
    if count > 1:
        return (
            f"{place}: of {count} {what}s data.folder.every leaves one, which cannot be split into "
            "train and test; lower it"
        )
    return f"{place}: one {what} cannot be split into train and test; give at least two"


def _draw(groups: Sequence[str], lengths: Sequence[int], fraction: float, seed: int) -> set[str]:
    """Random groups that together hold ``fraction`` of the frames; never all of them."""
    frames = dict.fromkeys(sorted(groups), 0)
    for group, length in zip(groups, lengths, strict=True):
        frames[group] += length
    order = [str(name) for name in np.random.default_rng(seed).permutation(list(frames))]
    held = np.cumsum([frames[name] for name in order])
    enough = int(np.searchsorted(held, fraction * held[-1])) + 1
    return set(order[: min(enough, len(order) - 1)])
