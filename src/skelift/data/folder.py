"""One's own images or videos become a data set: masked, cropped as in training, and split."""

import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skelift.config import Config, FolderConfig
from skelift.data.anatomy import upside_down
from skelift.data.cameras import Camera, View, find_camera, read_cameras, view_of_mask
from skelift.data.clips import Clip, find_clips
from skelift.data.contact_sheet import ContactSheet
from skelift.data.crop import CropBox, to_crop
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
    BLACK_BACKGROUND,
    ImageArray,
    Mask,
    has_black_border,
    mask_of_black_background,
)
from skelift.data.listing import list_files
from skelift.data.mask_checks import NOT_BLACK, NOTHING, MaskFaults, mask_fault
from skelift.data.masked_frames import MaskedFrame, masked_frames
from skelift.data.poses import read_poses
from skelift.data.region import check_regions
from skelift.data.static_camera import BACKGROUNDS, FEWEST_FRAMES, PERSON, SEARCHES, Search
from skelift.data.truth import Part, Truth, read_truth, split_by_moment
from skelift.errors import InputError
from skelift.files import printable
from skelift.progress import progress_bar


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
    for option in ("images", "poses"):
        # With truth and without poses: a test set alone.
        if not getattr(folder, option) and not (option == "poses" and folder.truth):
            raise InputError(f"data.folder.{option}: not set; name what to read")
    if folder.cameras and folder.focal_px:
        raise InputError(
            "data.folder.focal_px and data.folder.cameras are both set; the file of cameras has "
            "their focal lengths, leave focal_px out"
        )
    body, poses = config.body, None
    if folder.poses:
        poses = read_poses(
            Path(folder.poses),
            body,
            config.data.size,
            config.data.margin,
            folder.joints,
            folder.category,
            folder.min_confidence,
            folder.complete,
        )
        body = poses.skeleton
    clips = find_clips(folder)
    check_regions(folder.body, [clip.camera for clip in clips])
    cameras = read_cameras(Path(folder.cameras)) if folder.cameras else ()
    truth = read_truth(Path(folder.truth), body) if folder.truth else None
    split_by, shots = _choose(clips, cameras, truth, folder, config.data.seed)
    out = Path(config.paths.data)
    kept = parts_folder(out)
    source = folder.provenance or f"Images of {Path(folder.images).resolve().name}"
    details: dict[str, Any] = {"folder": recorded(folder), "split_by": split_by}
    if poses:
        details["poses_left_out"] = {r: n for r, n in poses.left_out.items() if n}
        details["poses_completed"] = poses.completed
    if truth:
        details["height_mm"] = truth.height_mm
    info = DatasetInfo(
        name=config.data.name,
        skeleton=body,
        size=config.data.size,
        margin=config.data.margin,
        synthetic=False,
        provenance=printable(f"{source}." + (f" {poses.provenance}" if poses else "")),
        licence=f"images: {folder.licence or 'unknown'}"
        + (f"; poses: {poses.licence or 'unknown'}" if poses else ""),
        details=details,
    )
    with write_dataset(out, info) as writer:
        skipped, faults, masks_from = _write_images(writer, shots, truth, folder, kept)
        details["masks"] = dict(masks_from)  # how many of each kind
        if poses:
            writer.write_prior(poses.poses_2d, poses.samples)
    shutil.rmtree(kept, ignore_errors=True)
    if skipped["train"]:
        print(f"{folder.images}: skipped {skipped['train']} frames without a body", file=sys.stderr)
    if skipped["test"]:
        print(
            f"{folder.images}: skipped {skipped['test']} test frames without a body; they count "
            "in no score",
            file=sys.stderr,
        )
    if faults.first:
        print(f"{folder.images}: skipped {faults.summary()}", file=sys.stderr)
    if Path(folder.images).is_dir() and (left_out := list_files(Path(folder.images)).summary()):
        print(left_out, file=sys.stderr)
    unseen = truth.unseen([shot.part for shot in shots]) if truth and not folder.test else 0
    if unseen:
        print(f"{folder.truth}: {unseen} labelled frames are of no image here", file=sys.stderr)
    if poses and (report := poses.report()):
        print(f"{folder.poses}: {report}", file=sys.stderr)
    turned = upside_down(poses.poses_2d, body) if poses else None
    if turned is not None and turned.mean() > 0.5:
        print(
            f"{folder.poses}: warning: {turned.sum()} of {len(turned)} poses stand on their heads; "
            "y points down in an image, negate it where it points up",
            file=sys.stderr,
        )
    return out


