"""What tells that unpaired 2D poses are those of the skeleton: its proportions, sides and order.

Nothing but these poses tells a network what a body is, so joints in another order than the
skeleton's are learnt without a word. Over many poses the longest 2D lengths are those of bones that
lie in the image, whatever the views; a table has a row per bone, and one per pair of joints.
"""

import numpy as np
from numpy.typing import NDArray

from skelift.data.crop import to_source
from skelift.data.table import Table
from skelift.skeleton import Skeleton

FEWEST_POSES = 50  # that differ: their longest lengths and their sides say something
LONGEST = 0.95  # quantile of a 2D length over poses
FARTHEST_JOINT = 10.0  # from a pose's middle, over the typical distance; rendered people reach 8
BEYOND_IMAGE = 0.05  # how far outside of its image a joint may lie, over the image's longer side
NO_SIZE = 1e-3  # of the crop's side: a typical distance that is none


def measure_poses(
    poses: NDArray[np.floating], samples: NDArray[np.void], skeleton: Skeleton, size: int
) -> Table:
    """A row per pose of (N, J, 2) crop pixels: copies, outliers, and what its image tells."""
    copy, same = _copies(poses)
    table: Table = {
        "copy": copy,
        "same_pose": same,
        "farthest": _farthest(poses, size),
        **measure_focal(samples),
    }
    if (outside := _outside_image(poses, samples, size)) is not None:
        table["outside_image"] = outside
    if not skeleton.axis and {"l_ankle", "r_ankle"} <= set(skeleton.joints):
        up = np.abs(poses[:, skeleton.head_index] - poses[:, skeleton.root_index])
        table["lying"] = np.where(np.isnan(up).any(axis=1), np.nan, up[:, 0] > up[:, 1])
    return table


def measure_joints(
    poses: NDArray[np.floating], skeleton: Skeleton, size: int
) -> tuple[Table, Table]:
    """Tables of bones and of left and right partners; empty where poses that differ are few."""
    copy, _ = _copies(poses)
    usual = _farthest(poses, size) <= FARTHEST_JOINT
    kept = poses[usual & ~copy].astype(np.float64)
    if len(kept) < FEWEST_POSES:
        return {}, {}
    relative = kept / _typical(kept, size)[:, None, None]
    return _bones(relative, skeleton), _pairs(relative, skeleton)


def measure_focal(samples: NDArray[np.void]) -> Table:
    """Focal lengths over the longer side of their images; empty where all are unknown."""
    side = samples["source_size"].max(axis=1)
    share = np.where(side > 0, samples["focal"].mean(axis=1) / np.maximum(side, 1), np.nan)
    return {} if np.isnan(share).all() else {"focal_share": share}


def _bones(poses: NDArray[np.float64], skeleton: Skeleton) -> Table:
    """Length of each bone over the skeleton's, and whether joints of a limb are in order."""

    def longest(one: int, other: int) -> float:
        apart = np.linalg.norm(poses[:, one] - poses[:, other], axis=-1)
        return float(np.quantile(apart, LONGEST))

    lengths = np.array([longest(a, b) for a, b in skeleton.bone_indices.tolist()])
    ratio = lengths / skeleton.bone_lengths_mm
    ratio = np.maximum(ratio / np.median(ratio).clip(min=1e-9), 1e-9)
    parent_of = {child: parent for parent, child in skeleton.bone_indices.tolist()}
    # Of a knee exchanged with its ankle: it is half as far from the hip as its "parent" is.
    order = np.full(len(ratio), np.nan)
    for row, (parent, child) in enumerate(skeleton.bone_indices.tolist()):
        before = parent_of.get(parent)
        if before is not None:
            order[row] = longest(before, child) / max(longest(before, parent), 1e-9)
    return {
        "row": np.array([f"prior's bone {a} to {b}" for a, b in skeleton.bones]),
        "length_factor": np.maximum(ratio, 1 / ratio),
        "order": order,
    }


