"""What is measured of a data set before it is judged: one plain column per property.

A table is a dict of columns of equal length; the column ``row`` names each row to a person. A
value is NaN where its property is unknown, and a column is absent where no row has it.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from skelift.data.anatomy import FEWEST_JOINTS, bone_lengths, side_cues, upside_down
from skelift.data.counts import count_published
from skelift.data.crop import to_crop, to_source
from skelift.data.format import Dataset, DatasetInfo, Prior, Split
from skelift.data.mirror import mirrored
from skelift.data.prior_measures import measure_focal, measure_joints, measure_poses
from skelift.data.table import Table
from skelift.data.takes import jumps, sudden_sides
from skelift.progress import track
from skelift.skeleton import Skeleton

MOST_IMAGES = 4000  # of a split, at random, whose pixels are checked
CHUNK = 1024  # images in memory at a time
NEAR = 0.04  # a joint this close to the mask is on the body, as a fraction of the crop's side
THUMBNAIL = 16
OFF_BODY, LABELS_OFF_BODY = "off_body", "labels_off_body"
SAMPLED = 64  # points of each side of an image's border
NEXT_FRAMES = 5  # between labelled frames in which nobody turns round
FEWEST_BENT = 20  # poses of a person from which on the mean bend of the knees says something

STATIC = ("median", "subtractor")  # backgrounds of static cameras, searched for


def measure_dataset(data: Dataset) -> dict[str, Table]:
    """All tables; ``arrays`` alone where a shape is wrong, since nothing else can be read then."""
    arrays = _arrays_table(data)
    if any(column.any() for name, column in arrays.items() if name != "row"):
        return {"arrays": arrays}
    every = [data.split(name).samples for name in data.splits]
    every += [data.prior.samples] if data.has_prior else []
    published = count_published(data.info.name, np.concatenate(every), data.info.details)
    return {
        "arrays": arrays,
        "samples": _samples_table(data),
        "images": _images_table(data),
        **(_prior_tables(data) if data.has_prior else {}),
        **({"published": published} if published else {}),
    }


def _arrays_table(data: Dataset) -> Table:
    """One row per array of the set: does its shape agree with dataset.json?"""
    size, joints = data.info.size, len(data.skeleton)
    cells: dict[str, tuple[int, ...]] = {
        "images": (size, size, 3),
        "masks": (size, size),
        "poses_2d": (joints, 2),
        "samples": (),
        "joints_2d": (joints, 2),
        "joints_3d_mm": (joints, 3),
        "radial_motion": (),
        "steady_motion": (),
    }
    folders: dict[str, Split | Prior] = {name: data.split(name) for name in data.splits}
    folders |= {"prior": data.prior} if data.has_prior else {}
    arrays = [
        (folder, name, array.shape)
        for folder, holder in folders.items()
        for name in cells
        if (array := getattr(holder, name, None)) is not None
    ]
    poses = np.array([name.startswith(("poses", "joints")) for _, name, _ in arrays])
    wrong_cell = np.array([shape[1:] != cells[name] for _, name, shape in arrays])
    return {
        "row": np.array([f"{folder}/{name} {shape}" for folder, name, shape in arrays]),
        "wrong_rows": np.array([shape[:1] != (data.counts[at],) for at, _, shape in arrays]),
        "wrong_joints": wrong_cell & poses,
        "wrong_size": wrong_cell & ~poses,
    }


def _samples_table(data: Dataset) -> Table:
    """One row per image of both splits: poses, cameras, leaks and exact copies."""
    samples = np.concatenate([data.split(name).samples for name in data.splits])
    of_split = np.concatenate([[name] * data.counts[name] for name in data.splits])
    table = {"row": _row_names(data), "wrong_crop": _wrong_crops(samples)}
    table |= measure_focal(samples)
    table |= _leaks(samples, of_split, data.info.details)
    table |= _copies(data, of_split)
    table |= _over_time(samples, data.info)
    if has_truth_file(data):
        return table | _measure_truth(data, of_split == "test")
    joints_2d = _known(data, "joints_2d")
    joints_3d = _known(data, "joints_3d_mm")
    if joints_2d is not None:
        table |= _measure_2d(joints_2d, data.info.size)
    if joints_3d is not None:
        table |= _measure_3d(joints_3d, samples["person"], data.skeleton)
        table |= _measure_sides(joints_3d, samples, data.skeleton)
    if joints_2d is not None and joints_3d is not None:
        table["reprojection"] = _reprojection(joints_2d, joints_3d, samples, data.info.size)
        table |= _agreement(joints_2d, joints_3d, samples)
    return table


def _images_table(data: Dataset) -> Table:
    """One row per image whose pixels are checked: all, or ``MOST_IMAGES`` of a split."""
    chosen = {name: _spread(data.counts[name]) for name in data.splits}
    counts = [data.counts[name] for name in data.splits]
    names = np.split(_row_names(data), np.cumsum(counts)[:-1])
    off_body = LABELS_OFF_BODY if has_truth_file(data) else OFF_BODY
    parts = [
        _measure_pixels(data.split(name), chosen[name], off_body, data.info.synthetic)
        | {"row": rows[chosen[name]]}
        for name, rows in zip(data.splits, names, strict=True)
    ]
    table = _joined(parts)
    if len(parts) == 2 and data.info.details.get("split_by") not in ("time", "moment"):
        train, test = (part["thumbnail"] for part in parts)
        likeness = (test @ train.T).max(axis=1)
        table["likeness"] = np.concatenate([np.full(len(train), np.nan), likeness])
    del table["thumbnail"]
    return table


def _prior_tables(data: Dataset) -> dict[str, Table]:
    """One row per unpaired pose, and rows per bone and pair of joints over all of them."""
    bones, pairs = measure_joints(data.prior.poses_2d, data.skeleton, data.info.size)
    tables = {"prior": _prior_table(data), "prior_bones": bones, "prior_pairs": pairs}
    return {name: table for name, table in tables.items() if table}


def _prior_table(data: Dataset) -> Table:
    """One row per unpaired pose."""
    poses, samples, size = data.prior.poses_2d, data.prior.samples, data.info.size
    seen = np.concatenate([data.split(name).samples["clip"] for name in data.splits])
    turned = upside_down(poses, data.skeleton)
    return {
        "row": np.array([f"prior[{i}] of clip {clip}" for i, clip in enumerate(samples["clip"])]),
        "wrong_crop": _wrong_crops(samples),
        # An all-NaN pose has no extent; it fails as non-finite alone.
        "extent": np.nan_to_num(np.ptp(poses, axis=1).max(axis=-1), nan=size) / size,
        "clip_shared": np.isin(samples["clip"], seen),
        **({} if turned is None else {"upside_down": turned}),
        **measure_poses(poses, samples, data.skeleton, size),
    } | _measure_2d(poses, size)


def _measure_2d(joints_2d: NDArray[np.floating], size: int) -> Table:
    """(N, J, 2) crop pixels: non-finite values, and how far outside of the crop, over its side."""
    beyond = np.maximum(-joints_2d, joints_2d - size).max(axis=(1, 2)) / size
    return {
        "non_finite_2d": (~np.isfinite(joints_2d)).sum(axis=(1, 2)),
        "outside": np.where(np.isnan(beyond), np.nan, np.maximum(beyond, 0)),
    }


def _measure_3d(
    joints_mm: NDArray[np.floating], person: NDArray[np.str_], skeleton: Skeleton
) -> Table:
    """Bones and depth of (N, J, 3) poses, mm, camera frame; person: (N,) names."""
    lengths = bone_lengths(joints_mm, skeleton)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = lengths.mean(axis=1, keepdims=True)
        size = mean[:, 0] / np.mean(skeleton.bone_lengths_mm)
        relative = lengths / mean
        bones = relative / skeleton.relative_bone_lengths
        typical = np.empty_like(relative)
        for name in np.unique(person):
            own = person == name
            typical[own] = np.nanmedian(relative[own], axis=0)
        return {
            "non_finite_3d": (~np.isfinite(joints_mm)).sum(axis=(1, 2)),
            # Against the skeleton's, whichever way they are off: mean length, and the worst bone's
            # relative length; then the largest change of a relative length within the person.
            "size_factor": np.maximum(size, 1 / size),
            "bone_factor": np.maximum(bones, 1 / bones).max(axis=1),
            "bone_drift": np.abs(relative / typical - 1).max(axis=1),
            "depth_mm": joints_mm[..., 2].min(axis=1),
        }


def _measure_sides(
    joints_mm: NDArray[np.floating], samples: NDArray[np.void], skeleton: Skeleton
) -> Table:
    """Whether left is left in (N, J, 3) poses, mm, camera frame; see ``side_cues``."""
    table: Table = {"sides_jump": _sides_jump(joints_mm, samples, skeleton)}
    cues = side_cues(joints_mm, skeleton)
    if cues is None:
        return table
    table["twisted"], bend = cues
    table["knee_bend"] = np.full(len(bend), np.nan)
    for person in np.unique(samples["person"]):
        own = samples["person"] == person
        known = bend[own & np.isfinite(bend)]
        if len(known) >= FEWEST_BENT:
            table["knee_bend"][own] = known.mean()
    return table


def _sides_jump(
    joints_mm: NDArray[np.floating], samples: NDArray[np.void], skeleton: Skeleton
) -> NDArray[np.bool_]:
    """(N,) whether swapping sides brings a pose three times nearer to the frame before.

    Half a stride later the legs of a body that lies have changed places along its axis, too; there
    left must also have come to the axis's other side.
    """
    order = np.lexsort([samples["frame"], samples["camera"], samples["clip"]])
    before, after = order[:-1], order[1:]
    # Joints that are known in both frames, and their partners too: all, or those labelled.
    known = np.isfinite(joints_mm).all(axis=-1)
    known = known[after] & known[before]
    known &= known[:, skeleton.swap]
    now, then = (
        _centred(np.where(known[..., None], joints_mm[rows], np.nan), skeleton)
        for rows in (after, before)
    )
    moved = _row_mean(np.linalg.norm(now - then, axis=-1))
    swapped = _row_mean(np.linalg.norm(now[:, skeleton.swap] - then, axis=-1))
    same_take = (samples["clip"][after] == samples["clip"][before]) & (
        samples["camera"][after] == samples["camera"][before]
    )
    jumps = np.zeros(len(samples), dtype=bool)
    jumps[after] = same_take & (swapped < moved / 3)
    if skeleton.axis and skeleton.pairs:
        left = _left_of_axis(joints_mm, skeleton)
        jumps[after] &= (left[after] * left[before]).sum(axis=1) < 0
    return jumps


def _centred(joints: NDArray[np.floating], skeleton: Skeleton) -> NDArray[np.floating]:
    """(N, J, 3) about the root, or where it is unknown about the mean of the known joints."""
    root = joints[:, skeleton.root_index]
    mean = np.stack([_row_mean(joints[..., axis]) for axis in range(3)], axis=-1)
    centred: NDArray[np.floating] = joints - np.where(np.isnan(root), mean, root)[:, None]
    return centred


def _left_of_axis(joints_mm: NDArray[np.floating], skeleton: Skeleton) -> NDArray[np.floating]:
    """(N, 3) from right to left, square to the axis: the mean over all pairs."""
    ahead = joints_mm[:, skeleton.axis_path[-1]] - joints_mm[:, skeleton.axis_path[0]]
    left, right = (
        joints_mm[:, [skeleton.index(pair[side]) for pair in skeleton.pairs]].mean(axis=1)
        for side in (0, 1)
    )
    length = np.maximum((ahead**2).sum(axis=1), 1e-9)
    across: NDArray[np.floating] = left - right
    return across - ((across * ahead).sum(axis=1) / length)[:, None] * ahead


def _reprojection(
    joints_2d: NDArray[np.floating],
    joints_mm: NDArray[np.floating],
    samples: NDArray[np.void],
    size: int,
) -> NDArray[np.floating]:
    """(N,) largest distance of projected 3D from 2D, over the crop's side; NaN without camera."""
    distance = np.linalg.norm(_projected(joints_mm, samples, size) - joints_2d, axis=-1)
    largest: NDArray[np.floating] = np.fmax.reduce(distance, axis=1) / size  # of known joints
    return largest


