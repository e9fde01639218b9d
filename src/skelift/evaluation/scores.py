"""Scores of one model: every metric over all images, per activity and per side seen.

``measure`` gives the numbers of each image; every score is a mean of them over some images.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skelift.errors import InputError
from skelift.evaluation import metrics
from skelift.evaluation.bootstrap import interval
from skelift.evaluation.heading import FRONT_DEGREES, facing, heading_error_deg, quarter
from skelift.evaluation.metrics import Array
from skelift.skeleton import Skeleton

Scores = dict[str, float]
MEDIANS = ("heading_error_deg",)  # all other scores are means
_COUNTS = ("images_without_root",)  # not means; absent where 0
# Scores with an interval.
WITH_INTERVAL = (
    *("p_mpjpe_mm", "n_mpjpe_mm", "error_2d_px", "error_2d_swapped_px", "swapped_share"),
    *("error_2d_mm", "error_2d_percent", "error_2d_swapped_percent", "heading_wrong_share"),
)


class Poses(TypedDict, total=False):
    """Poses of N images; what is not predicted, or not known to be true, is None or absent."""

    predicted_3d_mm: ArrayLike | None  # (N, J, 3) mm, camera frame; any origin
    true_3d_mm: ArrayLike | None  # (N, J, 3) mm, camera frame; NaN: a joint is not labelled
    predicted_2d_px: ArrayLike | None  # (N, J, 2) pixels of the crop
    true_2d_px: ArrayLike | None  # (N, J, 2) pixels of the crop; NaN: a joint is not labelled
    mm_per_px: ArrayLike | None  # (N,) what a pixel of the crop measures at the body's distance
    height_mm: float | None  # of the body


def score(
    skeleton: Skeleton,
    activities: Sequence[str] | NDArray[np.str_],
    *,
    cameras: NDArray[np.str_] | None = None,
    moments: NDArray[np.str_] | None = None,
    **poses: Unpack[Poses],
) -> dict[str, Any]:
    """Score predictions: one row of ``metrics.json``, ready for JSON.

    Args:
        skeleton: names the root, the partners and the evaluated joints.
        activities: (N,) activity of each image.
        cameras: (N,) camera of each image; None: no scores per camera.
        moments: (N,) names of the moments that images show, alike for views of one; None: no
            intervals.
        **poses: predicted and true ones.

    Returns:
        ``{"overall": scores, "per_activity": {activity: scores}, "per_facing": {side: scores}}``,
        where scores are ``{"images": count, metric: mean over the images}`` (see ``protocol``).
        ``per_facing`` is absent where sides are unknown (see ``heading.facing``); a body with an
        axis has ``per_heading`` instead (see ``heading.quarter``). Beside them, where asked for,
        ``per_camera`` and ``interval``, {metric: [low, high]}.

    Raises:
        InputError: shapes that do not fit each other, or values that are not finite.
    """
    measured = measure(skeleton, **poses)
    _check_numbers(measured)
    activities = np.asarray(activities)
    if not len(activities) or any(len(v) != len(activities) for v in measured.values()):
        raise InputError(
            f"{len(activities)} activities for {max(map(len, measured.values()), default=0)} "
            "scored images; score at least one image, each with its activity"
        )
    result: dict[str, Any] = {
        "overall": _means(measured, np.arange(len(activities))),
        "per_activity": _means_by(measured, activities),
    }
    if cameras is not None and len(np.unique(cameras)) > 1:
        result["per_camera"] = _means_by(measured, cameras)
    if moments is not None:
        result["interval"] = {
            name: interval(measured[name][known], moments[known])
            for name in WITH_INTERVAL
            if name in measured and (known := ~np.isnan(measured[name])).any()
        }
    truth = poses.get("true_3d_mm")
    group, side_of = ("per_heading", quarter) if skeleton.axis else ("per_facing", facing)
    if truth is not None and (sides := side_of(truth, skeleton)) is not None:
        result[group] = _means_by(measured, sides)
    return result


def measure(skeleton: Skeleton, **poses: Unpack[Poses]) -> dict[str, Array]:
    """All metrics of each image: metric -> (N,). Arguments and errors as of ``score``."""
    measured: dict[str, Array] = {}
    predicted, truth = poses.get("predicted_3d_mm"), poses.get("true_3d_mm")
    if predicted is not None and truth is not None:
        pair = _checked("3D", predicted, truth, (len(skeleton), 3))
        measured |= _measure_3d(*pair, skeleton, poses.get("height_mm"))
    predicted, truth = poses.get("predicted_2d_px"), poses.get("true_2d_px")
    if predicted is not None and truth is not None:
        pair = _checked("2D", predicted, truth, (len(skeleton), 2))
        measured |= _measure_2d(*pair, skeleton)
        measured |= _in_the_world(measured, poses.get("mm_per_px"), poses.get("height_mm"))
    return measured


def protocol(skeleton: Skeleton, size: int) -> dict[str, str]:
    """What each metric is, in words: the ``protocol`` entry of ``metrics.json``.

    ``size`` is the side of the square crop whose pixels the 2D errors count.
    """
    heading = {
        "heading_error_deg": "degrees about the camera's vertical axis between the predicted and "
        f"the true direction from {' to '.join(skeleton.axis)} (of the outermost labelled joints "
        "on the way, where these are not), median over images",
        "heading_wrong_share": "per cent of images with a heading error above 90 degrees",
        "per_heading": "where the true pose heads: away from the camera, towards it, to the "
        "image's left or right, within 45 degrees",
    }
    facing_side = {
        "per_facing": "front, side or back of the trunk towards the camera, within "
        f"{FRONT_DEGREES:.0f} degrees, from the true 3D pose",
    }
    everything, counted = len(skeleton), len(skeleton.evaluated_indices)
    pixels = f"pixels of the {size} x {size} crop, mean over all {everything} joints"
    return {
        "means": "over images, each counted once; activities are not weighted equally",
        "p_mpjpe_mm": "similarity alignment of each pose without reflection, then the mean "
        f"distance over all {everything} joints (Human3.6M protocol II)",
        "p_mpjpe_reflected_mm": "the same with mirrored alignment allowed (as ElePose scores): "
        "for comparison only, since it hides depth flips",
        "mpjpe_mm": f"root-relative ({skeleton.root}), no alignment (Human3.6M protocol I)",
        "n_mpjpe_mm": "root-relative, best scale of each pose",
        "pck_150": "headline: per cent of joints strictly nearer than 150 mm, root-aligned with "
        f"the best scale of each pose, {counted} evaluated joints; same as pck_150_root_evaluated",
        "auc": "headline: mean of PCK over 0:5:150 mm (31 thresholds), aligned as pck_150; same "
        "as auc_root_evaluated",
        "pck_tenth": "the same as pck_150 with a tenth of the body's height for 150 mm",
        "alignments": "..._root_...: root-relative with the best scale of each pose; "
        "..._procrustes_...: similarity alignment without reflection; both fitted to all joints",
        "joints": f"..._evaluated: {', '.join(skeleton.evaluated or skeleton.joints)}; "
        f"..._all: all {everything}, the always-correct root among them",
        "error_2d_px": f"{pixels}, left and right as predicted",
        "error_2d_swapped_px": f"{pixels}; for each image the smaller of the error as it is and "
        "the error with all left and right joints swapped at once",
        "error_2d_mm": "2D error in mm at the body's distance (mean depth of its labelled joints)",
        "error_2d_percent": "the same in per cent of the body's height; error_2d_swapped_percent: "
        "with sides swapped where that is nearer",
        "labels": "joints that are not labelled count nowhere; where the root is not labelled in "
        "all images, root-relative means centred on the labelled joints",
        "images_without_root": "in how many images it is not, if any",
        "images_with_pck": "how many images have a labelled joint among the evaluated ones, "
        "unless all have; the others count in no PCK or AUC of those",
        "interval": "2.5 to 97.5 per cent of 1000 bootstrap draws over moments; neighbouring "
        "moments are alike, so it is too narrow",
        "swapped_share": "per cent of images where the swapped pose is strictly nearer",
        "label_free": "silhouette_misfit + proportion_spread: needs no truth; only beside overall",
        "silhouette_misfit": "100 minus the per cent that the drawn 2D pose and the mask overlap",
        "proportion_spread": "per cent by which the relative 3D bone lengths of a person vary",
    } | (heading if skeleton.axis else facing_side)


def _measure_3d(
    predicted: Array, truth: Array, skeleton: Skeleton, height_mm: float | None
) -> dict[str, Array]:
    root = skeleton.root_index
    unlabelled = np.isnan(truth[:, root]).any(axis=-1)
    measured = {
        "images_without_root": np.asarray(unlabelled, np.float64),
        "p_mpjpe_mm": metrics.p_mpjpe(predicted, truth),
        "p_mpjpe_reflected_mm": metrics.p_mpjpe_reflected(predicted, truth),
        "mpjpe_mm": metrics.mpjpe(predicted, truth, root),
        "n_mpjpe_mm": metrics.n_mpjpe(predicted, truth, root),
    }
    distances = {
        "root": metrics.joint_distances(
            metrics.scale_align(predicted, truth, root), metrics.relative(truth, truth, root)
        ),
        "procrustes": metrics.joint_distances(metrics.similarity_align(predicted, truth), truth),
    }
    subsets = {"evaluated": skeleton.evaluated_indices, "all": np.arange(len(skeleton))}
    for alignment, distance in distances.items():
        for subset, joints in subsets.items():
            measured[f"pck_150_{alignment}_{subset}"] = metrics.pck(distance[:, joints])
            measured[f"auc_{alignment}_{subset}"] = metrics.auc(distance[:, joints])
    headline = {name: measured[f"{name}_root_evaluated"] for name in ("pck_150", "auc")}
    if height_mm is not None:
        tenth = metrics.pck(distances["root"][:, subsets["evaluated"]], height_mm / 10)
        headline["pck_tenth"] = tenth
    return measured | headline | _measure_heading(predicted, truth, skeleton)


def _measure_heading(predicted: Array, truth: Array, skeleton: Skeleton) -> dict[str, Array]:
    """Of a body with an axis; NaN where the labelled joints do not tell."""
    error = heading_error_deg(predicted, truth, skeleton) if skeleton.axis else None
    if error is None:
        return {}
    wrong = np.where(np.isnan(error), np.nan, 100.0 * (error > 90))
    return {"heading_error_deg": error, "heading_wrong_share": wrong}


def _measure_2d(predicted: Array, truth: Array, skeleton: Skeleton) -> dict[str, Array]:
    return {
        "error_2d_px": metrics.error_2d_px(predicted, truth),
        "error_2d_swapped_px": metrics.error_2d_swapped_px(predicted, truth, skeleton.swap),
        "swapped_share": np.where(metrics.is_swapped(predicted, truth, skeleton.swap), 100.0, 0.0),
    }


def _in_the_world(
    measured: Mapping[str, Array], mm_per_px: ArrayLike | None, height_mm: float | None
) -> dict[str, Array]:
    """2D errors in mm, and in per cent of the body's height, where these are known."""
    if mm_per_px is None:
        return {}
    scale = np.asarray(mm_per_px, dtype=np.float64)
    found = {"error_2d_mm": scale * measured["error_2d_px"]}
    if height_mm is not None:
        percent = 100 * scale / height_mm
        found["error_2d_percent"] = percent * measured["error_2d_px"]
        found["error_2d_swapped_percent"] = percent * measured["error_2d_swapped_px"]
    return found


