"""The flesh around a pose: what a body covers in the image, differentiably.

A body of limbs (people, hands) covers thick lines along its bones. Any other names its parts in
the skeleton file: each is the convex hull of some joints, thicker by a radius, and the body is
their union. A hull of one joint is a disc, one of two a limb. Coordinates are those of
``skelift.render``.
"""

import math
from itertools import accumulate, permutations

import torch
from torch import Tensor, nn

from skelift.render import Kappa
from skelift.skeleton import Skeleton

# Squared kappa of this gamma draws limbs about as thick as those of a body that fills the crop.
_LIMB_GAMMA = 150.0
_HALF = math.sqrt(math.log(2) / _LIMB_GAMMA)  # where its brightness is a half
_CORNERS = 16  # fixed normals, for what lies beyond a hull's corners: 2 % off a circle at most
_SAME = 1e-4  # joints this close span no edge
_FORESHORTENED = 0.75  # a bone's length in the image over its own, on average


class Flesh(nn.Module):
    """Draws the silhouette of poses."""

    normals: Tensor
    pixels: Tensor
    radii: Tensor
    ends: Tensor

    def __init__(self, skeleton: Skeleton, size: int) -> None:
        super().__init__()
        self.limbs = None if skeleton.parts else limbs(skeleton, size)
        self.size = size
        angle = torch.arange(_CORNERS) * (2 * math.pi / _CORNERS)
        at = (2 * torch.arange(size) + 1) / size - 1
        pixels = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1).view(-1, 2)
        mean_mm = sum(skeleton.bone_lengths_mm) / len(skeleton.bone_lengths_mm)
        radii = torch.tensor([part.radius_mm / mean_mm / _FORESHORTENED for part in skeleton.parts])
        hulls = [part.joints for part in skeleton.parts] or skeleton.bones
        self.hulls = [torch.tensor([skeleton.index(name) for name in hull]) for hull in hulls]
        for name, values in {
            "normals": torch.stack([angle.cos(), angle.sin()], 1),
            "pixels": pixels,  # (S * S, 2)
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
        y = y.to(self.pixels.dtype)
        each = [self._tangents(y[:, hull.to(y.device)]) for hull in self.hulls]
        normals = torch.cat([across for across, _ in each], 1)  # (B, D, 2)
        # Tangents of the thick hulls: n . p = offset.
        thick = zip(each, self._thickness(y).unbind(1), strict=True)
        offsets = torch.cat([tangent + radius[:, None] for (_, tangent), radius in thick], 1)
        which = self._nearest(normals, offsets, [across.shape[1] for across, _ in each])
        normal = normals.gather(1, which[..., None].expand(-1, -1, 2))
        distance = (normal * self.pixels).sum(2) - offsets.gather(1, which)
        return distance.view(-1, 1, self.size, self.size)

    @torch.no_grad()
    def _nearest(self, normals: Tensor, offsets: Tensor, counts: list[int]) -> Tensor:
        """(B, S * S) by which tangent each pixel's distance is: only that one is differentiated.

        The distance to a hull is the largest of those to its ``counts[n]`` tangents, the distance
        to the body the least of those to its hulls.
        """
        pixels = self.pixels.T.expand(len(normals), -1, -1)
        beyond = torch.baddbmm(offsets[..., None], normals, pixels, beta=-1)  # (B, D, S * S)
        to_hull, tangent = zip(*(part.max(1) for part in beyond.split(counts, 1)), strict=True)
        hull = torch.stack(to_hull, 1).argmin(1, keepdim=True)
        first = torch.tensor([0, *accumulate(counts)], device=hull.device)
        return torch.stack(tangent, 1).gather(1, hull)[:, 0] + first[hull[:, 0]]

    def _tangents(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Tangents of the convex hulls of K points (B, K, 2): normals (B, D, 2), offsets (B, D).

        Each edge of a hull lies between two of the points, so the lines through all pairs hold it;
        those in fixed directions are for what lies beyond its corners.
        """
        pairs = list(permutations(range(points.shape[1]), 2))  # none of a hull of one joint
        i, j = torch.tensor(pairs, dtype=torch.long).view(-1, 2).T
        edges = points[:, j] - points[:, i]
        lengths = edges.square().sum(2).add(1e-12).sqrt()
        across = torch.stack([edges[..., 1], -edges[..., 0]], 2) / lengths[..., None]
        normals = torch.cat([across, self.normals.expand(len(points), -1, -1)], 1)
        offsets = (normals @ points.transpose(1, 2)).amax(2)
        no_edge = nn.functional.pad(lengths < _SAME, (0, _CORNERS))
        return normals, offsets.masked_fill(no_edge, math.inf)

    def _thickness(self, y: Tensor) -> Tensor:
        """(B, hulls) radii over the crop."""
        if self.limbs:
            return y.new_full((len(y), len(self.hulls)), _HALF)
        ends = y[:, self.ends].detach()  # (B, N, 2, 2)
        drawn = (ends[:, :, 1] - ends[:, :, 0]).norm(dim=-1).mean(1)
        return drawn[:, None] * self.radii


def limbs(skeleton: Skeleton, size: int) -> Kappa:
    """Renderer of limbs of one thickness: one channel, thick lines."""
    return Kappa.of(skeleton, size, sides=False, gamma=_LIMB_GAMMA, squared=True)
