"""A score that needs no labels: how well poses cover the bodies, and how constant their bones are.

A body keeps its proportions while it moves, so poses whose proportions change are wrong in depth;
and a pose drawn with its flesh covers its body's mask. Each alone can be cheated (by one pose for
all images; by a flat pose that fits), both at once hardly, unless a body is so round that one pose
covers all masks: so poses that differ less than half as much as the unpaired ones count as wrong,
too. Depth that is mirrored as a whole goes unnoticed: no score without labels sees it.
"""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from skelift.data.format import Prior, Split
from skelift.data.loading import over_crop
from skelift.evaluation.metrics import Array
from skelift.evaluation.predictions import predict_split
from skelift.flesh import Flesh
from skelift.geometry import variety
from skelift.models.pipeline import PosePipeline
from skelift.skeleton import Skeleton

_CHUNK = 256


def label_free_score(
    skeleton: Skeleton,
    joints_2d_px: ArrayLike,
    joints_3d_mm: ArrayLike,
    masks: NDArray[np.uint8],
    persons: NDArray[np.str_],
    prior_2d_px: ArrayLike | None = None,
) -> dict[str, float]:
    """Score predictions against the masks alone; every entry is in per cent, lower is better.

    Args:
        skeleton: the poses' skeleton.
        joints_2d_px: (N, J, 2) predicted, pixels of the crop.
        joints_3d_mm: (N, J, 3) predicted, any origin, unit and scale.
        masks: (N, S, S) uint8, 255 on the body.
        persons: (N,) whose body each image shows.
        prior_2d_px: (M, J, 2) unpaired poses, pixels of the crop; None where there are none.

    Returns:
        ``silhouette_misfit``: 100 minus the overlap (intersection over union, soft) of the drawn
        pose and the mask, mean over images; ``proportion_spread``: standard deviation of each
        relative bone length over its mean, within a person, mean over bones and images;
        ``collapse``, with unpaired poses: 0 where the poses vary at least half as much as these,
        100 where all are one; ``label_free``: their sum.
    """
    misfit = 100 * (1 - _overlap(skeleton, joints_2d_px, masks).mean())
    spread = 100 * _spread(skeleton, joints_3d_mm, persons)
    parts = {"silhouette_misfit": float(misfit), "proportion_spread": float(spread)}
    if prior_2d_px is not None:
        parts["collapse"] = _collapse(np.asarray(joints_2d_px), np.asarray(prior_2d_px))
    return {"label_free": sum(parts.values()), **parts}


def score_without_labels(
    pipeline: PosePipeline,
    images: Split,
    device: torch.device,
    batch: int,
    prior: Prior | None = None,
) -> float:
    """``label_free`` of a pipeline in evaluation mode on some images."""
    predicted = predict_split(pipeline, images, device, batch)
    return label_free_score(
        pipeline.core.skeleton,
        predicted.joints_2d,
        predicted.joints_3d_mm,
        images.masks[:],
        images.samples["person"],
        prior.poses_2d if prior else None,
    )["label_free"]


def _overlap(skeleton: Skeleton, joints_2d_px: ArrayLike, masks: NDArray[np.uint8]) -> Array:
    """(N,) intersection over union of drawn bodies and masks."""
    size = masks.shape[-1]
    draw = Flesh(skeleton, size)
    poses = over_crop(np.asarray(joints_2d_px), size)
    overlaps = []
    for start in range(0, len(poses), _CHUNK):
        body = draw(poses[start : start + _CHUNK])[:, 0].numpy()
        mask = masks[start : start + _CHUNK].astype(np.float32) / 255
        both, either = np.minimum(body, mask), np.maximum(body, mask)
        overlaps.append(both.sum((1, 2)) / either.sum((1, 2)).clip(min=1e-6))
    return np.concatenate(overlaps).astype(np.float64)


def _collapse(poses: NDArray[np.floating], prior: NDArray[np.floating]) -> float:
    own, of_prior = (
        float(variety(torch.from_numpy(np.array(p, np.float32)))) for p in (poses, prior)
    )
    return 100 * max(1 - 2 * own / max(of_prior, 1e-9), 0.0)


def _spread(skeleton: Skeleton, joints_3d_mm: ArrayLike, persons: NDArray[np.str_]) -> float:
    poses = np.asarray(joints_3d_mm, dtype=np.float64)
    start, end = skeleton.bone_indices.T
    lengths = np.linalg.norm(poses[:, end] - poses[:, start], axis=-1)
    relative = lengths / lengths.mean(1, keepdims=True).clip(min=1e-9)
    total = 0.0
    for person in np.unique(persons):
        own = relative[persons == person]
        total += len(own) * float((own.std(0) / own.mean(0).clip(min=1e-9)).mean())
    return total / len(relative)
