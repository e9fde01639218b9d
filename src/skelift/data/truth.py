"""True poses of some frames: what recordings are scored by, and never trained on.

A truth file is an .npz of N labelled frames::

    joints          (K,) names, matched to the skeleton's by name; the others count as unlabelled
    frame           (N,) frame of the video, from 0; of images the number that ends their names
                    (``0042.png`` is 42), or their place in the folder where names have none
    joints_3d_mm    (N, K, 3) in the camera frame            one of these three at least;
    joints_world_mm (N, K, 3) in the world of data.cameras   NaN: that joint is not labelled
    joints_2d_px    (N, K, 2) pixels of the image
    clip            (N,) name of the clip; may be absent where there is one clip
    camera          (N,) name of the camera; may be absent where all cameras share the labels
    height_mm       () height or length of the body, which 2D errors are also given in per cent of
"""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skelift.config import FolderConfig
from skelift.data.anatomy import FEWEST_JOINTS
from skelift.data.cameras import Camera
from skelift.data.clips import Clip
from skelift.data.names import check_names
from skelift.data.poses import read_npz, text_of
from skelift.errors import InputError
from skelift.skeleton import Skeleton, joint_name

ARRAYS = ("joints_3d_mm", "joints_world_mm", "joints_2d_px")
LOWEST, TALLEST = 0.2, 10.0  # heights, over the extent of labelled joints
READ = ("joints", "frame", *ARRAYS, "clip", "camera", "height_mm")

Array = NDArray[np.float64]
Key = tuple[str, str, int]  # clip, camera ("" for all) and frame


@dataclass(frozen=True)
class Truth:
    """The content of a truth file, its joints in the skeleton's order."""

    path: Path
    poses: Mapping[str, Array]  # some of ``ARRAYS``: (N, J, 2 or 3), NaN where unlabelled
    rows: Mapping[Key, int]
    height_mm: float | None = None

    def columns(self, cameras_known: bool) -> set[str]:
        """What of ``joints_2d`` and ``joints_3d_mm`` a data set can know from it."""
        known = set()
        if set(self.poses) != {"joints_2d_px"}:
            known.add("joints_3d_mm")
        if "joints_2d_px" in self.poses or cameras_known:
            known.add("joints_2d")
        return known

    def frames(self, clip: str, cameras: Sequence[str]) -> dict[int, int]:
        """Frame -> row of the labelled frames of a clip as a camera of these names sees it."""
        return {
            frame: row
            for (of_clip, camera, frame), row in self.rows.items()
            if of_clip in ("", clip) and camera in ("", *cameras)
        }

    def moments(self, clip: str) -> NDArray[np.int64]:
        """Frames of a clip that are labelled in any camera."""
        return np.array(
            sorted({frame for of, _, frame in self.rows if of in ("", clip)}), dtype=np.int64
        )

    def is_scored(self, row: int) -> bool:
        """Whether enough joints of a row are labelled, in 2D and 3D where the file has both."""
        fewest = min(int(np.isfinite(p[row]).all(axis=-1).sum()) for p in self.poses.values())
        return fewest >= FEWEST_JOINTS

    def unseen(self, parts: Sequence["Part"]) -> int:
        """How many rows with labels enough are not among the test images."""
        seen = {row for part in parts for row in part.row.tolist()}
        return sum(self.is_scored(row) and row not in seen for row in self.rows.values())

    def pose(self, row: int, camera: Camera | None) -> tuple[Array, Array | None]:
        """2D (J, 2) in pixels of the image and 3D (J, 3) mm in the camera frame, NaN unlabelled.

        3D comes from the world, and 2D from 3D, where the camera is known and they are not given.
        """
        pose_3d: Array | None = None
        if "joints_3d_mm" in self.poses:
            pose_3d = self.poses["joints_3d_mm"][row]
        elif "joints_world_mm" in self.poses:
            if camera is None:
                raise InputError(
                    f"{self.path}: joints_world_mm needs data.folder.cameras; set it, or give "
                    "joints_3d_mm in the camera frame"
                )
            pose_3d = camera.from_world(self.poses["joints_world_mm"][row])
        if "joints_2d_px" in self.poses:
            return self.poses["joints_2d_px"][row], pose_3d
        if camera is None or pose_3d is None:
            return np.full((len(self.poses["joints_3d_mm"][row]), 2), np.nan), pose_3d
        return camera.project(pose_3d), pose_3d


