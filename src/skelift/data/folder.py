"""One's own images or videos become a data set: masked, cropped as in training, and split."""

import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skelift.config import Config, FolderConfig
from skelift.data.clips import Clip, find_clips
from skelift.data.crop import CropBox
from skelift.data.format import (
    SAMPLE,
    SPLITS,
    DatasetInfo,
    DatasetWriter,
    fill_rows,
    parts_folder,
    recorded,
    write_dataset,
)
from skelift.data.images import ImageArray, Mask, has_black_border, mask_of_black_background
from skelift.data.listing import list_files
from skelift.data.mask_checks import NOT_BLACK, NOTHING, MaskFaults, mask_fault
from skelift.data.masked_frames import masked_frames
from skelift.data.poses import read_poses
from skelift.data.static_camera import BACKGROUNDS
from skelift.errors import InputError
from skelift.files import printable
from skelift.progress import progress_bar


def prepare(config: Config) -> Path:
    """Make the data set that ``config.data.folder`` describes, at ``config.paths.data``.

    Frames are streamed, and a video is decoded at most three times: to count its frames, to learn
    its background and to cut out bodies. Masks that were searched for are kept beside the data set
    until it is complete, so that a run that is killed goes on from them.

    Raises:
        InputError: images, masks or poses that cannot be used; nothing is written then.
    """
    folder = config.data.folder
    assert folder is not None
    for option in ("images", "poses"):
        if not getattr(folder, option):
            raise InputError(f"data.folder.{option}: not set; name what to read")
    poses = read_poses(
        Path(folder.poses),
        config.body,
        config.data.size,
        config.data.margin,
        folder.joints,
        folder.category,
        folder.min_confidence,
    )
    clips = find_clips(folder)
    split_by, firsts = split_clips(clips, folder.test_fraction, config.data.seed)
    out = Path(config.paths.data)
    kept = parts_folder(out)
    source = folder.provenance or f"Images of {Path(folder.images).resolve().name}"
    info = DatasetInfo(
        name=config.data.name,
        skeleton=poses.skeleton,
        size=config.data.size,
        margin=config.data.margin,
        synthetic=False,
        provenance=printable(f"{source}. {poses.provenance}"),
        licence=f"images: {folder.licence or 'unknown'}; poses: {poses.licence or 'unknown'}",
        details={
            "folder": recorded(folder),
            "split_by": split_by,
            "poses_left_out": {reason: n for reason, n in poses.left_out.items() if n},
        },
    )
    with write_dataset(out, info) as writer:
        skipped, faults = _write_images(writer, clips, firsts, folder, kept)
        writer.write_prior(poses.poses_2d, poses.samples)
    shutil.rmtree(kept, ignore_errors=True)
    if skipped:
        print(f"{folder.images}: skipped {skipped} frames without a body", file=sys.stderr)
    if faults.first:
        print(f"{folder.images}: skipped {faults.summary()}", file=sys.stderr)
    if Path(folder.images).is_dir() and (left_out := list_files(Path(folder.images)).summary()):
        print(left_out, file=sys.stderr)
    if report := poses.report():
        print(f"{folder.poses}: {report}", file=sys.stderr)
    return out


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
        if min(lengths) < 2:
            raise InputError(
                f"{clips[0].files[0].parent}: one image cannot be split into train and test; "
                "give at least two"
            )
        return "time", [n - min(max(1, round(fraction * n)), n - 1) for n in lengths]
    test = _draw(groups, lengths, fraction, seed)
    firsts = [0 if group in test else n for group, n in zip(groups, lengths, strict=True)]
    return "person" if by_person else "clip", firsts


def _draw(groups: Sequence[str], lengths: Sequence[int], fraction: float, seed: int) -> set[str]:
    """Random groups that together hold ``fraction`` of the frames; never all of them."""
    frames = dict.fromkeys(sorted(groups), 0)
    for group, length in zip(groups, lengths, strict=True):
        frames[group] += length
    order = [str(name) for name in np.random.default_rng(seed).permutation(list(frames))]
    held = np.cumsum([frames[name] for name in order])
    enough = int(np.searchsorted(held, fraction * held[-1])) + 1
    return set(order[: min(enough, len(order) - 1)])