def _pairs(poses: NDArray[np.float64], skeleton: Skeleton) -> Table:
    """How often the left of a pair is on the other side than the left of the pair before it.

    That is the pair of their parents; of pairs that hang on the midline, all others that do. Of a
    body from the side neither is wide, and legs cross as it walks: the poses in which the pair
    before is among the widest quarter are looked at.
    """
    across = {pair: poses[:, pair[0]] - poses[:, pair[1]] for pair in _indices(skeleton)}
    parent_of = {child: parent for parent, child in skeleton.bone_indices.tolist()}
    trunk = [(left, right) for left, right in skeleton.trunk_pairs.tolist()]
    rows, shares = [], []
    for pair, own in across.items():
        parents = parent_of.get(pair[0], -1), parent_of.get(pair[1], -1)
        before = [parents] if parents in across else [t for t in trunk if t != pair]
        if not before or (parents not in across and pair not in trunk):
            continue
        other = sum((across[one] for one in before), start=np.zeros_like(own))
        width = np.linalg.norm(other, axis=1)
        wide = width >= np.quantile(width, 0.75)
        rows.append(f"prior's {skeleton.joints[pair[0]]} and {skeleton.joints[pair[1]]}")
        shares.append(((own * other).sum(axis=1) < 0)[wide].mean())
    return {"row": np.array(rows), "crossed": np.array(shares)} if rows else {}


def _indices(skeleton: Skeleton) -> list[tuple[int, int]]:
    return [(skeleton.index(left), skeleton.index(right)) for left, right in skeleton.pairs]


def _copies(poses: NDArray[np.floating]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(N,) rows that are an earlier pose, and those that are copies of the commonest one."""
    flat = np.ascontiguousarray(poses.reshape(len(poses), -1).astype(np.float32).round(3))
    bytes_of = flat.view(np.dtype((np.void, flat.dtype.itemsize * flat.shape[1]))).ravel()
    _, first, which, counts = np.unique(
        bytes_of, return_index=True, return_inverse=True, return_counts=True
    )
    copy = np.ones(len(poses), dtype=bool)
    copy[first] = False
    return copy, copy & (which.ravel() == counts.argmax())


def _typical(poses: NDArray[np.floating], size: int) -> NDArray[np.floating]:
    """(N,) the size of a pose: the median distance of its joints from their median."""
    typical: NDArray[np.floating] = np.median(_from_middle(poses), axis=1)
    return np.maximum(typical, NO_SIZE * size)


def _from_middle(poses: NDArray[np.floating]) -> NDArray[np.floating]:
    """(N, J) distances of joints from the median of their pose."""
    apart: NDArray[np.floating] = np.linalg.norm(
        poses - np.median(poses, axis=1, keepdims=True), axis=-1
    )
    return apart


def _farthest(poses: NDArray[np.floating], size: int) -> NDArray[np.floating]:
    """(N,) distance of the joint farthest from a pose's middle, over the typical one; NaN stays."""
    with np.errstate(invalid="ignore"):  # of infinite joints, which another rule is about
        farthest: NDArray[np.floating] = _from_middle(poses).max(axis=1) / _typical(poses, size)
    return farthest


def _outside_image(
    poses: NDArray[np.floating], samples: NDArray[np.void], size: int
) -> NDArray[np.floating] | None:
    """(N,) share of joints outside of their image, NaN where its size is unknown; None: all are."""
    extent = samples["source_size"].astype(np.float64)
    if not extent.any():
        return None
    reach = BEYOND_IMAGE * extent.max(axis=1)[:, None, None]
    places = to_source(poses.astype(np.float64), samples["crop"].astype(np.float64), size)
    outside = ((places < -reach) | (places > extent[:, None] + reach)).any(axis=2).mean(axis=1)
    return np.where((extent > 0).all(axis=1), outside, np.nan)
