"""A convolution to few channels, of several neighbouring pixels at once.

Vector registers hold 16 numbers, of which a convolution to 8 channels fills a half, and the
gradient of an image of 3 channels a fifth. In channels_last, n neighbouring pixels of C channels
lie in memory as one pixel of n C channels does. So the same convolution is one between blocks of n
pixels: its kernels are the old ones, shifted by 0 to n - 1 pixels, and 0 beyond. That is more
products (8 / 7 of them for pairs and 7 x 7), but registers are full.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d, pad
from torch.nn.grad import conv2d_weight

from skelift.models import fused

_FEW = 8  # channels
_FORTH, _BACK = 2, 4  # pixels of a block: to 8 channels, and back to 3


class Convolution(nn.Conv2d):
    """``nn.Conv2d`` of an odd kernel, without bias, that keeps the size of the image."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, outputs, H, W)."""
        if not (self.out_channels <= _FEW and x.shape[3] % _BACK == 0 and self._channels_last):
            return super().forward(x)
        pixels = x.contiguous(memory_format=torch.channels_last)  # torch's copies it, too
        if not fused.fits(pixels) or torch.is_autocast_enabled("cpu"):
            return super().forward(x)
        y: Tensor = _Blocks.apply(pixels, self.weight)  # type: ignore[no-untyped-call]
        return y

    @property
    def _channels_last(self) -> bool:
        return self.weight.is_contiguous(memory_format=torch.channels_last)


class _Blocks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _convolved(x, weight, _FORTH)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        moved = learned = None
        upstream = gradient.contiguous(memory_format=torch.channels_last)
        if ctx.needs_input_grad[0]:
            moved = _convolved(upstream, weight.flip(2, 3).transpose(0, 1), _BACK)
        if ctx.needs_input_grad[1]:
            learned = _learned(x, weight, upstream, _FORTH)
        return moved, learned


def _convolved(x: Tensor, weight: Tensor, n: int) -> Tensor:
    """The convolution by blocks of n pixels."""
    source = _source(tuple(weight.shape), n)
    kernels = pad(weight.reshape(-1), (0, 1))[source]
    y = conv2d(
        _blocks(_margins(x, source, n), n),
        kernels.contiguous(memory_format=torch.channels_last),
        padding=(weight.shape[2] // 2, 0),
    )
    return _blocks(y, 1 / n)


def _learned(x: Tensor, weight: Tensor, upstream: Tensor, n: int) -> Tensor:
    """Gradient of the weight: the sum over the n places where it stands in a block's kernels."""
    source = _source(tuple(weight.shape), n)
    of_kernels = conv2d_weight(
        _blocks(_margins(x, source, n), n),
        source.shape,
        _blocks(upstream, n),
        padding=(weight.shape[2] // 2, 0),
    )
    sums = weight.new_zeros(weight.numel() + 1)
    return sums.index_add_(0, source.flatten(), of_kernels.reshape(-1))[:-1].view(weight.shape)


def _margins(x: Tensor, source: Tensor, n: int) -> Tensor:
    """As many black columns left and right as a convolution by blocks, without padding, needs."""
    blocks, kernel = source.shape[3], source.shape[2]
    return pad(x, (kernel // 2, n * (blocks - 1) - kernel // 2))


def _blocks(x: Tensor, n: float) -> Tensor:
    """(B, C, H, W) in channels_last -> (B, n C, H, W / n), the same memory."""
    batch, channels, height, _ = x.shape
    pixels = x.permute(0, 2, 3, 1).reshape(batch, height, -1, int(n * channels))
    return pixels.permute(0, 3, 1, 2)


@cache
def _source(shape: tuple[int, int, int, int], n: int) -> Tensor:
    """For each weight of the blocks' kernels (n O, n C, K, blocks), which of (O, C, K, K) it is.

    The number of weights stands for none of them, that is for 0.
    """
    outputs, inputs, kernel, _ = shape
    blocks = -(-(kernel + n - 1) // n)
    weights = torch.arange(outputs * inputs * kernel**2).view(shape)
    shifted = [
        pad(weights, (place, n * blocks - kernel - place), value=weights.numel())
        for place in range(n)
    ]  # each (O, C, K, n blocks)
    by_pixel = torch.stack(shifted).unflatten(-1, (blocks, n))
    return by_pixel.permute(0, 1, 5, 2, 3, 4).reshape(n * outputs, n * inputs, kernel, blocks)