def _projected(
    joints_mm: NDArray[np.floating], samples: NDArray[np.void], size: int
) -> NDArray[np.floating]:
    """(N, J, 2) pixels of the crop that a camera sees (N, J, 3) at; NaN without camera."""
    with np.errstate(divide="ignore", invalid="ignore"):
        rays = joints_mm[..., :2] / joints_mm[..., 2:]
        pixels = rays * samples["focal"][:, None] + samples["principal"][:, None]
        return to_crop(pixels, samples["crop"], size)


def _agreement(
    joints_2d: NDArray[np.floating], joints_mm: NDArray[np.floating], samples: NDArray[np.void]
) -> Table:
    """Whether 3D shows what 2D shows, where no camera is known; empty where all cameras are.

    (N,) correlation over the joints of x / z with x, or of y / z with y, the smaller. It is near 1
    whatever the camera, and near -1 where an axis is mirrored.
    """
    unknown = np.isnan(np.hstack([samples["focal"], samples["principal"]])).any(axis=1)
    if not unknown.any():
        return {}
    rays = joints_mm[..., :2] / np.where(joints_mm[..., 2:] > 0, joints_mm[..., 2:], np.nan)
    known = np.asarray(np.isfinite(rays + joints_2d).all(axis=2), np.bool_)
    smaller = np.full(len(samples), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):  # of bodies that are one point
        for row in np.flatnonzero(unknown & (known.sum(axis=1) >= FEWEST_JOINTS)):
            pairs = zip(rays[row, known[row]].T, joints_2d[row, known[row]].T, strict=True)
            smaller[row] = min(np.corrcoef(*pair)[0, 1] for pair in pairs)
    return {"agreement": smaller}