@dataclass(frozen=True)
class Shots:
    """The frames in use of one clip: which are for testing, and who took and labelled them."""

    part: Part
    camera: Camera | None

    @property
    def clip(self) -> Clip:
        """The clip, its frames in use."""
        return self.part.clip


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
    shots: Sequence[Shots],
    truth: Truth | None,
    folder: FolderConfig,
    kept: Path,
) -> tuple[dict[str, int], MaskFaults, Counter[str]]:
    """Fill both splits.

    Returns:
        How many frames of each show no body, which have no usable mask, and what gave the others
        theirs.
    """
    in_test = sum(int(shot.part.in_test.sum()) for shot in shots)
    room = {"train": sum(len(shot.clip.indices) for shot in shots) - in_test, "test": in_test}
    splits = [name for name in SPLITS if room[name] or folder.poses]
    known = truth.columns(bool(folder.cameras)) if truth else set()
    for name in splits:
        # No truth lies beside a training image, so nothing can learn from it.
        true = known if name == "test" else set()
        writer.allocate_split(
            name, room[name], with_2d="joints_2d" in true, with_3d="joints_3d_mm" in true
        )
    used, empty = dict.fromkeys(splits, 0), dict.fromkeys(SPLITS, 0)
    faults, masks_from, sheet = MaskFaults(), Counter[str](), ContactSheet()
    for shot, position, index, image, found, source in _all_frames(shots, folder, kept):
        name = "test" if shot.part.in_test[position] else "train"
        mask, fault = _judged(image, found)
        if fault == NOTHING and _may_show_nobody(shot.clip, folder):
            empty[name] += 1
            continue
        if fault:
            faults.add(shot.clip.place(index), fault)
            _check_share(faults, folder, sum(room.values()))
            continue
        line_of_sight = view_of_mask(shot.camera, mask) if shot.camera else None
        view = line_of_sight if folder.crops == "views" else None
        margin, size = writer.info.margin, writer.info.size
        box = (view.crop_around_mask if view else CropBox.around_mask)(mask, margin)
        body = image * (mask[..., None] > 0)
        crop = view.cut(body, box, size) if view else box.cut(body, size)
        columns = {
            "images": crop,
            "masks": view.cut(mask, box, size) if view else box.cut(mask, size),
            "samples": _record(shot, position, box, image, folder.focal_px, view),
        }
        if truth is not None and name == "test":
            row = int(shot.part.row[position])
            true_pose = _true_pose(truth, row, shot.camera, line_of_sight, view, box, size)
            columns |= {column: true_pose[column] for column in known}
        sheet.add(shot.clip, index, image, mask, crop, box.side)
        rows = {column: values[None] for column, values in columns.items()}
        fill_rows(writer.folder / name, used[name], **rows)
        used[name] += 1
        masks_from[source or BLACK_BACKGROUND] += 1
    for name in splits:
        if not used[name]:
            raise InputError(f"{folder.images}: {_nobody(folder, name, room[name])}")
        writer.trim_split(name, used[name])
    sheet.write(writer.folder)
    return empty, faults, masks_from


def _nobody(folder: FolderConfig, split: str, images: int) -> str:
    """Why a split holds nothing, and the fix."""
    if not images:
        return (
            f"no {split} images are left beside those of data.folder.truth, test and exclude; "
            "lower exclude, or give more"
        )
    of_kind = folder.body.contrast if folder.body.contrast != "any" else ""
    return (
        f"no body{of_kind and f' {of_kind} than its background'} in any of the {images} {split} "
        "images; masks mark it with 255, and before a static camera it has to move, in steady light"
        + (", within its region" if folder.body.regions or folder.body.region_masks else "")
    )


