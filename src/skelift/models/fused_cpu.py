"""Norms with their activation, and enlarging backward, see ``skelift.models.fused``.

Images are (B, rows, lanes), lanes being whole pixels of (B, H, W, C). One image is one task: sums
do not depend on the number of threads.

The norms, of which a step has dozens, are given the addresses of float32 tensors: to make views of
them as NumPy arrays takes as long as the kernel.
"""

from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

_FAST = {"contract", "nsz", "reassoc"}  # of sums; (x - mean) * scale stays as it is written


@numba.njit(parallel=True, fastmath=_FAST, cache=True)
def enlarge_gradient(upstream: Any, moved: Any) -> None:
    """Gradient (B, 2 H, 2 W, C) of the larger image -> that of the image, (B, H, W, C)."""
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


@numba.njit(cache=True)
def normalise(
    x: int, weight: int, bias: int, moments: int, y: int,
    shape: tuple[int, int, int], groups: int, channels: int, eps: float, slope: float,
) -> None:  # fmt: skip
    """Norm and activation of (B, rows, lanes) images.

    Mean and variance (2, groups, channels) are set: of each image, or of all as one group.
    """
    mean, variance = _floats(moments, (2, groups, channels))
    _normalise(
        _floats(x, shape), _floats(weight, (channels,)), _floats(bias, (channels,)),
        eps, slope, mean, variance, _floats(y, shape),
    )  # fmt: skip


@numba.njit(cache=True)
def normalise_gradient(
    x: int, weight: int, bias: int, moments: int, upstream: int, learned: int, moved: int,
    shape: tuple[int, int, int], groups: int, channels: int, eps: float, slope: float,
) -> None:  # fmt: skip
    """Gradients of weight and bias (2, groups, channels), and of the images, for ``normalise``."""
    mean, variance = _floats(moments, (2, groups, channels))
    of_weight, of_bias = _floats(learned, (2, groups, channels))
    _normalise_gradient(
        _floats(x, shape), _floats(weight, (channels,)), _floats(bias, (channels,)), slope,
        mean, np.float32(1) / np.sqrt(variance + np.float32(eps)),
        _floats(upstream, shape), of_weight, of_bias, _floats(moved, shape),
    )  # fmt: skip


@intrinsic
def _pointer(_: Any, address: Any) -> Any:
    def cast(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(address), cast


@numba.njit(cache=True)
def _floats(address: int, shape: Any) -> Any:
    pointer: Any = _pointer(address)  # type: ignore[call-arg]  # numba adds the first one
    return numba.carray(pointer, shape, np.float32)


@numba.njit(parallel=True, fastmath=_FAST, cache=True)
def _normalise(
    x: Any, weight: Any, bias: Any, eps: float, slope: float, mean: Any, variance: Any, y: Any
) -> None:
    """Norm and activation; ``mean`` and ``variance`` (B, C), or (1, C) of all images, are set."""
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
def _normalise_gradient(
    x: Any, weight: Any, bias: Any, slope: float, mean: Any, inverse: Any,
    upstream: Any, of_weight: Any, of_bias: Any, moved: Any,
) -> None:  # fmt: skip
    """Gradients of weight and bias, shaped as ``mean``, and of the image."""
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
