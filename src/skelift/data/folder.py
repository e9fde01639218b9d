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
from skelift.data.images import (
    ImageArray,
    Mask,
    binary,
    check_size,
    frame_count,
    mask_of_black_background,
    read_mask,
    read_video,
)
from skelift.data.poses import read_poses
from skelift.data.static_camera import BACKGROUNDS, cut_out_bodies
from skelift.errors import InputError
from skelift.progress import progress_bar

KEEP = "keep"


def prepare(config: Config) -> Path:
    """Make the data set that ``config.data.folder`` describes, at ``config.paths.data``.

    Frames are streamed, at most twice. Masks that were searched for are kept beside the data set
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
    source = folder.provenance or f"Images of {Path(folder.images).name}"
    info = DatasetInfo(
        name=config.data.name,
        skeleton=poses.skeleton,
        size=config.data.size,
        margin=config.data.margin,
        synthetic=False,
        provenance=f"{source}. {poses.provenance}",
        licence=f"images: {folder.licence or 'unknown'}; poses: {poses.licence or 'unknown'}",
        details={
            "folder": recorded(folder),
            "split_by": split_by,
            "poses_left_out": {reason: n for reason, n in poses.left_out.items() if n},
        },
    )
    with write_dataset(out, info) as writer:
        skipped = _write_images(writer, clips, firsts, folder, kept)
        writer.write_prior(poses.poses_2d, poses.samples)
    shutil.rmtree(kept, ignore_errors=True)
    if skipped:
        print(f"{folder.images}: skipped {skipped} frames without a body", file=sys.stderr)
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
) -> int:
    """Fill both splits; returns how many frames were skipped since they show no body."""
    room = {"train": sum(firsts), "test": sum(len(clip.indices) for clip in clips) - sum(firsts)}
    for name in SPLITS:
        writer.allocate_split(name, room[name], with_2d=False, with_3d=False)
    used = dict.fromkeys(SPLITS, 0)
    for clip, position, index, image, mask in _all_frames(clips, folder, kept):
        if not mask.any():
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
    return sum(room.values()) - sum(used.values())


def _all_frames(
    clips: Sequence[Clip], folder: FolderConfig, kept: Path
) -> Iterator[tuple[int, int, int, ImageArray, Mask]]:
    """Yield (clip, position in it, frame index, image, mask), with a progress bar."""
    with progress_bar() as progress:
        task = progress.add_task("Cutting out", total=sum(len(clip.indices) for clip in clips))
        for number, clip in enumerate(clips):
            for position, frame in enumerate(_masked_frames(clip, folder.background, kept)):
                yield number, position, *frame
                progress.advance(task)


def _masked_frames(
    clip: Clip, background: str, kept: Path
) -> Iterator[tuple[int, ImageArray, Mask]]:
    """Yield (index, image, mask) of the frames in use; the mask is all 0 without a body."""
    if clip.masks and clip.is_video:
        yield from frames_with_mask_video(clip)
    elif clip.masks:
        for index, image in clip.frames(clip.indices):
            yield index, image, read_mask(clip.masks[index], like=image)
    elif background == KEEP:
        for index, image in clip.frames(clip.indices):
            yield index, image, _mask_kept(clip.file(index), image)
    else:
        yield from cut_out_bodies(clip, background, kept)


def frames_with_mask_video(clip: Clip) -> Iterator[tuple[int, ImageArray, Mask]]:
    """Yield (index, image, mask) of a video whose masks are a video too; InputError if unlike."""
    video, masks = clip.files[0], clip.masks[0]
    if frame_count(video) != frame_count(masks):
        raise InputError(
            f"{masks}: has {frame_count(masks)} frames, its video {video} {frame_count(video)}; "
            "give one mask per frame"
        )
    pairs = zip(clip.frames(clip.indices), read_video(masks, clip.indices), strict=False)
    for (index, image), (_, mask) in pairs:
        check_size(masks, mask, image.shape)
        yield index, image, binary(mask[..., 0])


def _mask_kept(file: Path, image: ImageArray) -> Mask:
    mask = mask_of_black_background(image)
    if mask.all():
        raise InputError(
            f"{file}: its background is not black; give data.folder.masks or, for a static "
            f"camera, data.folder.background={' or '.join(BACKGROUNDS)}"
        )
    return mask


def _record(
    clip: Clip, index: int, box: CropBox, image: ImageArray, focal: float
) -> NDArray[np.void]:
    """(1,) SAMPLE record."""
    size = np.array(image.shape[1::-1])
    camera = (focal, focal), size / 2
    known = camera if focal else np.full((2, 2), np.nan)
    names = clip.person, clip.name, clip.camera, clip.activity
    return np.array([(*names, index, box.as_array(), size, *known)], dtype=SAMPLE)
