"""Predictions of a pipeline for every image of a split."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from skelift.data.format import Split
from skelift.data.loading import ImageLoader
from skelift.models.posenet import PoseNet


@dataclass(frozen=True)
class Predicted:
    """What a pipeline says of N images.

    Attributes:
        joints_2d: (N, J, 2) pixels of the crop.
        joints_3d_mm: (N, J, 3) root-relative, camera frame, the size of a typical body.
    """

    joints_2d: NDArray[np.float32]
    joints_3d_mm: NDArray[np.float32]


@torch.no_grad()
def predict_split(pose: PoseNet, split: Split, device: torch.device, batch: int) -> Predicted:
    """Predict every image of a split; ``pose`` in evaluation mode."""
    source = ImageLoader(split, device)
    joints_2d, joints_3d = [], []
    for start in range(0, len(source), batch):
        rows = np.arange(start, min(start + batch, len(source)))
        images = source.take(rows)
        poses = pose(images.x, images.view)
        joints_2d.append(((poses.y + 1) / 2 * source.size).cpu())
        joints_3d.append(pose.in_mm(poses.v).cpu())
    return Predicted(torch.cat(joints_2d).numpy(), torch.cat(joints_3d).numpy())


@torch.no_grad()
def skeleton_images(
    pose: PoseNet, split: Split, rows: NDArray[np.int64], device: torch.device
) -> NDArray[np.float32]:
    """(n, C, S, S) skeleton images Phi(x) of the given rows, clipped to [0, 1]."""
    batch = ImageLoader(split, device).take(rows)
    images: NDArray[np.float32] = pose.phi(batch.x).clamp(0, 1).float().cpu().numpy()
    return images
