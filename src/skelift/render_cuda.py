"""kappa's two passes as Triton kernels, for CUDA devices; Triton comes with torch's CUDA builds.

Each program draws a block of pixels of one channel of one pose. The backward pass sums a block's
gradient per limb and writes it down; torch adds the blocks, in the same order every time, so that
two runs agree bit by bit.
"""

from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from skelift.render_device import FallOff, Limbs

_BLOCK = 1024  # pixels


def draw(u: Tensor, limbs: Limbs, size: int, fall_off: FallOff) -> tuple[Tensor, Tensor]:
    """``render_device.draw``."""
    u = u.contiguous()
    table, first, _ = _table(limbs, u.shape[1], u.device)
    shape = (len(u), len(limbs), size, size)
    image, nearest = u.new_empty(shape), u.new_empty(shape, dtype=torch.uint8)
    _draw[_grid(shape)](
        u, table, first, image, nearest, u.shape[1], size, fall_off.gamma,
        SQUARED=fall_off.squared, BLOCK=_BLOCK,
    )  # fmt: skip
    return image, nearest


def gradient(
    u: Tensor, limbs: Limbs, fall_off: FallOff, drawn: Tensor, nearest: Tensor, upstream: Tensor
) -> Tensor:
    """``render_device.gradient``."""
    u, joints = u.contiguous(), u.shape[1]
    table, first, is_end = _table(limbs, joints, u.device)
    grid = _grid(drawn.shape)
    ends = u.new_zeros((len(u), grid[1], len(table), 4), dtype=torch.float64)
    _gradient[grid](
        u, table, first, drawn, nearest, upstream.contiguous(), ends, joints, len(table),
        drawn.shape[-1], fall_off.gamma, SQUARED=fall_off.squared, BLOCK=_BLOCK,
    )  # fmt: skip
    of_limb = ends.sum(1).unflatten(2, (2, 2))  # (B, N, start or end, 2)
    return torch.einsum("bnex,nej->bjx", of_limb, is_end).to(u.dtype)


@cache  # else each drawing waits for the device
def _table(limbs: Limbs, joints: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """What the kernels read of a skeleton.

    (N, 2) joints of the limbs, channel by channel; (C + 1,) where each channel's begin; and
    (N, 2, J) the joints as one-hot vectors.
    """
    pairs = [limb for own in limbs for limb in own]
    first = [0]
    for own in limbs:
        first.append(first[-1] + len(own))
    table = torch.tensor(pairs, dtype=torch.int32, device=device)
    is_end = torch.nn.functional.one_hot(table.long(), joints).double()
    return table, torch.tensor(first, dtype=torch.int32, device=device), is_end


def _grid(shape: tuple[int, ...] | torch.Size) -> tuple[int, int, int]:
    batch, channels, size, _ = shape
    return batch, triton.cdiv(size * size, _BLOCK), channels


@triton.jit
def _to_limb(u, table, n, joints, b, x, y):
    i, j = tl.load(table + 2 * n), tl.load(table + 2 * n + 1)
    a, e = u + (b * joints + i) * 2, u + (b * joints + j) * 2
    ax, ay = tl.load(a).to(x.dtype), tl.load(a + 1).to(x.dtype)
    dx, dy = tl.load(e).to(x.dtype) - ax, tl.load(e + 1).to(x.dtype) - ay
    r = ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy + 1e-30)
    r = tl.minimum(tl.maximum(r, 0.0), 1.0)
    return r, x - ax - r * dx, y - ay - r * dy


@triton.jit
def _draw(
    u, table, first, image, nearest, joints, size, gamma, SQUARED: tl.constexpr, BLOCK: tl.constexpr
):
    b, c = tl.program_id(0), tl.program_id(2)
    pixel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    x = (2 * (pixel % size) + 1).to(tl.float32) / size - 1
    y = (2 * (pixel // size) + 1).to(tl.float32) / size - 1
    best = tl.full([BLOCK], 1e30, tl.float32)
    owner = tl.zeros([BLOCK], tl.int32)
    begin = tl.load(first + c)
    for n in range(begin, tl.load(first + c + 1)):
        _, qx, qy = _to_limb(u, table, n, joints, b, x, y)
        d = qx * qx + qy * qy
        owner = tl.where(d < best, n - begin, owner)
        best = tl.minimum(best, d)
    if not SQUARED:
        best = tl.sqrt(best)
    place = (b * tl.num_programs(2) + c) * size * size + pixel
    inside = pixel < size * size
    tl.store(image + place, tl.exp(-gamma * best), inside)
    tl.store(nearest + place, owner.to(tl.uint8), inside)


@triton.jit
def _gradient(
    u, table, first, image, nearest, upstream, ends, joints, limbs, size, gamma,
    SQUARED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    b, block, c = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    pixel = block * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < size * size
    # In float64: the direction of a pixel on a limb is a difference of near-equal numbers.
    x = (2 * (pixel % size) + 1).to(tl.float64) / size - 1
    y = (2 * (pixel // size) + 1).to(tl.float64) / size - 1
    place = (b * tl.num_programs(2) + c) * size * size + pixel
    slope = tl.load(image + place, inside, 0.0) * tl.load(upstream + place, inside, 0.0)
    owner = tl.load(nearest + place, inside, 255).to(tl.int32)
    begin = tl.load(first + c)
    for n in range(begin, tl.load(first + c + 1)):
        steep = -gamma * tl.where(owner == n - begin, slope, 0.0).to(tl.float64)
        if tl.max(tl.abs(steep)) > 0:  # most limbs are far from most blocks
            r, qx, qy = _to_limb(u, table, n, joints, b, x, y)
            if SQUARED:
                steep *= 2
            else:
                steep /= tl.sqrt(qx * qx + qy * qy + 1e-30)
            # At the nearest point the distance does not change with r.
            out = ends + ((b * tl.num_programs(1) + block) * limbs + n) * 4
            tl.store(out, tl.sum(-steep * (1 - r) * qx))
            tl.store(out + 1, tl.sum(-steep * (1 - r) * qy))
            tl.store(out + 2, tl.sum(-steep * r * qx))
            tl.store(out + 3, tl.sum(-steep * r * qy))