def _measure_pixels(split: Split, rows: NDArray[np.intp], off_body: str, synthetic: bool) -> Table:
    """Mask, background and brightness of the given images, and their thumbnails.

    ``off_body`` is the column for the share of joints that lie off the mask. Rendered floors
    mirror nothing.
    """
    tables = []
    for chunk in _chunks(rows):
        table = _measure_chunk(split, chunk, off_body)
        if not synthetic:
            pairs = zip(split.images[chunk], split.masks[chunk], strict=True)
            table["mirrored"] = np.array([mirrored(image, mask) for image, mask in pairs])
        tables.append(table)
    return _joined(tables)


def _measure_chunk(split: Split, rows: NDArray[np.intp], off_body: str) -> Table:
    images, masks = split.images[rows], split.masks[rows]
    level = images.max(axis=-1)
    outside = masks == 0
    table: Table = {
        "mask_coverage": (masks > 127).mean(axis=(1, 2)),
        # Mean of the brightest channel outside of the mask.
        "background_level": (level * outside).sum(axis=(1, 2))
        / np.maximum(outside.sum(axis=(1, 2)), 1),
        "brightest": level.max(axis=(1, 2)),
        "thumbnail": _thumbnails(images),
        "mask_on_border": _on_border(masks, split.samples[rows]),
    }
    labels = off_body == LABELS_OFF_BODY
    joints_2d = _labels_2d(split) if labels else split.joints_2d
    if joints_2d is not None:
        poses = joints_2d[rows]
        if not labels:  # a pose of which a part is unknown is wrong as a whole
            poses = np.where(np.isfinite(poses).all(axis=(1, 2), keepdims=True), poses, np.nan)
        samples, size = split.samples[rows], split.images.shape[1]
        seen = _in_source(poses, samples, size)
        grown = [_grown(mask) for mask in masks]
        table[off_body] = _off_body(grown, poses, seen)
        if labels:
            others = [_off_body(grown, pose, seen) for pose in _mirrored(poses, samples, size)]
            table["labels_mirrored"] = table[off_body] - np.min(others, axis=0)
    elif labels:  # a training image beside labelled ones
        table[off_body] = table["labels_mirrored"] = np.full(len(rows), np.nan)
    return table


