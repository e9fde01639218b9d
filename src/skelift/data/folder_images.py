"""The images of a folder: their masks are judged, and bodies cropped and written."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skelift.config import FolderConfig
from skelift.data.cameras import Camera, View, implausible_focal, view_of_mask
from skelift.data.clips import Clip
from skelift.data.contact_sheet import ContactSheet
from skelift.data.crop import CropBox, to_crop
from skelift.data.format import SAMPLE, SPLITS, DatasetInfo, DatasetWriter, fill_rows
from skelift.data.images import (
    BLACK_BACKGROUND,
    ImageArray,
    Mask,
    has_black_border,
    mask_of_black_background,
)
from skelift.data.mask_checks import NOT_BLACK, NOTHING, MaskFaults, mask_fault
from skelift.data.masked_frames import masked_frames
from skelift.data.static_camera import BACKGROUNDS, FEWEST_FRAMES, PERSON, SEARCHES, Search
from skelift.data.truth import Part, Truth
from skelift.errors import InputError
from skelift.progress import progress_bar

ONE_SCALE = 1.05  # from one image's longer side to another's, at most, for one focal length in px


@dataclass(frozen=True)
class Shots:
    """The frames in use of one clip: which are for testing, and who took and labelled them."""

    part: Part
    camera: Camera | None

    @property
    def clip(self) -> Clip:
        """The clip, its frames in use."""
        return self.part.clip


@dataclass(frozen=True)
class Shot:
    """A frame, with its mask where one was given or found."""

    shots: Shots
    position: int  # in them
    index: int  # in the clip
    image: ImageArray
    mask: Mask | None
    mask_from: str  # empty where there is none

    @property
    def clip(self) -> Clip:
        """The clip that it is of."""
        return self.shots.clip

    @property
    def camera(self) -> Camera | None:
        """The camera that took it, where it is known."""
        return self.shots.camera

    @property
    def split(self) -> str:
        """``train`` or ``test``."""
        return "test" if self.shots.part.in_test[self.position] else "train"

    def judged(self) -> tuple[Mask, str]:
        """The mask, of the black background where there is none, and what is wrong with it."""
        if self.mask is not None:
            return self.mask, mask_fault(self.mask)
        found = mask_of_black_background(self.image)
        return found, mask_fault(found) if has_black_border(self.image) else NOT_BLACK


@dataclass
class Filled:
    """What became of the frames."""

    used: Counter[str] = field(default_factory=Counter)  # of each split
    empty: Counter[str] = field(default_factory=Counter)  # of each split, without a body
    faults: MaskFaults = field(default_factory=MaskFaults)  # of those without a usable mask
    masks_from: Counter[str] = field(default_factory=Counter)  # of those in use
    first: tuple[Path, tuple[int, int]] | None = None  # file and size of the first in use
    focal_faults: set[str] = field(default_factory=set)  # lines

    def check_focal(self, shot: Shot, record: NDArray[np.void]) -> None:
        """Note a focal length that can hardly be one; InputError where images differ in scale.

        One focal length in pixels is that of images of about one size, upright or lying: cameras
        of one make differ by some pixels. A calibration has its own check.
        """
        focal = float(record["focal"].mean())
        width, height = record["source_size"].tolist()
        if np.isnan(focal):
            return
        if fault := implausible_focal(focal, width, height):
            self.focal_faults.add(f"{shot.camera or 'data.folder.focal_px'}: warning: {fault}")
        file = shot.clip.file(shot.index)
        self.first = self.first or (file, (width, height))
        first, size = self.first
        ratio = max(width, height) / max(size)
        if shot.camera is None and not 1 / ONE_SCALE <= ratio <= ONE_SCALE:
            raise InputError(
                f"{file}: is {width} x {height} px, {first} is {size[0]} x {size[1]}; "
                "data.folder.focal_px, in pixels, is of images of one scale: prepare them one by "
                "one, or give data.folder.cameras"
            )

    def write(self, folder: Path, shot: Shot, columns: Mapping[str, NDArray[Any]]) -> None:
        """Write the next row of a shot's split in the data set ``folder``."""
        rows = {column: values[None] for column, values in columns.items()}
        fill_rows(folder / shot.split, self.used[shot.split], **rows)
        self.used[shot.split] += 1
        self.masks_from[shot.mask_from or BLACK_BACKGROUND] += 1