def read_truth(path: Path, skeleton: Skeleton) -> Truth:
    """Read a truth file; InputError where it is missing, broken or of another form."""
    arrays = _load(path)
    check_names(path, arrays, READ)
    for name in ("joints", "frame"):
        if name not in arrays:
            raise InputError(f"{path}: lacks {name}; docs/datasets.md describes truth files")
    given = [name for name in ARRAYS if name in arrays]
    if not given:
        raise InputError(f"{path}: has no poses; save one of {', '.join(ARRAYS)}")
    if "joints_3d_mm" in given and "joints_world_mm" in given:
        raise InputError(f"{path}: has joints_3d_mm and joints_world_mm; keep one of them")
    if arrays["joints"].ndim != 1 or arrays["frame"].ndim != 1:
        raise InputError(f"{path}: joints and frame are lists; give names (J,) and integers (N,)")
    names = [joint_name(text_of(name)) for name in arrays["joints"]]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InputError(f"{path}: names {', '.join(sorted(twice))} twice; keep one of each")
    columns = [names.index(n) if (n := joint_name(j)) in names else -1 for j in skeleton.joints]
    if max(columns, default=-1) < 0:
        raise InputError(
            f"{path}: none of its joints ({', '.join(names)}) is one of skeleton "
            f"{skeleton.name}; rename them or choose another skeleton="
        )
    if others := [name for name in names if name not in map(joint_name, skeleton.joints)]:
        others_are = f"{', '.join(others)}: no joints of skeleton {skeleton.name}"
        print(f"{path}: {others_are}, not scored", file=sys.stderr)
    count = len(arrays["frame"])
    poses = {name: _poses(path, name, arrays[name], count, len(names), columns) for name in given}
    height = _height(path, arrays["height_mm"], poses) if "height_mm" in arrays else None
    return Truth(path, poses, _rows(path, arrays, count), height)