def _mirrored(
    joints: NDArray[np.floating], samples: NDArray[np.void], size: int
) -> Iterator[NDArray[np.floating]]:
    """(N, J, 2) crop pixels with x, y or both mirrored about the middle of the source image."""
    crop = samples["crop"].astype(np.float64)
    source, extent = to_source(joints, crop, size), samples["source_size"][:, None]
    for axes in ([True, False], [False, True], [True, True]):
        yield to_crop(np.where(axes, extent - source, source), crop, size)


def _in_source(
    joints: NDArray[np.floating], samples: NDArray[np.void], size: int
) -> NDArray[np.bool_]:
    """(N, J) whether joints are known and lie in the source image, where its size is known."""
    source = to_source(joints, samples["crop"].astype(np.float64), size)
    border = samples["source_size"][:, None]
    inside = ((source >= 0) & (source < border)).all(axis=2)
    known = np.isfinite(joints).all(axis=2)
    return np.asarray(known & (inside | (border <= 0).any(axis=2)))


def _on_border(masks: NDArray[np.uint8], samples: NDArray[np.void]) -> NDArray[np.floating]:
    """(n,) share that (n, S, S) masks cover of the source image's border, or the crop's if larger.

    Beyond the crop there is no mask; where the image's size is unknown, the crop's border alone is
    looked at.
    """
    size = masks.shape[1]
    along, zeros = np.linspace(0, 1, SAMPLED), np.zeros(SAMPLED)
    sides = (along, zeros), (along, zeros + 1), (zeros, along), (zeros + 1, along)
    border = np.concatenate([np.stack(side, axis=-1) for side in sides])  # of the unit square
    extent = samples["source_size"].astype(float)
    corners = np.stack([np.zeros_like(extent), extent], axis=1)
    low, high = np.moveaxis(to_crop(corners, samples["crop"].astype(float), size), 1, 0)
    # A pixel of the crop inwards: that on the edge is mixed with the black outside.
    low, high = low + 1, high - 1
    points = np.floor(low[:, None] + border * (high - low)[:, None])
    points = np.nan_to_num(points, nan=-1).clip(-1, size).astype(int)
    inside = ((points >= 0) & (points < size)).all(axis=-1)
    x, y = np.moveaxis(points.clip(0, size - 1), -1, 0)
    covered = inside & (masks[np.arange(len(masks))[:, None], y, x] > 127)
    of_image = covered.mean(axis=1) * (extent > 0).all(axis=1)
    edges = masks[:, [0, -1]], masks[:, :, [0, -1]]
    of_crop = np.mean([(edge > 127).mean(axis=(1, 2)) for edge in edges], axis=0)
    return np.maximum(of_image, of_crop)