def _write_images(
    writer: DatasetWriter,
    clips: Sequence[Clip],
    firsts: Sequence[int],
    folder: FolderConfig,
    kept: Path,
) -> tuple[int, MaskFaults]:
    """Fill both splits; returns how many frames show no body, and which have no usable mask."""
    room = {"train": sum(firsts), "test": sum(len(clip.indices) for clip in clips) - sum(firsts)}
    for name in SPLITS:
        writer.allocate_split(name, room[name], with_2d=False, with_3d=False)
    used = dict.fromkeys(SPLITS, 0)
    faults = MaskFaults()
    for clip, position, index, image, found in _all_frames(clips, folder, kept):
        mask, fault = _judged(image, found)
        if fault == NOTHING and _may_show_nobody(clips[clip], folder):
            continue
        if fault:
            faults.add(clips[clip].place(index), fault)
            _check_share(faults, folder, sum(room.values()))
            continue
        name = "train" if position < firsts[clip] else "test"
        box = CropBox.around_mask(mask, writer.info.margin)
        fill_rows(
            writer.folder / name,
            used[name],
            images=box.cut(image * (mask[..., None] > 0), writer.info.size)[None],
            masks=box.cut(mask, writer.info.size)[None],
            samples=_record(clips[clip], index, box, image, folder.focal_px),
        )
        used[name] += 1
    for name in SPLITS:
        if not used[name]:
            raise InputError(
                f"{folder.images}: no body in any of the {room[name]} {name} images; masks mark "
                "it with 255, and before a static camera it has to move"
            )
        writer.trim_split(name, used[name])
    return sum(room.values()) - sum(used.values()) - faults.counts.total(), faults


def _judged(image: ImageArray, mask: Mask | None) -> tuple[Mask, str]:
    """The mask of an image, of its black background where it has none, and what is wrong."""
    if mask is not None:
        return mask, mask_fault(mask)
    found = mask_of_black_background(image)
    return found, mask_fault(found) if has_black_border(image) else NOT_BLACK


def _may_show_nobody(clip: Clip, folder: FolderConfig) -> bool:
    """Whether an empty mask tells of nobody in sight, not of a broken file."""
    return clip.is_video or (folder.background in BACKGROUNDS and not clip.masks)


def _check_share(faults: MaskFaults, folder: FolderConfig, total: int) -> None:
    if faults.counts.total() <= folder.bad_masks * total:
        return
    fix = (
        "give data.folder.masks or, for a static camera, data.folder.background="
        + " or ".join(BACKGROUNDS)
        if NOT_BLACK in faults.first
        else "mark the body with white (above 127), all else with black"
    )
    raise InputError(
        f"{faults.first}; {fix}, or raise data.folder.bad_masks: more than {folder.bad_masks:.0%} "
        f"of {total} images have no usable mask"
    )


def _all_frames(
    clips: Sequence[Clip], folder: FolderConfig, kept: Path
) -> Iterator[tuple[int, int, int, ImageArray, Mask | None]]:
    """Yield (clip, position in it, frame index, image, mask), with a progress bar."""
    with progress_bar() as progress:
        task = progress.add_task("Cutting out", total=sum(len(clip.indices) for clip in clips))
        for number, clip in enumerate(clips):
            for position, frame in enumerate(masked_frames(clip, folder.background, kept)):
                yield number, position, *frame
                progress.advance(task)


def _record(
    clip: Clip, index: int, box: CropBox, image: ImageArray, focal: float
) -> NDArray[np.void]:
    """(1,) SAMPLE record."""
    size = np.array(image.shape[1::-1])
    camera = (focal, focal), size / 2
    known = camera if focal else np.full((2, 2), np.nan)
    names = clip.person, clip.name, clip.camera, clip.activity
    return np.array([(*names, index, box.as_array(), size, *known)], dtype=SAMPLE)
