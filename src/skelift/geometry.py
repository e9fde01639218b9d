"""Lifting, rotating and projecting poses (Eq. 1 and Section 3, "Random rotations").

2D poses y here are *normalised*: root-relative, in units in which root-to-head measures about 0.1,
so that a body at depth DELTA is about one unit tall from root to head. 3D poses v are
root-relative, camera frame (x right, y down, z forward).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from skelift.errors import InputError

DELTA = 10.0  # constant depth of Eq. 1
Units = Literal["camera", "crop"]


@dataclass(frozen=True)
class CropCamera:
    """Where each crop lies in its source image, and that image's camera; in source pixels."""

    crop: Tensor  # (B, 3) centre x, centre y and side
    focal: Tensor  # (B, 2) focal lengths; NaN where unknown
    principal: Tensor  # (B, 2) principal point; NaN where unknown

    def to(self, device: torch.device) -> "CropCamera":
        """The same on another device."""
        return CropCamera(*(t.to(device, non_blocking=True) for t in self._fields))

    def __getitem__(self, rows: Tensor) -> "CropCamera":
        return CropCamera(*(t[rows] for t in self._fields))

    def mirrored(self, where: Tensor) -> "CropCamera":
        """The views of the rows ``where`` (B,) is true are those of the mirrored images.

        An image mirrored about its principal point is what the same camera sees of the mirrored
        scene. So a crop's centre changes sides; it stays where the principal point is unknown.
        """
        opposite = 2 * self.principal[:, 0] - self.crop[:, 0]
        x = torch.where(where & opposite.isfinite(), opposite, self.crop[:, 0])
        return CropCamera(torch.cat([x[:, None], self.crop[:, 1:]], 1), self.focal, self.principal)

    @property
    def _fields(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.crop, self.focal, self.principal


def root_relative_2d(y: Tensor, camera: CropCamera, root: int, units: Units) -> Tensor:
    """Crop coordinates -> root-relative coordinates in which equal bodies look equally large.

    A tight crop scales every pose differently, which breaks the constant scale that loop and flow
    assume. ``camera`` undoes the crop and divides by the focal length (x / z); ``crop`` keeps the
    crop's own units, for images whose camera is unknown.

    Args:
        y: (B, J, 2) in [-1, 1] over the crop.
        camera: crop boxes and cameras of the B samples.
        root: index of the root joint.
        units: ``camera`` or ``crop``.

    Returns:
        (B, J, 2) root-relative positions.
    """
    if units == "camera":
        y = y * camera.crop[:, None, 2:] / 2 / camera.focal[:, None]
    return y - y[:, root : root + 1]


def pose_scale(y: Tensor, head: int) -> float:
    """The constant of a data set: mean root-to-head length of root-relative poses (M, J, 2)."""
    scale = y[:, head].norm(dim=-1).mean().item()
    if not scale > 0:
        raise InputError(
            "the 2D poses have no size (or no focal length): set model.units=crop for images "
            "whose camera is unknown"
        )
    return scale


def normalise(y: Tensor, scale: float) -> Tensor:
    """Root-relative poses -> units in which root-to-head is about 1 at depth DELTA."""
    return y / (scale * DELTA)


def lift(y: Tensor, d: Tensor, root: int) -> Tensor:
    """Eq. 1: v_i = (x_i z_i, y_i z_i, z_i) with z_i = d_i + DELTA, at least 1; centred on the root.

    Args:
        y: (B, J, 2) normalised 2D poses.
        d: (B, J) depth offsets of Lambda; the root's is taken as 0.
        root: index of the root joint.
    """
    at_root = torch.zeros(d.shape[1], device=d.device, dtype=d.dtype)
    at_root[root] = 1
    z = (d * (1 - at_root) + DELTA).clamp(min=1).unsqueeze(-1)
    v = torch.cat([y * z, z], -1)
    return v - v[:, root : root + 1]


def project(v: Tensor) -> Tensor:
    """Perspective projection, focal length 1, of root-relative (B, J, 3) poses at depth DELTA."""
    return v[..., :2] / (v[..., 2:] + DELTA).clamp(min=1)


def rotation_x(angle: Tensor) -> Tensor:
    """(B,) radians -> (B, 3, 3) rotations about the camera's x axis (elevation)."""
    c, s, o, i = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([i, o, o, o, c, -s, o, s, c], -1).unflatten(-1, (3, 3))


def rotation_y(angle: Tensor) -> Tensor:
    """(B,) radians -> (B, 3, 3) rotations about the vertical axis (azimuth)."""
    c, s, o, i = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([c, o, s, o, i, o, -s, o, c], -1).unflatten(-1, (3, 3))


def random_view(elevation: Tensor, azimuth: Tensor, noise: Tensor) -> Tensor:
    """R = R_e'^T R_a R_e: out of the sample's own elevation, around, and into a fresh one.

    The fresh elevation is drawn from the batch's own normal distribution N(mu_e, sigma_e), through
    which gradients flow (ElePose). The two R_e of the paper's formula therefore differ.

    Args:
        elevation: (B,) predicted elevations, radians.
        azimuth: (B,) angles, uniform in [-pi, pi].
        noise: (B,) standard normal numbers.

    Returns:
        (B, 3, 3) rotations.
    """
    fresh = elevation.mean() + elevation.std() * noise
    return rotation_x(-fresh) @ rotation_y(azimuth) @ rotation_x(elevation)


def rotate(rotation: Tensor, v: Tensor) -> Tensor:
    """Rotate (B, J, 3) poses about the root by (B, 3, 3) rotations."""
    return v @ rotation.transpose(1, 2)


def turn_2d(y: Tensor, angle: Tensor) -> Tensor:
    """Turn points (B, J, 2), x right and y down, by (B,) radians, clockwise, about the origin."""
    c, s = angle.cos()[:, None], angle.sin()[:, None]
    x, y = y.unbind(-1)
    return torch.stack([c * x - s * y, s * x + c * y], -1)


def turn_image(images: Tensor, angle: Tensor) -> Tensor:
    """Turn images (B, C, S, S) by (B,) radians, clockwise, about their middle; black outside."""
    return look_up(images, turn_2d(pixel_centres(images), -angle))


def pixel_centres(images: Tensor) -> Tensor:
    """(1, S * S, 2) centres of the pixels of images (B, C, S, S), [-1, 1] over the image."""
    size = images.shape[-1]
    at = (2 * torch.arange(size, device=images.device, dtype=images.dtype) + 1) / size - 1
    return torch.stack(torch.meshgrid(at, at, indexing="xy"), -1).view(1, -1, 2)


def look_up(images: Tensor, before: Tensor) -> Tensor:
    """Images (B, C, S, S) whose pixels lay at ``before`` (B, S * S, 2); black outside."""
    size = images.shape[-1]
    return grid_sample(images, before.view(-1, size, size, 2), align_corners=False)


def variety(y: Tensor) -> Tensor:
    """How much N 2D poses (N, J, 2) differ, wherever they lie in the image.

    () standard deviation of the joints about their pose's middle; 0 where all poses are one.
    """
    centred = y - y.mean(1, keepdim=True)
    return centred.var(0, correction=0).mean().sqrt()


def mirror_pose(y: Tensor, swap: Tensor) -> Tensor:
    """The pose that the mirrored image shows: x negated, left and right swapped by ``swap`` (J,).

    Poses y are (B, J, 2) in [-1, 1] over the crop.
    """
    return torch.cat([-y[..., :1], y[..., 1:]], -1)[:, swap]


def bone_lengths(v: Tensor, bones: Tensor) -> Tensor:
    """Lengths (B, N) of the bones (N, 2), joint indices, of poses (B, J, 3)."""
    return (v[:, bones[:, 1]] - v[:, bones[:, 0]]).norm(dim=-1)
