"""Unpaired 2D poses from COCO keypoints, DeepLabCut tables, .npz files or another data set.

However they come, they leave in the project's form: joints in the skeleton's order, pixels of the
same square crop as the images, and one SAMPLE record per pose.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skelift.data.coco import read_coco
from skelift.data.completion import complete
from skelift.data.crop import CropBox, to_crop, to_source
from skelift.data.deeplabcut import read_deeplabcut
from skelift.data.format import Dataset
from skelift.data.joints import LAYOUTS, joint_weights
from skelift.data.names import check_names
from skelift.data.raw_poses import (
    FARTHEST,
    SURE,
    RawPoses,
    below_zero,
    check_confidence,
    records,
    seen,
)
from skelift.errors import InputError
from skelift.skeleton import Skeleton, joint_name
from skelift.text import reason

# A body reaches beyond its joints (hair, toes, fingers): its box is the joints' box plus this
# share of the joints' larger side, on every side.
REACH = 0.05
SMALLEST = 2.0  # px; what is smaller is a point, or given as shares of the image
# Arrays of an .npz, any of which may say how sure its joints are.
CONFIDENCES = ("confidence", "likelihood", "visibility", "scores")
READ = ("poses_2d", "joints", *CONFIDENCES, "clip", "person", "focal", "source_size")


@dataclass(frozen=True)
class UnpairedPoses:
    """Poses of no image in the set."""

    poses_2d: NDArray[np.float32]  # (M, J, 2) pixels of the crop
    samples: NDArray[np.void]  # (M,) records of dtype SAMPLE
    skeleton: Skeleton  # with bone lengths measured where the source measured them
    provenance: str
    licence: str = ""  # empty where the source does not say
    # Reason -> poses of the source that were left out, and how many it has.
    left_out: Mapping[str, int] = field(default_factory=dict)
    total: int = 0
    completed: int = 0  # poses, with joints that the source lacks

    def report(self) -> str:
        """How many poses were left out and why, or completed; empty where none was."""
        gaps = f"completed {self.completed} of {self.total} poses" if self.completed else ""
        return "; ".join(filter(None, (_report(self.left_out, self.total), gaps)))


def read_poses(
    path: Path,
    skeleton: Skeleton,
    size: int,
    margin: float,
    layout: str = "",
    category: str = "",
    threshold: float = SURE,
    most_gaps: int = 0,
) -> UnpairedPoses:
    """Read unpaired poses, through the same crop as the images.

    Poses of which a needed joint is not seen (see ``raw_poses.seen``) are left out and counted, or
    completed (see ``completion``).

    Args:
        path: a COCO keypoints ``.json``; a DeepLabCut ``.csv`` or ``.h5``; an ``.npz`` with
            ``poses_2d`` (M, J, 2) in pixels, or (M, J, 3) with confidences, and, if wanted,
            ``joints`` (J,) names, ``confidence`` (M, J), ``clip`` and ``person`` (M,) names,
            ``focal`` and ``source_size`` ((2,) or (M, 2)); or the folder of a data set, whose prior
            is taken.
        skeleton: joints are matched to it by name.
        size: side of the crop, in pixels.
        margin: free border of the crop, as a fraction of the body's larger side.
        layout: name in ``LAYOUTS`` of the joints of an ``.npz`` without ``joints``; empty: they are
            the skeleton's.
        category: the category of a COCO file to take; empty: all that fit the skeleton.
        threshold: the least likelihood or score of a joint that is seen.
        most_gaps: joints of a pose that are completed where it lacks them; a pose that lacks more
            is left out.

    Raises:
        InputError: the file is missing or broken, lacks a joint, has another number of joints,
            no pose that can be used, or too few to complete others.
    """
    if most_gaps > len(skeleton) // 2:
        raise InputError(
            f"data.folder.complete={most_gaps}: must be {len(skeleton) // 2} or less, half of the "
            f"joints of skeleton {skeleton.name}"
        )
    if not path.exists():
        raise InputError(
            f"{path}: not found; name a COCO .json, a DeepLabCut .csv or .h5, "
            "an .npz or a data set folder"
        )
    if path.is_dir():
        return _from_dataset(Dataset(path), skeleton, size, margin)
    kind = path.suffix.lower()
    _check_for_kind(path, kind, layout, category)
    found, left_out = _read(path, kind, skeleton, layout, category)
    total = sum(len(poses.places) for poses in found) + left_out.total()
    usable = [_usable(path, skeleton, poses, threshold, most_gaps, left_out) for poses in found]
    pixels = np.concatenate([pixels for pixels, _ in usable])
    samples = np.concatenate([samples for _, samples in usable])
    _need_any(path, pixels, left_out, total)
    gaps = np.isnan(pixels[..., 0])
    if gaps.any():
        _check_known(path, skeleton, gaps)
        pixels = complete(pixels)
    samples["crop"] = [_box(pose, margin).as_array() for pose in pixels]
    return UnpairedPoses(
        poses_2d=to_crop(pixels, samples["crop"], size).astype(np.float32),
        samples=samples,
        skeleton=skeleton,
        provenance=f"2D poses of {path.name}",
        left_out=left_out,
        total=total,
        completed=int(gaps.any(axis=1).sum()),
    )


def _check_for_kind(path: Path, kind: str, layout: str, category: str) -> None:
    """InputError where an option is of files of another kind."""
    if layout and (layout not in LAYOUTS or kind != ".npz"):
        raise InputError(
            f"data.folder.joints={layout}: choose one of {', '.join(LAYOUTS)}, for the poses of an "
            ".npz without joint names; other files name their joints"
        )
    if category and kind != ".json":
        raise InputError(f"data.folder.category={category}: {path} is no COCO file; leave it empty")


def _read(
    path: Path, kind: str, skeleton: Skeleton, layout: str, category: str
) -> tuple[list[RawPoses], Counter[str]]:
    """Poses of a file, one or more sets, and how many of its entries are no poses, by reason."""

    def fits(names: Sequence[str]) -> bool:
        try:
            return bool(joint_weights(skeleton, names).any())
        except (KeyError, ValueError):
            return False

    if kind == ".json":
        return read_coco(path, fits, category)
    if kind in (".csv", ".h5"):
        return [read_deeplabcut(path)], Counter()
    if kind == ".npz":
        return [_from_npz(path, skeleton, layout)], Counter()
    raise InputError(
        f"{path}: is neither COCO .json nor DeepLabCut .csv or .h5 nor .npz nor a data set"
    )


def _box(pose: NDArray[np.floating], margin: float) -> CropBox:
    low, high = pose.min(axis=0), pose.max(axis=0)
    reach = REACH * (high - low).max()
    return CropBox.around(low - reach, high + reach, margin)


def _from_npz(path: Path, skeleton: Skeleton, layout: str) -> RawPoses:
    arrays = read_npz(path)
    if "poses_2d" not in arrays:
        raise InputError(
            f"{path}: holds {', '.join(arrays) or 'nothing'}, but no poses_2d; save the poses as "
            "poses_2d (M, J, 2)"
        )
    check_names(path, arrays, READ)
    poses = arrays["poses_2d"]
    names = [text_of(name) for name in np.ravel(arrays["joints"])] if "joints" in arrays else []
    if names and layout and tuple(map(joint_name, names)) != LAYOUTS[layout]:
        raise InputError(
            f"{path}: names its joints, in another order than data.folder.joints={layout}; leave "
            "that empty"
        )
    names = names or list(LAYOUTS.get(layout, skeleton.joints))
    shape = poses.shape
    if len(shape) != 3 or shape[1] != len(names) or shape[2] not in (2, 3) or not len(poses):
        raise InputError(
            f"{path}: poses_2d has shape {poses.shape}, expected (M, {len(names)}, 2) for "
            f"{'its joints' if 'joints' in arrays else layout or skeleton.name}; correct the file, "
            "or name its joints in an array `joints`"
        )
    values = _numbers(path, "poses_2d", poses)
    given = [values[..., 2]] if shape[2] == 3 else []
    given += [
        _column(path, name, _numbers(path, name, arrays[name]), shape[:2])
        for name in CONFIDENCES
        if name in arrays
    ]
    for confidences in given:
        check_confidence(path, confidences)
    # The least of them; NaN stays.
    confidence = np.minimum.reduce(given) if given else np.ones(shape[:2])
    samples = records(len(poses))
    samples["clip"] = path.stem[:64]
    for name in ("clip", "person"):
        if name in arrays:
            samples[name] = _names(path, name, arrays[name], samples[name])
    for name in ("focal", "source_size"):
        if name in arrays:
            samples[name] = _positive(path, name, arrays[name], samples[name])
    if "source_size" in arrays:
        known = samples["source_size"] > 0
        samples["principal"] = np.where(known, samples["source_size"] / 2, np.nan)
    return RawPoses(names, values[..., :2], confidence, samples)


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file; InputError if it is broken, or has objects in it."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return dict(archive)
    except Exception as error:  # NumPy and zipfile meet a broken file with whatever they ran into
        raise InputError(
            f"{path}: cannot be read as .npz ({reason(error)}); save it with np.savez"
        ) from None


def _numbers(path: Path, name: str, values: NDArray[Any]) -> NDArray[np.float64]:
    if values.dtype.kind not in "fiub":
        raise InputError(f"{path}: {name} is of type {values.dtype}, not numbers; correct it")
    return values.astype(np.float64)


def _names(path: Path, name: str, values: NDArray[Any], like: NDArray[Any]) -> NDArray[np.str_]:
    """One name per pose, of no more characters than a record holds."""
    names = np.array([text_of(value) for value in values.ravel()]).reshape(values.shape)
    longest = like.dtype.itemsize // np.dtype("U1").itemsize
    if names.dtype.itemsize > longest * np.dtype("U1").itemsize:
        raise InputError(f"{path}: {name} has names of over {longest} characters; shorten them")
    return _column(path, name, names, like.shape)


def _positive(
    path: Path, name: str, values: NDArray[Any], like: NDArray[Any]
) -> NDArray[np.float64]:
    """Two numbers per pose, above 0 or, where unknown, NaN (of whole numbers 0)."""
    numbers = _column(path, name, _numbers(path, name, values), like.shape)
    if like.dtype.kind == "i":
        numbers = np.where(np.isnan(numbers), 0, numbers)
        valid = (numbers >= 0) & (numbers < 2**31)
    else:
        valid = np.isnan(numbers) | ((numbers > 0) & (numbers < FARTHEST))
    if not valid.all():
        raise InputError(f"{path}: {name} holds {numbers[~valid][0]:g}; give pixels above 0")
    return numbers


def text_of(value: Any) -> str:
    """A name of an array, which may hold bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _column(path: Path, name: str, values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    try:
        return np.broadcast_to(values, shape)
    except ValueError:
        raise InputError(
            f"{path}: {name} has shape {values.shape}, expected {shape}: one row per pose"
        ) from None


def _from_dataset(data: Dataset, skeleton: Skeleton, size: int, margin: float) -> UnpairedPoses:
    """The prior of another data set, cropped again for this size and margin."""
    weights = _weights(data.folder, skeleton, data.skeleton.joints)
    poses, total = data.prior.poses_2d, len(data.prior.poses_2d)
    finite = np.flatnonzero(np.isfinite(poses).all(axis=(1, 2)))
    left_out = Counter({"are not finite": total - len(finite)})
    _need_any(data.folder, finite, left_out, total)
    samples = np.array(data.prior.samples[finite])
    pixels = to_source(weights @ poses[finite].astype(np.float64), samples["crop"], data.info.size)
    samples["crop"][:, 2] *= (1 + margin) / (1 + data.info.margin)
    same_bones = (data.skeleton.joints, data.skeleton.bones) == (skeleton.joints, skeleton.bones)
    return UnpairedPoses(
        poses_2d=to_crop(pixels, samples["crop"], size).astype(np.float32),
        samples=samples,
        skeleton=data.skeleton if same_bones else skeleton,
        provenance=f"2D poses: the prior of data set {data.info.name} ({data.info.provenance})",
        licence=data.info.licence,
        left_out=left_out,
        total=total,
    )


def _weights(path: Path, skeleton: Skeleton, names: Sequence[str]) -> NDArray[np.float64]:
    try:
        return joint_weights(skeleton, names)
    except KeyError as error:
        raise InputError(
            f"{path}: has no joint for {error.args[0]} of skeleton {skeleton.name}; it has "
            f"{', '.join(names)}; rename its joints or choose another skeleton="
        ) from None
    except ValueError as error:
        raise InputError(f"{path}: its joints {error} are one by name; rename one") from None


def _usable(
    path: Path,
    skeleton: Skeleton,
    poses: RawPoses,
    threshold: float,
    most_gaps: int,
    left_out: Counter[str],
) -> tuple[NDArray[np.float64], NDArray[np.void]]:
    """(M, J, 2) poses of the skeleton, with their records, of all that lack few enough joints.

    A joint that is lacking is NaN. The others are counted in ``left_out``.
    """
    check_confidence(path, poses.confidence)
    weights = _weights(path, skeleton, poses.names)
    needed = np.flatnonzero((weights != 0).any(axis=0))  # the others may be unseen or NaN
    visible = seen(poses, threshold)
    gaps = (~visible @ (weights != 0).T).astype(bool)
    empty = ~visible.any(axis=1)
    lacking = (gaps.sum(axis=1) > most_gaps) & ~empty
    if lacking.any():
        worst = poses.names[needed[(~visible[:, needed])[lacking].sum(axis=0).argmax()]]
        many = f"more than {most_gaps} joints" if most_gaps else "a joint"
        centred = below_zero(poses)[lacking][:, needed].sum(axis=1).mean() > 1  # no lone mark
        why = "; joints at (0, 0) or with both coordinates below 0 are not seen" if centred else ""
        left_out[f"lack {many} (most often {worst}{why})"] += int(lacking.sum())
    kept = np.flatnonzero(~lacking & ~empty)
    pixels = weights @ np.where(visible[kept][..., None], poses.places[kept], 0)
    pixels[gaps[kept]] = np.nan
    sides = np.nanmax(pixels, axis=1, initial=-np.inf) - np.nanmin(pixels, axis=1, initial=np.inf)
    large = sides.max(axis=-1, initial=-np.inf) >= SMALLEST
    for fault, count in (
        ("have no joint that is seen", empty.sum()),
        (f"are smaller than {SMALLEST:g} pixels", (~large).sum()),
    ):
        if count:
            left_out[fault] += int(count)
    return pixels[large], poses.samples[kept[large]]


def _check_known(path: Path, skeleton: Skeleton, gaps: NDArray[np.bool_]) -> None:
    """InputError where poses with these gaps (M, J) tell too little of a joint to complete it."""
    fewest = 2 * len(skeleton)
    have = (~gaps).sum(axis=0)
    if have.min() < fewest:
        raise InputError(
            f"{path}: {have.min()} of its poses have {skeleton.joints[have.argmin()]}; to complete "
            f"the others {fewest} are needed: give more, or leave data.folder.complete at 0"
        )


def _need_any(path: Path, poses: NDArray[Any], left_out: Mapping[str, int], total: int) -> None:
    if not len(poses):
        raise InputError(
            f"{path}: none of its {total} poses can be used ({_reasons(left_out)}); give complete "
            "poses in pixels, lower data.folder.min_confidence, or let data.folder.complete=N "
            "joints be filled in"
        )


def _report(left_out: Mapping[str, int], total: int) -> str:
    count = sum(left_out.values())
    return f"left out {count} of {total} poses: {_reasons(left_out)}" if count else ""


def _reasons(left_out: Mapping[str, int]) -> str:
    counts = [f"{count} {fault}" for fault, count in left_out.items() if count]
    return ", ".join(counts) or "it has none"
