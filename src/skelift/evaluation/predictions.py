"""Predictions of a pipeline for every image of a split."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from skelift.data.format import Split
from skelift.models.pipeline import PosePipeline, Poses


@dataclass(frozen=True)
class Predicted:
    """What a pipeline predicts for N images."""

    joints_2d: NDArray[np.float32]  # (N, J, 2) pixels of the crop
    joints_3d_mm: NDArray[np.float32]  # (N, J, 3) root-relative, camera frame, of a typical size


def predict_split(
    pipeline: PosePipeline, split: Split, device: torch.device, batch: int
) -> Predicted:
    """Predict every image of a split; ``pipeline`` in evaluation mode."""
    joints_2d, joints_3d = [], []
    for start in range(0, len(split), batch):
        rows = np.arange(start, min(start + batch, len(split)))
        poses = predict_rows(pipeline, split, rows, device)
        crop = torch.from_numpy(split.samples["crop"][rows]).to(device)[:, None]
        in_crop = (poses.joints_2d_px - crop[..., :2]) / crop[..., 2:] + 0.5
        joints_2d.append((in_crop * split.images.shape[1]).cpu())
        joints_3d.append(poses.joints_3d_mm.cpu())
    return Predicted(torch.cat(joints_2d).numpy(), torch.cat(joints_3d).numpy())


@torch.no_grad()
def predict_rows(
    pipeline: PosePipeline, split: Split, rows: NDArray[np.int64], device: torch.device
) -> Poses:
    """Poses of some images of a split, 2D joints in pixels of the source image."""
    samples = split.samples[rows]
    given = split.images[rows], samples["crop"], samples["focal"][:, :1]
    crop_rgb, crop_box, focal = (torch.from_numpy(np.array(a)).to(device) for a in given)
    return pipeline(crop_rgb, crop_box, focal)


def skeleton_images(
    pipeline: PosePipeline, split: Split, rows: NDArray[np.int64], device: torch.device
) -> NDArray[np.float32]:
    """(n, C, S, S) skeleton images Phi(x) of the given rows, clipped to [0, 1]."""
    s = predict_rows(pipeline, split, rows, device).skeleton_image
    return s.clamp(0, 1).float().cpu().numpy()