def _off_body(
    grown: Sequence[NDArray[np.bool_]],
    joints: NDArray[np.floating],
    seen: NDArray[np.bool_],
) -> NDArray[np.floating]:
    """(N,) share of the ``seen`` (N, J) ones of (N, J, 2) joints that lie off N grown masks.

    NaN where none is seen.
    """
    shares = np.full(len(joints), np.nan)
    for row in np.flatnonzero(seen.any(axis=1)).tolist():
        x, y = np.clip(np.floor(joints[row, seen[row]]), 0, len(grown[row]) - 1).astype(int).T
        shares[row] = np.mean(~grown[row][y, x])
    return shares


def _grown(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """A mask and what is near it."""
    radius = int(np.ceil(NEAR * len(mask)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray(cv2.dilate(mask, disc)) > 127


def _thumbnails(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, 3 * THUMBNAIL^2), of mean zero and norm 1."""
    side = (THUMBNAIL, THUMBNAIL)
    small = [cv2.resize(image, side, interpolation=cv2.INTER_AREA) for image in images]
    flat = np.stack(small).reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    unit: NDArray[np.float32] = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1)
    return unit


def _leaks(
    samples: NDArray[np.void], of_split: NDArray[np.str_], details: Mapping[str, Any]
) -> Table:
    """Rows whose person or clip is also in the other split; of a split by time, whose time is."""
    test = of_split == "test"
    if details.get("split_by") == "moment":
        return {"moment_shared": _shared_moments(samples, test, details["folder"]["exclude"])}
    if details.get("split_by") == "time":
        takes, frame = samples[["clip", "camera"]], samples["frame"]
        early = np.zeros(len(samples), dtype=bool)  # not after all training rows of the take
        for take in np.unique(takes):
            own = takes == take
            early |= own & test & (frame <= frame[own & ~test].max(initial=-1))
        return {"time_overlaps": early}

    def shared(name: str) -> NDArray[np.bool_]:
        both = np.intersect1d(samples[name][test], samples[name][~test])
        return np.isin(samples[name], both[both != ""])

    return {"person_shared": shared("person"), "clip_shared": shared("clip")}


def _shared_moments(
    samples: NDArray[np.void], test: NDArray[np.bool_], reach: int
) -> NDArray[np.bool_]:
    """Training rows within ``reach`` frames of a test row of their clip, in any camera."""
    shared = np.zeros(len(samples), dtype=bool)
    for clip in np.unique(samples["clip"][test]):
        own = samples["clip"] == clip
        moments = np.unique(samples["frame"][own & test])
        frames = samples["frame"].astype(np.int64)
        first = np.searchsorted(moments, frames - reach, side="left")
        shared |= own & ~test & (first < np.searchsorted(moments, frames + reach, side="right"))
    return shared


def _copies(data: Dataset, of_split: NDArray[np.str_]) -> Table:
    """Rows whose image is, byte by byte, an earlier one of its split, or one of the other."""
    chunks = [
        (name, rows) for name in data.splits for rows in _chunks(np.arange(data.counts[name]))
    ]
    digests = np.array(
        [
            hashlib.blake2b(image, digest_size=8).digest()
            for name, rows in track(chunks, "Comparing images", len(chunks))
            for image in data.split(name).images[rows]
        ]
    )
    again = np.ones(len(digests), dtype=bool)
    own = np.char.add(of_split.astype("S5"), digests)
    again[np.unique(own, return_index=True)[1]] = False
    test = of_split == "test"
    both = np.intersect1d(digests[test], digests[~test])
    return {"copy": again, "copy_of_other_split": np.isin(digests, both)}


def _over_time(samples: NDArray[np.void], info: DatasetInfo) -> Table:
    """Crops that change suddenly; where a static camera's bodies were searched for, a fault."""
    folder = info.details.get("folder", {})
    if info.synthetic:  # of a clip, each image has a camera of its own
        return {}
    static = folder.get("background") in STATIC and not folder.get("masks")
    side, jump = sudden_sides(samples), jumps(samples)
    if not static:  # images in a folder may well be of several scenes
        return {"unusual_side": side, "jump": jump}
    return {"intruder": side, "unusual_side": np.minimum(side, 1), "jump": jump}


def _wrong_crops(samples: NDArray[np.void]) -> NDArray[np.bool_]:
    crop = samples["crop"]
    wrong: NDArray[np.bool_] = ~np.isfinite(crop).all(axis=1) | ~(crop[:, 2] > 0)
    return wrong


def _known(data: Dataset, name: str) -> NDArray[np.float32] | None:
    """A column of both splits, or None unless both know it."""
    columns = [getattr(data.split(split), name) for split in data.splits]
    return None if any(column is None for column in columns) else np.concatenate(columns)


def _row_names(data: Dataset) -> NDArray[np.str_]:
    """Each image as a person finds it: its row, and the take and frame that it came from."""
    return np.array(
        [
            f"{name}[{i}] (person {sample['person'] or 'unknown'}, clip {sample['clip']}, "
            + (f"camera {sample['camera']}, " if sample["camera"] else "")
            + f"frame {sample['frame']})"
            for name in data.splits
            for i, sample in enumerate(data.split(name).samples)
        ]
    )


def has_truth_file(data: Dataset) -> bool:
    """Whether its true poses are labels of the test images alone, perhaps of some joints only."""
    return bool(data.info.details.get("folder", {}).get("truth"))


def _labels_2d(split: Split) -> NDArray[np.floating] | None:
    """(N, J, 2) pixels of the crop: labels, or where there are none what a camera sees of 3D."""
    if split.joints_2d is not None or split.joints_3d_mm is None:
        return split.joints_2d
    return _projected(split.joints_3d_mm, split.samples, split.images.shape[1])


def _measure_truth(data: Dataset, test: NDArray[np.bool_]) -> Table:
    """Labels of the test images, unlabelled joints NaN; of training images nothing is known."""
    split, size = data.split("test"), data.info.size
    poses_2d, poses_3d, samples = _labels_2d(split), split.joints_3d_mm, split.samples
    known = poses_3d if poses_3d is not None else poses_2d
    assert known is not None
    found: Table = {"labelled": np.isfinite(known).all(axis=-1).sum(axis=1).astype(float)}
    if poses_2d is not None:
        beyond = np.maximum(-poses_2d, poses_2d - size).max(axis=-1) / size
        # How far the middle label is out: a single hand may well be.
        found["labels_outside"] = np.maximum(_row_median(beyond), 0)
    if poses_3d is not None:
        found |= _measure_labels_3d(poses_3d, samples, data.skeleton)
    if split.joints_2d is not None and poses_3d is not None:
        # Of a focal length alone, the principal point is a guess.
        calibrated = data.info.details["folder"].get("cameras")
        column = "reprojection" if calibrated else "near_reprojection"
        found[column] = _reprojection(split.joints_2d, poses_3d, samples, size)
        found |= _agreement(split.joints_2d, poses_3d, samples)
    table = {}
    for name, values in found.items():
        table[name] = np.full(len(test), np.nan)
        table[name][test] = values
    return table


def _measure_labels_3d(
    joints_mm: NDArray[np.floating], samples: NDArray[np.void], skeleton: Skeleton
) -> Table:
    """Size, depth, up and sides of (N, J, 3) labels, mm, camera frame."""
    lengths = bone_lengths(joints_mm, skeleton)
    typical = np.where(np.isnan(lengths), np.nan, skeleton.bone_lengths_mm)
    ratio = np.nansum(lengths, axis=1) / np.nansum(typical, axis=1).clip(min=1e-9)
    with np.errstate(divide="ignore"):
        factor = np.maximum(ratio, 1 / ratio)
    turned = None if skeleton.axis else upside_down(joints_mm, skeleton)
    sides = _measure_sides(joints_mm, samples, skeleton)
    # Labelled frames may be far apart, or photos: a body that turned round is no swap.
    jump = sides.pop("sides_jump") & _frame_follows(samples)
    return {
        "size_factor": np.where(np.isnan(lengths).all(axis=1), np.nan, factor),
        "depth_mm": np.nanmin(joints_mm[..., 2], axis=1),
        **({} if turned is None else {"labels_upside_down": turned}),
        "labels_jump": jump,
        **sides,
    }


def _frame_follows(samples: NDArray[np.void]) -> NDArray[np.bool_]:
    """(N,) whether a frame comes at most ``NEXT_FRAMES`` after another of its clip and camera."""
    order = np.lexsort([samples["frame"], samples["camera"], samples["clip"]])
    follows = np.zeros(len(samples), dtype=bool)
    follows[order[1:]] = np.diff(samples["frame"][order].astype(np.int64)) <= NEXT_FRAMES
    return follows


def _row_median(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """(N,) median of the known values of each row; NaN where none is known."""
    none = np.isnan(values).all(axis=1, keepdims=True)
    median: NDArray[np.floating] = np.nanmedian(np.where(none, 0, values), axis=1)
    return np.where(none[:, 0], np.nan, median)


def _row_mean(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """(N,) mean of the known values of each row; NaN where none is known."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        mean: NDArray[np.floating] = np.where(known, values, 0).sum(axis=1) / known.sum(axis=1)
    return mean


def _joined(tables: Sequence[Table]) -> Table:
    return {key: np.concatenate([table[key] for table in tables]) for key in tables[0]}


def _spread(count: int) -> NDArray[np.intp]:
    if count <= MOST_IMAGES:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, MOST_IMAGES, replace=False))


def _chunks(rows: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    for start in range(0, len(rows), CHUNK):
        yield rows[start : start + CHUNK]