@dataclass(frozen=True)
class Region:
    """Frames that are kept for testing: of a clip (a pattern), all or from first to last."""

    clip: str
    first: int = 0
    last: int = np.iinfo(np.int64).max

    @classmethod
    def parse(cls, text: str) -> "Region":
        """``CLIP`` or ``CLIP:FIRST-LAST``; ``*`` stands for any text."""
        found = re.fullmatch(r"(.+):(\d+)-(\d+)", text)
        return cls(found[1], int(found[2]), int(found[3])) if found else cls(text)

    def holds(self, clip: str, frames: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(N,) which frames of a clip lie in it."""
        inside = (frames >= self.first) & (frames <= self.last)
        return inside & fnmatchcase(clip, self.clip)


@dataclass(frozen=True)
class Part:
    """The frames in use of one clip, and what is known of them."""

    clip: Clip
    numbers: NDArray[np.int64]  # (n,) frame number of each of ``clip.indices``
    in_test: NDArray[np.bool_]  # (n,)
    row: NDArray[np.int64]  # (n,) row of the truth; -1 in training


def split_by_moment(
    clips: Sequence[Clip],
    truth: Truth | None,
    folder: FolderConfig,
    names: Sequence[Sequence[str]],
) -> list[Part]:
    """Which frames are for training and which for testing, moment by moment.

    Test images are those with truth (without a truth file: all) in ``folder.test`` (empty:
    anywhere). Training images are the others, but for those within ``folder.exclude`` frames of a
    labelled frame or of ``folder.test``, in any camera. Without poses there is no training, and
    no training image.

    Args:
        clips: as ``find_clips`` gives them.
        truth: the labelled frames, or None.
        folder: the options.
        names: the names that each clip's camera goes by.

    Raises:
        InputError: no image is labelled, an entry of ``folder.test`` holds no test image, or clips
            are many and the labels do not say theirs.
    """
    regions = [Region.parse(text) for text in folder.test]
    _check_names(clips, truth, regions)
    parts, met = [], np.zeros(len(regions), dtype=bool)
    for clip, own_names in zip(clips, names, strict=True):
        numbers = frame_numbers(clip)
        inside = np.array([region.holds(clip.name, numbers) for region in regions], dtype=bool)
        chosen = inside.any(axis=0) if regions else np.zeros(len(numbers), dtype=bool)
        every = np.isin(np.arange(len(numbers)), clip.indices)
        row = np.full(len(numbers), -1)
        in_test = every & chosen
        kept_out = _near(numbers, np.sort(numbers[chosen]), folder.exclude)
        if truth is not None:
            labelled = truth.frames(clip.name, own_names)
            row[:] = [labelled.get(number, -1) for number in numbers.tolist()]
            in_test = (row >= 0) & (chosen | (not regions))
            in_test[in_test] = [truth.is_scored(r) for r in row[in_test]]
            kept_out |= _near(numbers, truth.moments(clip.name), folder.exclude)
        if regions:
            met |= (inside & in_test).any(axis=1)
        in_use = in_test | (every & ~kept_out & bool(folder.poses))
        indices = np.flatnonzero(in_use)
        row[~in_test] = -1
        used = replace(clip, indices=tuple(indices.tolist()))
        if len(indices):
            parts.append(Part(used, numbers[indices], in_test[indices], row[indices]))
    if not any(part.in_test.any() for part in parts):
        source = truth.path if truth else f"data.folder.test={list(folder.test)}"
        if truth and (few := _too_few_labels(clips, truth, names)):
            raise InputError(few)
        raise InputError(
            f"{source}: none of its frames is among the images of {folder.images}; its clips, "
            f"cameras and frames must be those of the images (clips: "
            f"{', '.join(sorted({clip.name for clip in clips}))})"
        )
    if not met.all():
        kind = f"image that {truth.path} labels" if truth else "image in use"
        raise InputError(
            f"data.folder.test={folder.test[int(met.argmin())]}: holds no {kind}; correct its "
            "frames (of images, the numbers that end their names), or leave it out"
        )
    return parts


def _too_few_labels(clips: Sequence[Clip], truth: Truth, names: Sequence[Sequence[str]]) -> str:
    """What is wrong where images are labelled, but none of them enough; empty where none is."""
    labelled = {
        row
        for clip, own_names in zip(clips, names, strict=True)
        for frame, row in truth.frames(clip.name, own_names).items()
        if frame in frame_numbers(clip)
    }
    if not labelled or any(truth.is_scored(row) for row in labelled):
        return ""
    return (
        f"{truth.path}: labels {len(labelled)} of the images, none of them in {FEWEST_JOINTS} "
        "joints of the skeleton or more; label more joints (NaN is an unlabelled one)"
    )


def frame_numbers(clip: Clip) -> NDArray[np.int64]:
    """(n,) number of each frame of a clip, in use or not.

    A video counts from 0. Images have the number that ends their names where all have one of
    their own, else their place.
    """
    count = max(clip.indices, default=-1) + 1 if clip.is_video else len(clip.files)
    if isinstance(clip.indices, range) and clip.is_video:
        count = clip.indices.stop
    if not clip.is_video:
        ends = [re.search(r"(\d+)$", file.stem) for file in clip.files]
        numbers = [int(end[1]) for end in ends if end]
        if len(set(numbers)) == count and max(numbers) < 2**31:
            return np.array(numbers, dtype=np.int64)
    return np.arange(count)


def _near(numbers: NDArray[np.int64], moments: NDArray[np.int64], reach: int) -> NDArray[np.bool_]:
    """(N,) whether a frame lies within ``reach`` of a moment; moments are sorted."""
    first = np.searchsorted(moments, numbers - reach, side="left")
    return np.asarray(first < np.searchsorted(moments, numbers + reach, side="right"))


def _check_names(clips: Sequence[Clip], truth: Truth | None, regions: Sequence[Region]) -> None:
    names = sorted({clip.name for clip in clips})
    for region in regions:
        if not any(fnmatchcase(name, region.clip) for name in names):
            raise InputError(
                f"data.folder.test: no clip is called {region.clip}; there are {', '.join(names)}"
            )
    if truth is not None and len(names) > 1 and any(not clip for clip, _, _ in truth.rows):
        raise InputError(
            f"{truth.path}: does not say which clip its frames are of, and there are "
            f"{len(names)} ({', '.join(names[:3])} ...); add an array clip (N,)"
        )


def _load(path: Path) -> dict[str, NDArray[Any]]:
    if not path.exists():
        raise InputError(f"{path}: not found; set data.folder.truth to a truth file")
    return read_npz(path)


def _height(path: Path, value: NDArray[Any], poses: Mapping[str, Array]) -> float:
    """The height, in keeping with how far apart joints in 3D are; InputError otherwise."""
    number = value.dtype.kind in "fiu" and value.size == 1
    if not (number and np.isfinite(value).all() and (value > 0).all()):
        raise InputError(f"{path}: height_mm is {value}; give a length above 0 mm, or leave it out")
    height = float(value.reshape(()))
    for name in set(poses) - {"joints_2d_px"}:
        known = poses[name][np.isfinite(poses[name]).all(axis=-1).sum(axis=1) >= FEWEST_JOINTS]
        extent = np.linalg.norm(np.nanmax(known, axis=1) - np.nanmin(known, axis=1), axis=-1)
        size = float(np.quantile(extent, 0.95)) if len(extent) else height
        if not LOWEST * size <= height <= TALLEST * size:
            raise InputError(
                f"{path}: height_mm is {height:g}, but joints of {name} are up to {size:.3g} mm "
                "apart; give both in mm"
            )
    return height


def _poses(
    path: Path,
    name: str,
    values: NDArray[Any],
    count: int,
    joints: int,
    columns: Sequence[int],
) -> Array:
    """(N, J, D) in the skeleton's order; joints that the file lacks are NaN."""
    shape = (count, joints, 2 if name == "joints_2d_px" else 3)
    if values.shape != shape or not np.issubdtype(values.dtype, np.floating):
        raise InputError(
            f"{path}: {name} is {values.dtype} {values.shape}, expected floats {shape}: one row "
            "per frame, one pose per row, NaN where a joint is not labelled"
        )
    partly = np.isnan(values).any(axis=-1) != np.isnan(values).all(axis=-1)
    if wrong := int((partly | np.isinf(values).any(axis=-1)).sum()):
        raise InputError(
            f"{path}: {wrong} joints of {name} are infinite or NaN in part; an unlabelled joint "
            "is NaN in all its coordinates"
        )
    padded = np.concatenate([values, np.full((count, 1, shape[2]), np.nan)], axis=1)
    return padded[:, columns].astype(np.float64)


def _rows(path: Path, arrays: Mapping[str, NDArray[Any]], count: int) -> dict[Key, int]:
    frames = arrays["frame"]
    if not np.issubdtype(frames.dtype, np.integer) or frames.ndim != 1 or not count:
        raise InputError(f"{path}: frame is {frames.dtype} {frames.shape}; give integers (N,)")
    names = {}
    for name in ("clip", "camera"):
        names[name] = arrays.get(name, np.full(count, ""))
        if names[name].shape != (count,):
            raise InputError(f"{path}: {name} has shape {names[name].shape}, expected ({count},)")
    rows: dict[Key, int] = {}
    for row, frame in enumerate(frames.tolist()):
        key = text_of(names["clip"][row]), text_of(names["camera"][row]), frame
        if key in rows:
            raise InputError(
                f"{path}: rows {rows[key]} and {row} are both of frame {frame}"
                f"{f', clip {key[0]}' if key[0] else ''}"
                f"{f', camera {key[1]}' if key[1] else ''}; keep one"
            )
        rows[key] = row
    return rows