@dataclass(frozen=True)
class Crop:
    """Where a body is cropped, and in which frame its true pose is."""

    size: int
    box: CropBox
    view: View | None  # that the box is in; None: it is in the image
    line_of_sight: View | None  # None: the camera is not known

    @classmethod
    def of(cls, shot: Shot, mask: Mask, folder: FolderConfig, info: DatasetInfo) -> "Crop":
        """The crop around a mask."""
        name = str(shot.clip.file(shot.index))
        line_of_sight = view_of_mask(shot.camera, mask, name) if shot.camera else None
        view = line_of_sight if folder.crops == "views" else None
        box = (view.crop_around_mask if view else CropBox.around_mask)(mask, info.margin)
        return cls(info.size, box, view, line_of_sight)

    def cut(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What it shows of an image, or of a mask."""
        if self.view:
            return self.view.cut(image, self.box, self.size)
        return self.box.cut(image, self.size)

    def true_pose(self, truth: Truth, shot: Shot) -> dict[str, NDArray[Any]]:
        """True joints: (J, 2) its pixels and (J, 3) mm in the frame of what it shows.

        That frame looks along the line of sight, where it is known, be the crop a view or not.
        """
        pixels, pose = truth.pose(int(shot.shots.part.row[shot.position]), shot.camera)
        if self.view:
            pixels = self.view.from_image(pixels)
        if self.line_of_sight and pose is not None:
            pose = self.line_of_sight.turn(pose)
        joints = to_crop(pixels, self.box.as_array(), self.size)
        found: dict[str, NDArray[Any]] = {"joints_2d": joints}
        return found if pose is None else found | {"joints_3d_mm": pose}


def write_images(
    writer: DatasetWriter,
    shots: Sequence[Shots],
    truth: Truth | None,
    folder: FolderConfig,
    kept: Path,
) -> Filled:
    """Fill both splits; masks that are searched for wait in ``kept``."""
    in_test = sum(int(shot.part.in_test.sum()) for shot in shots)
    room = {"train": sum(len(shot.clip.indices) for shot in shots) - in_test, "test": in_test}
    splits = [name for name in SPLITS if room[name] or folder.poses]
    for name in splits:
        # No truth lies beside a training image, so nothing can learn from it.
        true = truth.columns(bool(folder.cameras)) if truth and name == "test" else set()
        writer.allocate_split(
            name, room[name], with_2d="joints_2d" in true, with_3d="joints_3d_mm" in true
        )
    filled, sheet = Filled(), ContactSheet()
    for shot in _all_frames(shots, folder, kept):
        mask, fault = shot.judged()
        if fault == NOTHING and _may_show_nobody(shot.clip, folder):
            filled.empty[shot.split] += 1
        elif fault:
            filled.faults.add(shot.clip.place(shot.index), fault)
            _check_share(filled.faults, folder, sum(room.values()))
        else:
            crop = Crop.of(shot, mask, folder, writer.info)
            columns = _columns(shot, mask, crop, folder, truth)
            filled.check_focal(shot, columns["samples"])
            sheet.add(shot.clip, shot.index, shot.image, mask, columns["images"], crop.box.side)
            filled.write(writer.folder, shot, columns)
    for name in splits:
        if not filled.used[name]:
            raise InputError(f"{folder.images}: {_nobody(folder, name, room[name])}")
        writer.trim_split(name, filled.used[name])
    sheet.write(writer.folder)
    return filled


def _columns(
    shot: Shot, mask: Mask, crop: Crop, folder: FolderConfig, truth: Truth | None
) -> dict[str, NDArray[Any]]:
    """A row of a split, by the names of its arrays."""
    body = shot.image * (mask[..., None] > 0)
    columns = {
        "images": crop.cut(body),
        "masks": crop.cut(mask),
        "samples": _record(shot, crop, folder.focal_px),
    }
    if truth is not None and shot.split == "test":
        true_pose = crop.true_pose(truth, shot)
        known = truth.columns(bool(folder.cameras))
        columns |= {column: true_pose[column] for column in known}
    return columns


def _nobody(folder: FolderConfig, split: str, images: int) -> str:
    """Why a split holds nothing, and the fix."""
    if not images:
        return (
            f"no {split} images are left beside those of data.folder.truth, test and exclude; "
            "lower exclude, or give more"
        )
    body = folder.body
    fix = "masks mark it with 255, and before a static camera it has to move, in steady light"
    if body.contrast != "any":
        region = " and its region" if body.regions or body.region_masks else ""
        fix = f"check data.folder.body.contrast={body.contrast}{region}, or give data.folder.masks"
    return f"no body in any of the {images} {split} images; {fix}"


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


def _all_frames(shots: Sequence[Shots], folder: FolderConfig, kept: Path) -> Iterator[Shot]:
    """All frames with the masks that they have, or that are found by ``folder.background``."""
    with progress_bar() as progress:
        task = progress.add_task("Cutting out", total=sum(len(s.clip.indices) for s in shots))
        for number, of_clip in enumerate(shots):
            search = Search(folder.background, kept, body=folder.body, scene=_scene(number, shots))
            for position, frame in enumerate(masked_frames(of_clip.clip, search)):
                yield Shot(of_clip, position, *frame)
                progress.advance(task)


def _scene(number: int, shots: Sequence[Shots]) -> Clip | None:
    """The nearest clip of the same named camera, where a clip is too short to tell a background."""
    clip = shots[number].clip
    if len(clip.indices) >= FEWEST_FRAMES or not clip.camera:
        return None
    near = sorted(range(len(shots)), key=lambda other: abs(other - number))
    of_camera = (shots[n].clip for n in near if shots[n].clip.camera == clip.camera)
    return next((other for other in of_camera if len(other.indices) >= FEWEST_FRAMES), None)


def _record(shot: Shot, crop: Crop, focal: float) -> NDArray[np.void]:
    """() SAMPLE record. Crop, focal length and principal point of a view are the view's."""
    clip, camera, view = shot.clip, shot.camera, crop.view
    size = np.array(shot.image.shape[1::-1])
    known = np.full((2, 2), np.nan)
    if view:
        known = np.array([(view.focal, view.focal), view.centre])
    elif camera:
        known[0] = camera.focal  # and no more: see data.folder.crops
    elif focal:
        known = np.array([(focal, focal), size / 2])
    names = clip.person, clip.name, clip.camera, clip.activity
    number = shot.shots.part.numbers[shot.position]
    return np.array((*names, number, crop.box.as_array(), size, *known), dtype=SAMPLE)
