"""CPU kernels of training for images in channels_last: norms with their activation, enlarging.

torch's InstanceNorm copies an image in channels_last to the other memory layout and back, forward
and backward, and an activation by itself reads and writes it once more. Here pixels are summed in
lanes, as many channels and pixels side by side as fill a few vector registers, one image per task:
the sums do not depend on the number of threads.
"""

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import interpolate

from skelift import threads

_LANES = 64
# Smaller batches are as fast with torch's own BatchNorm, which copies nothing.
_LEAST_BATCH_NORM = 2**18
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
    batch, channels = x.shape[:2]
    one, zero = _constant(1, channels), _constant(0, channels)
    moments = x.new_empty((2, batch, channels))
    y: Tensor = _Norm.apply(x, one, zero, moments, eps, slope)  # type: ignore[no-untyped-call]
    return y


def batch_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Moments]:
    """BatchNorm over the batch, then ReLU; see ``fits``."""
    moments = x.new_empty((2, 1, x.shape[1]))
    y: Tensor = _Norm.apply(x, weight, bias, moments, eps, 0.0)  # type: ignore[no-untyped-call]
    return y, Moments(*moments[:, 0])


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
        from skelift.models import fused_cpu

        moved = torch.empty_like(ctx.like, device="cpu")
        upstream = gradient.contiguous(memory_format=torch.channels_last)
        threads.match_torch()
        fused_cpu.enlarge_gradient(_pixels(upstream), _pixels(moved))
        return moved


class _Norm(torch.autograd.Function):
    """Sets ``moments``, mean and variance: (2, 1, C) of the batch or (2, B, C) of each image."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        moments: Tensor,
        eps: float,
        slope: float,
    ) -> Tensor:
        from skelift.models import fused_cpu

        y = torch.empty_like(x)
        threads.match_torch()
        fused_cpu.normalise(
            _at(x), _at(weight), _at(bias), _at(moments), _at(y),
            _lanes(x), moments.shape[1], x.shape[1], eps, slope,
        )  # fmt: skip
        ctx.save_for_backward(x, weight, bias, moments)
        ctx.eps, ctx.slope = eps, slope
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        from skelift.models import fused_cpu

        x, weight, bias, moments = ctx.saved_tensors
        moved, learned = torch.empty_like(x), torch.empty_like(moments)
        upstream = gradient.contiguous(memory_format=torch.channels_last)
        threads.match_torch()
        fused_cpu.normalise_gradient(
            _at(x), _at(weight), _at(bias), _at(moments), _at(upstream), _at(learned), _at(moved),
            _lanes(x), moments.shape[1], x.shape[1], ctx.eps, ctx.slope,
        )  # fmt: skip
        of_weights = learned[:, 0].unbind() if ctx.needs_input_grad[1] else (None, None)
        return moved, *of_weights, None, None, None


@cache
def _constant(value: float, channels: int) -> Tensor:
    return torch.full((channels,), value, dtype=torch.float32)


def _at(values: Tensor) -> int:
    """The address that the kernels read from or write to."""
    assert values.dtype == torch.float32  # the kernels cannot tell
    return values.data_ptr()


def _pixels(x: Tensor) -> Floats:
    """(B, H, W, C) view of (B, C, H, W) in channels_last."""
    view: Floats = x.detach().permute(0, 2, 3, 1).numpy()
    return view


def _lanes(x: Tensor) -> tuple[int, int, int]:
    """(B, rows, lanes) that hold (B, C, H, W) in channels_last; lanes are a multiple of C."""
    batch, channels, height, width = x.shape
    pixels = height * width
    lanes = channels * math.gcd(pixels, max(_LANES // channels, 1))
    return batch, pixels * channels // lanes, lanes
