"""kappa's two passes in torch's operations: the renderer of devices without kernels.

A loop over limbs of operations on whole images.
"""

from typing import NamedTuple

import torch
from torch import Tensor

Limbs = tuple[tuple[tuple[int, int], ...], ...]  # per channel, (start, end) of each limb
_TINY = 1e-30  # keeps 0 / 0 out without moving any other value


class FallOff(NamedTuple):
    """exp(-gamma d), or of the squared distance."""

    gamma: float
    squared: bool


def draw(u: Tensor, limbs: Limbs, size: int, fall_off: FallOff) -> tuple[Tensor, Tensor]:
    """Skeleton images (B, C, S, S) of poses (B, J, 2), and the nearest limb of each pixel, uint8.

    The number of a limb is its place in the channel's tuple of ``limbs``.
    """
    x, y = _pixels(u, size)
    images, owners = [], []
    for own in limbs:
        best = u.new_full((len(u), size, size), torch.inf)
        owner = torch.zeros_like(best, dtype=torch.uint8)
        for n, limb in enumerate(own):
            _, qx, qy = _to_limb(u, limb, x, y)
            d = qx * qx + qy * qy
            closer = d < best
            best = torch.where(closer, d, best)
            owner = torch.where(closer, n, owner)
        distance = best if fall_off.squared else best.sqrt()
        images.append(torch.exp(-fall_off.gamma * distance))
        owners.append(owner)
    return torch.stack(images, 1), torch.stack(owners, 1)


def gradient(
    u: Tensor, limbs: Limbs, fall_off: FallOff, drawn: Tensor, nearest: Tensor, upstream: Tensor
) -> Tensor:
    """(B, J, 2) gradient of ``draw`` with respect to the poses, for (B, C, S, S) ``upstream``.

    In float64: the direction of a pixel on a limb is a difference of near-equal numbers.
    """
    dtype, u = u.dtype, u.double()
    x, y = _pixels(u, drawn.shape[-1])
    moved = [[torch.zeros_like(u[:, 0])] for _ in range(u.shape[1])]
    for c, own in enumerate(limbs):
        slope = -fall_off.gamma * drawn[:, c] * upstream[:, c]
        for n, (i, j) in enumerate(own):
            r, qx, qy = _to_limb(u, (i, j), x, y)
            steep = 2 * slope
            if not fall_off.squared:
                steep = slope / (qx * qx + qy * qy + _TINY).sqrt()
            steep = torch.where(nearest[:, c] == n, steep, 0)
            # At the nearest point the distance does not change with r.
            whole = torch.stack([(steep * qx).sum((1, 2)), (steep * qy).sum((1, 2))], 1)
            part = torch.stack([(steep * r * qx).sum((1, 2)), (steep * r * qy).sum((1, 2))], 1)
            moved[i].append(part - whole)
            moved[j].append(-part)
    return torch.stack([torch.stack(parts).sum(0) for parts in moved], 1).to(dtype)


def _to_limb(
    u: Tensor, limb: tuple[int, int], x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The place r in [0, 1] on a limb nearest to each pixel, and the way (qx, qy) from there."""
    (ax, ay), (bx, by) = (u[:, joint, :, None, None].unbind(1) for joint in limb)
    dx, dy = bx - ax, by - ay
    r = ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy + _TINY)
    r = r.clamp(0, 1)
    return r, x - ax - r * dx, y - ay - r * dy


def _pixels(u: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Centres of the columns (1, 1, S) and rows (1, S, 1)."""
    axis = (2 * torch.arange(size, device=u.device, dtype=u.dtype) + 1) / size - 1
    return axis[None, None], axis[None, :, None]
