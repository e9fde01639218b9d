"""CPU kernels of training for images in channels_last: norms with their activation, enlarging.

torch's InstanceNorm copies an image in channels_last to the other memory layout and back, forward
and backward, and an activation by itself reads and writes it once more. Here pixels are summed in
lanes, as many channels and pixels side by side as fill a few vector registers, one image per task:
the sums do not depend on the number of threads.
"""

import math
from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import interpolate

from skelift.render import threads_of_torch

_LANES = 64
# Smaller batches are as fast with torch's own BatchNorm, which copies nothing.
_LEAST_BATCH_NORM = 2**18
_FAST = {"contract", "nsz", "reassoc"}  # of sums; (x - mean) * scale stays as it is written
Floats = NDArray[np.float32]


class Moments(NamedTuple):
    """What a batch normalisation has seen, each (C,)."""

    mean: Tensor
    variance: Tensor  # biased


def fits(x: Tensor) -> bool:
    """Whether the kernels take this (B, C, H, W) tensor: float32, in training, on a CPU."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and not torch.onnx.is_in_onnx_export()
        and x.is_contiguous(memory_format=torch.channels_last)
    )


def fits_batch_norm(x: Tensor) -> bool:
    """Whether ``batch_norm`` takes this tensor, and is faster than torch's."""
    return fits(x) and x.numel() >= _LEAST_BATCH_NORM


def instance_norm(x: Tensor, eps: float, slope: float) -> Tensor:
    """InstanceNorm without weights, then ReLU with that slope below 0; see ``fits``."""
    y: Tensor = _Norm.apply(x, None, None, eps, slope)[0]  # type: ignore[no-untyped-call]
    return y


def batch_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Moments]:
    """BatchNorm over the batch, then ReLU; see ``fits``."""
    y, *moments = _Norm.apply(x, weight, bias, eps, 0.0)  # type: ignore[no-untyped-call]
    return y, Moments(*moments)


def enlarge(x: Tensor) -> Tensor:
    """Twice as large by bilinear interpolation; torch's own backward is slow. See ``fits``."""
    larger: Tensor = _Enlarge.apply(x)  # type: ignore[no-untyped-call]
    return larger