def _true_pose(
    truth: Truth,
    row: int,
    camera: Camera | None,
    line_of_sight: View | None,
    view: View | None,
    box: CropBox,
    size: int,
) -> dict[str, NDArray[Any]]:
    """True joints of a crop: (J, 2) its pixels and (J, 3) mm in the frame of what it shows.

    That frame looks along the line of sight, where it is known, be the crop a view or not.
    """
    pixels, pose = truth.pose(row, camera)
    if view:
        pixels = view.from_image(pixels)
    if line_of_sight and pose is not None:
        pose = line_of_sight.turn(pose)
    found: dict[str, NDArray[Any]] = {"joints_2d": to_crop(pixels, box.as_array(), size)}
    return found if pose is None else found | {"joints_3d_mm": pose}


def _judged(image: ImageArray, mask: Mask | None) -> tuple[Mask, str]:
    """The mask of an image, of its black background where it has none, and what is wrong."""
    if mask is not None:
        return mask, mask_fault(mask)
    found = mask_of_black_background(image)
    return found, mask_fault(found) if has_black_border(image) else NOT_BLACK


def _may_show_nobody(clip: Clip, folder: FolderConfig) -> bool:
    """Whether an empty mask tells of nobody in sight, not of a broken file."""
    return clip.is_video or (folder.background in SEARCHES and not clip.masks)


def _check_share(faults: MaskFaults, folder: FolderConfig, total: int) -> None:
    if faults.counts.total() <= folder.bad_masks * total:
        return
    fix = (
        f"give data.folder.masks, for people data.folder.background={PERSON} or, for a static "
        f"camera, {' or '.join(BACKGROUNDS)}"
        if NOT_BLACK in faults.first
        else f"background={folder.background} needs a camera that stands still and steady light; "
        "cut clips where they change, or give data.folder.masks"
        if folder.background in BACKGROUNDS and not folder.masks
        else "mark the body with white (above 127), all else with black"
    )
    raise InputError(
        f"{faults.first}; {fix}, or raise data.folder.bad_masks: more than {folder.bad_masks:.0%} "
        f"of {total} images have no usable mask"
    )


def _all_frames(
    shots: Sequence[Shots], folder: FolderConfig, kept: Path
) -> Iterator[tuple[Shots, int, int, ImageArray, Mask | None, str]]:
    """Yield (shots, position in them, frame index, image, mask, what gave it)."""
    with progress_bar() as progress:
        task = progress.add_task("Cutting out", total=sum(len(s.clip.indices) for s in shots))
        for number, shot in enumerate(shots):
            scene = _scene(number, shots)
            for position, frame in enumerate(_frames(shot.clip, folder, kept, scene)):
                yield shot, position, *frame
                progress.advance(task)


def _scene(number: int, shots: Sequence[Shots]) -> Clip | None:
    """The nearest clip of the same named camera, where a clip is too short to tell a background."""
    clip = shots[number].clip
    if len(clip.indices) >= FEWEST_FRAMES or not clip.camera:
        return None
    near = sorted(range(len(shots)), key=lambda other: abs(other - number))
    of_camera = (shots[n].clip for n in near if shots[n].clip.camera == clip.camera)
    return next((other for other in of_camera if len(other.indices) >= FEWEST_FRAMES), None)


def _frames(
    clip: Clip, folder: FolderConfig, kept: Path, scene: Clip | None
) -> Iterator[MaskedFrame]:
    search = Search(folder.background, kept, body=folder.body, scene=scene)
    return masked_frames(clip, search)


def _record(
    shot: Shots,
    position: int,
    box: CropBox,
    image: ImageArray,
    focal: float,
    view: View | None,
) -> NDArray[np.void]:
    """() SAMPLE record. Crop, focal length and principal point of a view are the view's."""
    clip, size = shot.clip, np.array(image.shape[1::-1])
    known = np.full((2, 2), np.nan)
    if view:
        known = np.array([(view.focal, view.focal), view.centre])
    elif shot.camera:
        known[0] = shot.camera.focal  # and no more: see data.folder.crops
    elif focal:
        known = np.array([(focal, focal), size / 2])
    names = clip.person, clip.name, clip.camera, clip.activity
    number = shot.part.numbers[position]
    return np.array((*names, number, box.as_array(), size, *known), dtype=SAMPLE)
