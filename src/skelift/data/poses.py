"""Unpaired 2D poses from COCO keypoints, DeepLabCut tables, .npz files or another data set.

However they come, they leave in the project's form: joints in the skeleton's order, pixels of the
same square crop as the images, and one SAMPLE record per pose.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skelift.data.crop import CropBox, to_crop, to_source
from skelift.data.deeplabcut import read_deeplabcut
from skelift.data.format import SAMPLE, Dataset
from skelift.data.joints import LAYOUTS, joint_weights
from skelift.errors import InputError
from skelift.skeleton import Skeleton

# A body reaches beyond its joints (hair, toes, fingers): its box is the joints' box plus this
# share of the joints' larger side, on every side.
REACH = 0.05


# (M, J, 2) source pixels, (M,) SAMPLE records, and how many poses were skipped.
Found = tuple[NDArray[Any], NDArray[np.void], int]


@dataclass(frozen=True)
class UnpairedPoses:
    """Poses of no image in the set."""

    poses_2d: NDArray[np.float32]  # (M, J, 2) pixels of the crop
    samples: NDArray[np.void]  # (M,) records of dtype SAMPLE
    skeleton: Skeleton  # with bone lengths measured where the source measured them
    provenance: str
    licence: str = ""  # empty where the source does not say
    skipped: int = 0  # poses left out since a joint was not labelled


def read_poses(
    path: Path, skeleton: Skeleton, size: int, margin: float, layout: str = ""
) -> UnpairedPoses:
    """Read unpaired poses, through the same crop as the images.

    Args:
        path: a COCO keypoints ``.json``; a DeepLabCut ``.csv`` or ``.h5``; an ``.npz`` with
            ``poses_2d`` (M, J, 2) in pixels and, if wanted, ``joints`` (J,) names, ``clip`` and
            ``person`` (M,) names, ``focal`` and ``source_size`` ((2,) or (M, 2)); or the folder of
            a data set, whose prior is taken.
        skeleton: joints are matched to it by name.
        size: side of the crop, in pixels.
        margin: free border of the crop, as a fraction of the body's larger side.
        layout: name in ``LAYOUTS`` of the joints of an ``.npz`` without ``joints``; empty: they are
            the skeleton's.

    Raises:
        InputError: the file is missing or broken, lacks a joint, has another number of joints,
            or holds NaN.
    """
    if not path.exists():
        raise InputError(
            f"{path}: not found; name a COCO .json, a DeepLabCut .csv or .h5, "
            "an .npz or a data set folder"
        )
    if path.is_dir():
        return _from_dataset(Dataset(path), skeleton, size, margin)
    readers: dict[str, Callable[[Path, Skeleton], Found]] = {
        ".json": _from_coco,
        ".csv": _from_deeplabcut,
        ".h5": _from_deeplabcut,
        ".npz": partial(_from_npz, layout=layout),
    }
    if layout and (layout not in LAYOUTS or path.suffix != ".npz"):
        raise InputError(
            f"data.folder.joints={layout}: choose one of {', '.join(LAYOUTS)}, for the poses of an "
            ".npz without joint names; other files name their joints"
        )
    if path.suffix not in readers:
        raise InputError(
            f"{path}: is neither COCO .json nor DeepLabCut .csv or .h5 nor .npz nor a data set"
        )
    pixels, samples, skipped = readers[path.suffix](path, skeleton)
    _check(path, pixels)
    samples["crop"] = [_box(pose, margin).as_array() for pose in pixels]
    return UnpairedPoses(
        poses_2d=to_crop(pixels, samples["crop"], size).astype(np.float32),
        samples=samples,
        skeleton=skeleton,
        provenance=f"2D poses of {path.name}",
        skipped=skipped,
    )


def _box(pose: NDArray[np.floating], margin: float) -> CropBox:
    low, high = pose.min(axis=0), pose.max(axis=0)
    reach = REACH * (high - low).max()
    return CropBox.around(low - reach, high + reach, margin)


def _from_coco(path: Path, skeleton: Skeleton) -> Found:
    content = _read_coco(path)
    category = next((c for c in content["categories"] if c.get("keypoints")), None)
    if category is None:
        raise InputError(f"{path}: no category lists keypoints; give a COCO keypoints file")
    names = [str(name) for name in category["keypoints"]]
    sizes = {
        image["id"]: (image.get("width", 0), image.get("height", 0))
        for image in content.get("images", [])
    }
    annotations = [
        a for a in content["annotations"] if a.get("category_id", category["id"]) == category["id"]
    ]
    values = [_coco_row(path, annotation, len(names)) for annotation in annotations]
    rows = np.array(values, dtype=np.float64).reshape(-1, len(names), 3)  # x, y, visibility
    pixels, complete = _complete(path, skeleton, names, rows[..., :2], rows[..., 2] > 0)
    samples = _records(len(complete))
    chosen = [annotations[i] for i in complete]
    samples["clip"] = [f"{path.stem}/{a.get('image_id', i)}"[:64] for i, a in enumerate(chosen)]
    samples["source_size"] = [sizes.get(a.get("image_id"), (0, 0)) for a in chosen]
    return pixels, samples, len(rows) - len(complete)


def _read_coco(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path}: cannot be read as JSON ({error}); restore the file") from None
    if not isinstance(content, dict) or not {"categories", "annotations"} <= set(content):
        raise InputError(f"{path}: lacks categories or annotations; give a COCO keypoints file")
    return content


def _coco_row(path: Path, annotation: Mapping[str, Any], joints: int) -> list[float]:
    values: list[float] = annotation.get("keypoints", [])
    if len(values) != 3 * joints:
        raise InputError(
            f"{path}: annotation {annotation.get('id')} has {len(values) / 3:g} joints, its "
            f"category {joints}; correct the annotation"
        )
    return values


def _from_deeplabcut(path: Path, skeleton: Skeleton) -> Found:
    names, poses = read_deeplabcut(path)
    labelled = np.asarray(np.isfinite(poses).all(axis=-1))
    pixels, complete = _complete(path, skeleton, names, poses, labelled)
    samples = _records(len(complete))
    samples["frame"], samples["clip"] = complete, path.stem[:64]
    return pixels, samples, len(poses) - len(complete)


def _from_npz(path: Path, skeleton: Skeleton, layout: str) -> Found:
    arrays = _read_npz(path)
    if "poses_2d" not in arrays:
        raise InputError(
            f"{path}: holds {', '.join(arrays) or 'nothing'}, but no poses_2d; save the poses as "
            "poses_2d (M, J, 2)"
        )
    poses = arrays["poses_2d"]
    names = [str(name) for name in arrays.get("joints", LAYOUTS.get(layout, skeleton.joints))]
    if poses.ndim != 3 or poses.shape[1:] != (len(names), 2) or not len(poses):
        raise InputError(
            f"{path}: poses_2d has shape {poses.shape}, expected (M, {len(names)}, 2) for "
            f"{'its joints' if 'joints' in arrays else layout or skeleton.name}; correct the file, "
            "or name its joints in an array `joints`"
        )
    labelled = np.ones(poses.shape[:2], dtype=bool)
    pixels, _ = _complete(path, skeleton, names, poses.astype(np.float64), labelled)
    samples = _records(len(poses))
    samples["clip"] = path.stem[:64]
    for field in ("clip", "person", "focal", "source_size"):
        if field in arrays:
            samples[field] = _column(path, field, arrays[field], samples[field].shape)
    if "source_size" in arrays:
        samples["principal"] = samples["source_size"] / 2
    return pixels, samples, 0


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    from zipfile import BadZipFile

    try:
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)
    except (BadZipFile, ValueError, OSError, EOFError, AttributeError) as error:
        raise InputError(
            f"{path}: cannot be read as .npz ({error}); save it with np.savez"
        ) from None


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
    samples = np.array(data.prior.samples)
    pixels = to_source(
        weights @ data.prior.poses_2d.astype(np.float64), samples["crop"], data.info.size
    )
    samples["crop"][:, 2] *= (1 + margin) / (1 + data.info.margin)
    same_bones = (data.skeleton.joints, data.skeleton.bones) == (skeleton.joints, skeleton.bones)
    return UnpairedPoses(
        poses_2d=to_crop(pixels, samples["crop"], size).astype(np.float32),
        samples=samples,
        skeleton=data.skeleton if same_bones else skeleton,
        provenance=f"2D poses: the prior of data set {data.info.name} ({data.info.provenance})",
        licence=data.info.licence,
    )


def _weights(path: Path, skeleton: Skeleton, names: Sequence[str]) -> NDArray[np.float64]:
    try:
        return joint_weights(skeleton, names)
    except KeyError as error:
        raise InputError(
            f"{path}: has no joint for {error.args[0]} of skeleton {skeleton.name}; it has "
            f"{', '.join(names)}; rename its joints or choose another skeleton="
        ) from None


def _complete(
    path: Path,
    skeleton: Skeleton,
    names: Sequence[str],
    poses: NDArray[np.float64],
    labelled: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """(M, J, 2) poses of the skeleton and their rows, of all (N, K, 2) with the needed joints."""
    weights = _weights(path, skeleton, names)
    needed = (weights != 0).any(axis=0)  # the others may be unlabelled or NaN
    complete = np.flatnonzero(labelled[:, needed].all(axis=1))
    if not len(complete):
        raise InputError(
            f"{path}: none of its {len(poses)} poses has all joints labelled that {skeleton.name} "
            "needs; give complete poses"
        )
    return weights[:, needed] @ poses[complete][:, needed], complete


def _check(path: Path, poses: NDArray[np.floating]) -> None:
    """InputError unless all (M, J, 2) poses are finite and larger than a point."""
    finite = np.isfinite(poses).all(axis=(1, 2))
    extended = np.ptp(poses, axis=1).max(axis=-1) > 0
    for good, fault in ((finite, "hold NaN or infinity"), (extended, "are a single point")):
        bad = np.flatnonzero(~good)
        if len(bad):
            raise InputError(
                f"{path}: {len(bad)} of {len(poses)} poses {fault}, the first is pose {bad[0]}; "
                "remove them"
            )


def _records(count: int) -> NDArray[np.void]:
    records = np.zeros(count, dtype=SAMPLE)
    records["frame"] = np.arange(count)
    records["focal"] = records["principal"] = np.nan
    return records
