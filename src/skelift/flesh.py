"""The flesh around a pose: what a body covers in the image, differentiably.

A body of limbs (people, hands) covers thick lines along its bones. Any other names its parts in
the skeleton file: each is the convex hull of some joints, thicker by a radius, and the body is
their union. Hulls of two joints are limbs. Coordinates are those of ``skelift.render``.
"""

import math

import torch
from torch import Tensor, nn

from skelift.render import Kappa
from skelift.skeleton import Skeleton

# Squared kappa of this gamma draws limbs about as thick as those of a body that fills the crop.
_LIMB_GAMMA = 150.0
_HALF = math.sqrt(math.log(2) / _LIMB_GAMMA)  # where its brightness is a half
_DIRECTIONS = 24  # of a hull's tangents; 0.9 % off a circle at most
_FORESHORTENED = 0.75  # a bone's length in the image over its own, on average


class Flesh(nn.Module):
    """Draws the silhouette of poses."""

    normals: Tensor
    reach: Tensor
    radii: Tensor
    ends: Tensor

    def __init__(self, skeleton: Skeleton, size: int) -> None:
        super().__init__()
        self.limbs = None if skeleton.parts else limbs(skeleton, size)
        self.size = size
        angle = torch.arange(_DIRECTIONS) * (2 * math.pi / _DIRECTIONS)
        normals = torch.stack([angle.cos(), angle.sin()])
        at = (2 * torch.arange(size) + 1) / size - 1
        pixels = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1)
        mean_mm = sum(skeleton.bone_lengths_mm) / len(skeleton.bone_lengths_mm)
        radii = torch.tensor([part.radius_mm / mean_mm / _FORESHORTENED for part in skeleton.parts])
        hulls = [part.joints for part in skeleton.parts] or skeleton.bones
        self.hulls = [torch.tensor([skeleton.index(name) for name in hull]) for hull in hulls]
        for name, values in {
            "normals": normals,
            "reach": (pixels.view(-1, 2) @ normals),  # (S * S, D) of each pixel along each normal
            "radii": radii,  # over the mean bone as it is drawn
            "ends": torch.as_tensor(skeleton.bone_indices),
        }.items():
            self.register_buffer(name, values, persistent=False)

    def forward(self, y: Tensor) -> Tensor:
        """Poses (B, J, 2) over the crop -> (B, 1, S, S), 1 on the body, falling off around it."""
        if self.limbs:
            return self.limbs(y)
        outside = (self.distance(y) + _HALF).clamp(min=0)
        return (-_LIMB_GAMMA * outside.square()).exp()

    def distance(self, y: Tensor) -> Tensor:
        """Signed distances (B, 1, S, S) of pixels to the outline of the parts; below 0 inside.

        Half a side of the crop is 1. The thickness follows the mean bone as it is drawn, without a
        gradient, so that no pose grows to be thicker.
        """
        y = y.float()
        along = y @ self.normals  # (B, J, D)
        tangents = torch.stack([along[:, hull.to(y.device)].amax(1) for hull in self.hulls], 1)
        outside = (self.reach - tangents[:, :, None]).amax(3)  # (B, parts, S * S)
        nearest = (outside - self._thickness(y)[..., None]).amin(1)
        return nearest.view(-1, 1, self.size, self.size)

    def _thickness(self, y: Tensor) -> Tensor:
        """(B, parts) radii over the crop, or (1, 1) that of all limbs."""
        if self.limbs:
            return y.new_full((1, 1), _HALF)
        ends = y[:, self.ends].detach()  # (B, N, 2, 2)
        drawn = (ends[:, :, 1] - ends[:, :, 0]).norm(dim=-1).mean(1)
        return drawn[:, None] * self.radii


def limbs(skeleton: Skeleton, size: int) -> Kappa:
    """Renderer of limbs of one thickness: one channel, thick lines."""
    return Kappa.of(skeleton, size, sides=False, gamma=_LIMB_GAMMA, squared=True)