class _Enlarge(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.like = torch.empty_like(x, device="meta")
        return interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        moved = torch.empty_like(ctx.like, device="cpu")
        upstream = gradient.contiguous(memory_format=torch.channels_last)
        with threads_of_torch():
            _enlarge_gradient(*(t.permute(0, 2, 3, 1).numpy() for t in (upstream, moved)))
        return moved


class _Norm(torch.autograd.Function):
    """BatchNorm with weights, InstanceNorm without; mean and variance are (B, C), or (C,)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, slope: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        y, channels = torch.empty_like(x), x.shape[1]
        shape = (1 if weight is not None else len(x), channels)
        mean, variance = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
        affine = _affine(weight, bias, channels)
        with threads_of_torch():
            _forward(_lanes(x), *affine, eps, slope, mean, variance, _lanes(y))
        moments = torch.from_numpy(mean).squeeze(0), torch.from_numpy(variance).squeeze(0)
        ctx.save_for_backward(x, weight, bias)
        ctx.statistics, ctx.slope = (mean, 1 / np.sqrt(variance + np.float32(eps))), slope
        ctx.mark_non_differentiable(*moments)
        return y, *moments

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        moved, channels = torch.empty_like(x), x.shape[1]
        upstream = gradient.contiguous(memory_format=torch.channels_last)
        affine = _affine(weight, bias, channels)
        of_bias = np.empty_like(ctx.statistics[0])
        of_weight = np.empty_like(of_bias)
        mean, inverse = ctx.statistics
        with threads_of_torch():
            _backward(
                _lanes(x), *affine, ctx.slope, mean, inverse,
                _lanes(upstream), of_weight, of_bias, _lanes(moved),
            )  # fmt: skip
        if weight is None:
            return moved, None, None, None, None
        return moved, torch.from_numpy(of_weight[0]), torch.from_numpy(of_bias[0]), None, None


def _affine(weight: Tensor | None, bias: Tensor | None, channels: int) -> tuple[Floats, Floats]:
    if weight is None or bias is None:
        return np.ones(channels, dtype=np.float32), np.zeros(channels, dtype=np.float32)
    return weight.detach().numpy(), bias.detach().numpy()


def _lanes(x: Tensor) -> Floats:
    """(B, rows, lanes) view of (B, C, H, W) in channels_last; lanes are a multiple of C."""
    batch, channels, height, width = x.shape
    pixels = height * width
    lanes = channels * math.gcd(pixels, max(_LANES // channels, 1))
    flat = x.detach().permute(0, 2, 3, 1).reshape(batch, pixels * channels // lanes, lanes)
    return flat.numpy()


@numba.njit(parallel=True, fastmath=_FAST, cache=True)
def _enlarge_gradient(upstream: Any, moved: Any) -> None:
    batch, height, width, channels = moved.shape
    near, far = np.float32(0.75), np.float32(0.25)  # a pixel weighs in the nearest four per axis
    for b in numba.prange(batch):
        line = np.empty((2 * width, channels), dtype=np.float32)
        for row in range(height):
            above, below = max(2 * row - 1, 0), min(2 * row + 2, 2 * height - 1)
            for column in range(2 * width):
                for c in range(channels):
                    line[column, c] = near * (
                        upstream[b, 2 * row, column, c] + upstream[b, 2 * row + 1, column, c]
                    ) + far * (upstream[b, above, column, c] + upstream[b, below, column, c])
            for column in range(width):
                left, right = max(2 * column - 1, 0), min(2 * column + 2, 2 * width - 1)
                for c in range(channels):
                    moved[b, row, column, c] = near * (
                        line[2 * column, c] + line[2 * column + 1, c]
                    ) + far * (line[left, c] + line[right, c])


@numba.njit(parallel=True, fastmath=_FAST, cache=True)
def _forward(
    x: Any, weight: Any, bias: Any, eps: float, slope: float, mean: Any, variance: Any, y: Any
) -> None:
    batch, rows, lanes = x.shape
    channels, below = len(weight), np.float32(slope)
    sums = np.zeros((batch, lanes), dtype=np.float32)
    for b in numba.prange(batch):
        for row in range(rows):
            for lane in range(lanes):
                sums[b, lane] += x[b, row, lane]
    _average(sums, rows, mean)
    sums[:] = 0
    for b in numba.prange(batch):
        of = _spread(mean[b % len(mean)], lanes)
        for row in range(rows):
            for lane in range(lanes):
                centred = x[b, row, lane] - of[lane]
                sums[b, lane] += centred * centred
    _average(sums, rows, variance)
    for b in numba.prange(batch):
        own = b % len(mean)
        factor = np.empty(channels, dtype=np.float32)
        for channel in range(channels):
            deviation = np.sqrt(variance[own, channel] + np.float32(eps))
            factor[channel] = weight[channel] / deviation
        scale = _spread(factor, lanes)
        of, shift = _spread(mean[own], lanes), _spread(bias, lanes)
        for row in range(rows):
            for lane in range(lanes):
                # The mean first: where it is large, no digits of the difference are lost.
                z = (x[b, row, lane] - of[lane]) * scale[lane] + shift[lane]
                y[b, row, lane] = max(z, np.float32(0)) + below * min(z, np.float32(0))


@numba.njit(parallel=True, fastmath=_FAST, cache=True)
def _backward(
    x: Any, weight: Any, bias: Any, slope: float, mean: Any, inverse: Any,
    upstream: Any, of_weight: Any, of_bias: Any, moved: Any,
) -> None:  # fmt: skip
    batch, rows, lanes = x.shape
    pixels = np.float32(rows * lanes // len(weight) * (batch // len(mean)))
    below = np.float32(slope)
    along = np.zeros((batch, lanes), dtype=np.float32)
    sums = np.zeros((batch, lanes), dtype=np.float32)
    for b in numba.prange(batch):
        own = b % len(mean)
        of, scale = _spread(mean[own], lanes), _spread(inverse[own], lanes)
        gain, offset = _spread(weight, lanes), _spread(bias, lanes)
        for row in range(rows):
            for lane in range(lanes):
                z = (x[b, row, lane] - of[lane]) * scale[lane]
                positive = z * gain[lane] + offset[lane] > 0
                g = upstream[b, row, lane] * (np.float32(1) if positive else below)
                sums[b, lane] += g
                along[b, lane] += g * z
    _average(sums, rows, of_bias)
    _average(along, rows, of_weight)
    for b in numba.prange(batch):
        own = b % len(mean)
        of, scale = _spread(mean[own], lanes), _spread(inverse[own], lanes)
        gain, offset = _spread(weight, lanes), _spread(bias, lanes)
        level, slant = _spread(of_bias[own], lanes), _spread(of_weight[own], lanes)
        factor = gain * scale
        for row in range(rows):
            for lane in range(lanes):
                z = (x[b, row, lane] - of[lane]) * scale[lane]
                positive = z * gain[lane] + offset[lane] > 0
                g = upstream[b, row, lane] * (np.float32(1) if positive else below)
                moved[b, row, lane] = factor[lane] * (g - level[lane] - z * slant[lane])
    of_bias *= pixels
    of_weight *= pixels


@numba.njit(cache=True)
def _average(sums: Any, rows: int, means: Any) -> None:
    """Sums (B, lanes) -> mean over the pixels of each channel, per image or over all."""
    batch, lanes = sums.shape
    groups, channels = means.shape
    pixels = rows * lanes // channels * (batch // groups)
    for group in range(groups):
        for channel in range(channels):
            total = np.float64(0)
            for b in range(group, batch, groups):
                for lane in range(channel, lanes, channels):
                    total += sums[b, lane]
            means[group, channel] = np.float32(total / pixels)


@numba.njit(cache=True)
def _spread(values: Any, lanes: int) -> Any:
    """(C,) values -> (lanes,), one for each lane."""
    spread = np.empty(lanes, dtype=np.float32)
    for lane in range(lanes):
        spread[lane] = values[lane % len(values)]
    return spread
