"""CPU kernels of training for images in channels_last: norms with their activation, enlarging.

torch's InstanceNorm copies an image in channels_last to the other memory layout and back, forward
and backward, and an activation by itself reads and writes it once more. Here pixels are summed in
lanes, as many channels and pixels side by side as fill a few vector registers, one image per task:
the sums do not depend on the number of threads.
"""

import math
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
        from skelift.models import fused_cpu

        moved = torch.empty_like(ctx.like, device="cpu")
        upstream = gradient.contiguous(memory_format=torch.channels_last)
        with threads.of_torch():
            fused_cpu.enlarge_gradient(_pixels(upstream), _pixels(moved))
        return moved


class _Norm(torch.autograd.Function):
    """BatchNorm with weights, InstanceNorm without; mean and variance are (B, C), or (C,)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, slope: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        from skelift.models import fused_cpu

        y, channels = torch.empty_like(x), x.shape[1]
        shape = (1 if weight is not None else len(x), channels)
        mean, variance = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
        affine = _affine(weight, bias, channels)
        with threads.of_torch():
            fused_cpu.normalise(_lanes(x), *affine, eps, slope, mean, variance, _lanes(y))
        moments = torch.from_numpy(mean).squeeze(0), torch.from_numpy(variance).squeeze(0)
        ctx.save_for_backward(x, weight, bias)
        ctx.statistics, ctx.slope = (mean, 1 / np.sqrt(variance + np.float32(eps))), slope
        ctx.mark_non_differentiable(*moments)
        return y, *moments

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        from skelift.models import fused_cpu

        x, weight, bias = ctx.saved_tensors
        moved, channels = torch.empty_like(x), x.shape[1]
        upstream = gradient.contiguous(memory_format=torch.channels_last)
        affine = _affine(weight, bias, channels)
        of_bias = np.empty_like(ctx.statistics[0])
        of_weight = np.empty_like(of_bias)
        mean, inverse = ctx.statistics
        with threads.of_torch():
            fused_cpu.normalise_gradient(
                _lanes(x), *affine, ctx.slope, mean, inverse,
                _lanes(upstream), of_weight, of_bias, _lanes(moved),
            )  # fmt: skip
        if weight is None:
            return moved, None, None, None, None
        return moved, torch.from_numpy(of_weight[0]), torch.from_numpy(of_bias[0]), None, None


def _pixels(x: Tensor) -> Floats:
    """(B, H, W, C) view of (B, C, H, W) in channels_last."""
    view: Floats = x.detach().permute(0, 2, 3, 1).numpy()
    return view


def _affine(weight: Tensor | None, bias: Tensor | None, channels: int) -> tuple[Floats, Floats]:
    if weight is None or bias is None:
        return np.ones(channels, dtype=np.float32), np.zeros(channels, dtype=np.float32)
    return weight.detach().numpy(), bias.detach().numpy()


def _lanes(x: Tensor) -> Floats:
    """(B, rows, lanes) view of (B, C, H, W) in channels_last; lanes are a multiple of C."""
    batch, channels, height, width = x.shape
    pixels = height * width
    lanes = channels * math.gcd(pixels, max(_LANES // channels, 1))
    return _pixels(x).reshape(batch, pixels * channels // lanes, lanes)