def _means_by(measured: Mapping[str, Array], groups: NDArray[np.str_]) -> dict[str, Scores]:
    return {
        str(group): _means(measured, np.flatnonzero(groups == group)) for group in np.unique(groups)
    }


def _means(measured: Mapping[str, Array], images: NDArray[np.intp]) -> Scores:
    """Mean of each metric over some images, of PCK and AUC over those with an evaluated joint."""
    means: Scores = {"images": len(images)}
    for name, values in measured.items():
        known = values[images][~np.isnan(values[images])]
        if name in _COUNTS:
            means |= {name: int(known.sum())} if known.any() else {}
        elif len(known):
            means[name] = float(np.median(known) if name in MEDIANS else known.mean())
        if name == "pck_150" and len(known) < len(images):
            means["images_with_pck"] = len(known)
    return means


def _check_numbers(measured: Mapping[str, Array]) -> None:
    """InputError where a metric is no number but for want of a label: a mean would hide it."""
    for name, values in measured.items():
        wrong = np.isinf(values) | (
            np.isnan(values) & (not name.startswith(("pck", "auc", "heading")))
        )
        if wrong.any():
            raise InputError(
                f"{name} of test image {np.flatnonzero(wrong)[0]} is not finite "
                f"({wrong.sum()} such); retrain, or fix the data set (skelift validate)"
            )


def _checked(
    what: str, predicted: ArrayLike, truth: ArrayLike, shape: tuple[int, int]
) -> tuple[Array, Array]:
    p, g = np.asarray(predicted, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    for name, poses in (("predicted", p), ("true", g)):
        if poses.shape[1:] != shape or len(poses) != len(p):
            raise InputError(
                f"{name} {what} poses have shape {poses.shape}, expected ({len(p)}, "
                f"{shape[0]}, {shape[1]}); score poses of one skeleton, one per image"
            )
        # A joint that is not labelled is NaN in the truth; a pose without any is broken.
        unlabelled = np.asarray(np.isnan(poses).all(-1)) & (name == "true")
        wrong = np.asarray(~np.isfinite(poses).all(-1) & ~unlabelled)
        broken = np.flatnonzero(wrong.any(1) | unlabelled.all(1))
        if len(broken):
            raise InputError(
                f"{name} {what} pose of test image {broken[0]} is not finite "
                f"({len(broken)} such); retrain, or fix the data set (skelift validate)"
            )
    return p, g
