"""InstanceNorm and its activation as one Triton kernel forward and one backward, channels last.

torch's copies every channels-last tensor to NCHW and back, which costs more than the norm.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

_ROWS, _CHANNELS = 128, 32  # pixels and channels that a program holds at a time


def instance_norm(x: Tensor, eps: float, slope: float) -> Tensor:
    """(B, C, H, W) -> the same; leaky ReLU of ``slope`` after an InstanceNorm without weights."""
    normed: Tensor = _InstanceNorm.apply(x, eps, slope)  # type: ignore[no-untyped-call]
    return normed


class _InstanceNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float, slope: float) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        batch, channels, height, width = x.shape
        y = torch.empty_like(x)
        statistics = x.new_empty((2, batch, channels), dtype=torch.float32)  # mean, 1 / std
        _forward[_grid(x)](
            x, y, *statistics, height * width, channels, eps, slope, R=_ROWS, C=_CHANNELS
        )
        ctx.save_for_backward(x, statistics)
        ctx.slope = slope
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        x, statistics = ctx.saved_tensors
        upstream = upstream.contiguous(memory_format=torch.channels_last)
        _, channels, height, width = x.shape
        moved = torch.empty_like(x)
        _backward[_grid(x)](
            x, upstream, moved, *statistics, height * width, channels, ctx.slope,
            R=_ROWS, C=_CHANNELS,
        )  # fmt: skip
        return moved, None, None


def _grid(x: Tensor) -> tuple[int, int]:
    return x.shape[0], triton.cdiv(x.shape[1], _CHANNELS)


@triton.jit
def _forward(x, y, means, scales, pixels, channels, eps, slope, R: tl.constexpr, C: tl.constexpr):
    n, c = tl.program_id(0).to(tl.int64), tl.program_id(1) * C + tl.arange(0, C)
    here = n * pixels * channels + c[None, :]
    mean = tl.zeros([C], tl.float32)
    squares = tl.zeros([C], tl.float32)
    for start in range(0, pixels, R):  # block means and squares, merged as Chan et al. do
        row = start + tl.arange(0, R)
        inside = (row < pixels)[:, None] & (c < channels)[None, :]
        v = tl.load(x + here + row[:, None] * channels, inside, 0.0).to(tl.float32)
        count = tl.minimum(R, pixels - start).to(tl.float32)
        block = tl.sum(v, 0) / count
        away = tl.where(inside, v - block[None, :], 0.0)
        delta, share = block - mean, count / (start + count)
        mean += delta * share
        squares += tl.sum(away * away, 0) + delta * delta * start * share
    scale = 1 / tl.sqrt(squares / pixels + eps)
    tl.store(means + n * channels + c, mean, c < channels)
    tl.store(scales + n * channels + c, scale, c < channels)
    for start in range(0, pixels, R):
        row = start + tl.arange(0, R)
        inside = (row < pixels)[:, None] & (c < channels)[None, :]
        v = tl.load(x + here + row[:, None] * channels, inside, 0.0).to(tl.float32)
        v = (v - mean[None, :]) * scale[None, :]
        tl.store(y + here + row[:, None] * channels, tl.where(v > 0, v, slope * v), inside)


@triton.jit
def _backward(
    x, upstream, moved, means, scales, pixels, channels, slope, R: tl.constexpr, C: tl.constexpr
):
    n, c = tl.program_id(0).to(tl.int64), tl.program_id(1) * C + tl.arange(0, C)
    here = n * pixels * channels + c[None, :]
    mean = tl.load(means + n * channels + c, c < channels, 0.0)[None, :]
    scale = tl.load(scales + n * channels + c, c < channels, 0.0)[None, :]
    along = tl.zeros([C], tl.float32)
    across = tl.zeros([C], tl.float32)
    for start in range(0, pixels, R):
        row = start + tl.arange(0, R)
        inside = (row < pixels)[:, None] & (c < channels)[None, :]
        place = here + row[:, None] * channels
        v = (tl.load(x + place, inside, 0.0).to(tl.float32) - mean) * scale
        g = tl.load(upstream + place, inside, 0.0).to(tl.float32)
        g = tl.where(v > 0, g, slope * g)
        along += tl.sum(g, 0)
        across += tl.sum(g * v, 0)
    along, across = along / pixels, across / pixels
    for start in range(0, pixels, R):
        row = start + tl.arange(0, R)
        inside = (row < pixels)[:, None] & (c < channels)[None, :]
        place = here + row[:, None] * channels
        v = (tl.load(x + place, inside, 0.0).to(tl.float32) - mean) * scale
        g = tl.load(upstream + place, inside, 0.0).to(tl.float32)
        g = tl.where(v > 0, g, slope * g)
        tl.store(moved + place, scale * (g - along[None, :] - v * across[None, :]), inside)
