"""From data sets on disk to tensors of a step, each step a function of seed and number alone."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skelift.data.format import Prior, Split
from skelift.data.motion_cue import heading_motion_of
from skelift.geometry import CropCamera, Units, root_relative_2d
from skelift.skeleton import Skeleton


@dataclass(frozen=True)
class ImageBatch:
    """Images of a step: x (B, 3, S, S) in [0, 1], masks (B, 1, S, S) in [0, 1], their views.

    ``motion`` (B, 3) is how the body moves in the image (``heading_motion``), 0 where not known.
    ``joints_2d`` (B, J, 2) over the crop and ``joints_3d_mm`` (B, J, 3) in the camera frame are
    read by the supervised baselines only.
    """

    x: Tensor
    mask: Tensor
    camera: CropCamera
    motion: Tensor | None = None
    joints_2d: Tensor | None = None
    joints_3d_mm: Tensor | None = None


class ImageLoader:
    """Images of a split, gathered by row; kept on the device as uint8 where that is a GPU."""

    def __init__(
        self, split: Split, device: torch.device, *, labels: bool = False, motion: bool = False
    ) -> None:
        self.device = device
        self.size = split.images.shape[1]
        self._images, self._masks = split.images, split.masks
        self._resident: tuple[Tensor, Tensor] | None = None
        if device.type == "cuda":
            self._resident = (
                torch.from_numpy(split.images[:]).to(device),
                torch.from_numpy(split.masks[:]).to(device),
            )
        self._camera = crop_cameras(split.samples).to(device)
        self._motion: Tensor | None = None
        if motion:
            self._motion = torch.from_numpy(np.nan_to_num(heading_motion_of(split))).to(device)
        self._labels: tuple[Tensor, Tensor] | None = None
        if labels:
            if split.joints_2d is None or split.joints_3d_mm is None:
                raise ValueError(f"{split.folder} has no true joints to learn from")
            self._labels = (
                over_crop(split.joints_2d, self.size).to(device),
                torch.from_numpy(np.array(split.joints_3d_mm)).to(device),
            )

    def __len__(self) -> int:
        return len(self._images)

    @property
    def focal_known(self) -> bool:
        """Whether every image says its focal length."""
        return bool(self._camera.focal.isfinite().all())

    @property
    def shows_motion(self) -> bool:
        """Whether the body is known to move, in any image."""
        return self._motion is not None and bool(self._motion.any())

    @property
    def typical_crop_side(self) -> float:
        """Mean side of the crops over the focal length; 2 where no camera is known."""
        sides = self._camera.crop[:, 2] / self._camera.focal[:, 0]
        return float(sides.nanmean()) if sides.isfinite().any() else 2.0

    def take(self, rows: NDArray[np.int64]) -> ImageBatch:
        """Images of the given rows, on the device."""
        on_device = torch.from_numpy(rows).to(self.device, non_blocking=True)
        if self._resident:
            images, masks = (t[on_device] for t in self._resident)
        else:
            images = torch.from_numpy(self._images[rows]).to(self.device)
            masks = torch.from_numpy(self._masks[rows]).to(self.device)
        labels = [t[on_device] for t in self._labels] if self._labels else [None, None]
        return ImageBatch(
            images.permute(0, 3, 1, 2).float() / 255,  # channels_last: the memory stays as it lies
            masks.unsqueeze(1).float() / 255,
            self._camera[on_device],
            None if self._motion is None else self._motion[on_device],
            *labels,
        )


class PoseLoader:
    """Unpaired 2D poses: over the crop for kappa, root-relative for Lambda and the flow."""

    def __init__(self, prior: Prior, size: int, device: torch.device) -> None:
        self.u = over_crop(prior.poses_2d, size).to(device)
        self.camera = crop_cameras(prior.samples).to(device)

    def __len__(self) -> int:
        return len(self.u)

    def root_relative(self, root: int, units: Units) -> Tensor:
        """(M, J, 2) all poses, root-relative, in the units of the lifter."""
        return root_relative_2d(self.u, self.camera, root, units)


class EpochSampler:
    """Rows of each step: a fresh permutation per epoch, derived from (seed, epoch)."""

    def __init__(self, rows: int, batch: int, seed: int) -> None:
        self.rows, self.batch, self.seed = rows, batch, seed
        self._epoch: tuple[int, NDArray[np.int64]] | None = None

    def __getitem__(self, step: int) -> NDArray[np.int64]:
        places = np.arange(step * self.batch, (step + 1) * self.batch)
        chosen = np.empty(self.batch, dtype=np.int64)
        for epoch in np.unique(places // self.rows):
            here = places // self.rows == epoch
            chosen[here] = self._permutation(int(epoch))[places[here] % self.rows]
        return chosen

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = (epoch, np.random.default_rng([self.seed, epoch]).permutation(self.rows))
        return self._epoch[1]


def crop_cameras(samples: NDArray[np.void]) -> CropCamera:
    """Crop boxes and cameras of SAMPLE records."""
    return CropCamera(
        *(torch.from_numpy(np.array(samples[f])) for f in ("crop", "focal", "principal"))
    )


def name_canonical_sides(y: Tensor, skeleton: Skeleton) -> Tensor:
    """Name the sides of 2D poses (N, J, 2) as if every body were seen from behind.

    The pairs of the trunk (hips and shoulders) decide: where left lies right of right, all left and
    right joints are swapped. A figure drawn without a face does not say which side is which, so
    the image networks can reach these poses exactly, where true sides would have them bend the
    bodies. A skeleton without pairs on its midline stays as it is.
    """
    swap = torch.as_tensor(skeleton.swap, device=y.device)
    return torch.where(faces_us(y, skeleton)[:, None, None], y[:, swap], y)


def faces_us(y: Tensor, skeleton: Skeleton) -> Tensor:
    """(N,) whether 2D poses (N, J, 2) with true sides face us: left lies right of right.

    Without pairs on the midline none does.
    """
    pairs = torch.as_tensor(skeleton.trunk_pairs, device=y.device)
    if not len(pairs):
        return torch.zeros(len(y), dtype=torch.bool, device=y.device)
    x = y[..., 0]
    return (x[:, pairs[:, 0]] - x[:, pairs[:, 1]]).mean(1) > 0


def over_crop(pixels: NDArray[np.floating], size: int) -> Tensor:
    """Crop pixels (N, J, 2) -> [-1, 1] over the crop, float32."""
    return torch.from_numpy(np.array(pixels, dtype=np.float32)) * (2 / size) - 1
