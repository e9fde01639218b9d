"""Convolution units that Phi, Omega and D are made of."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, cat, nn
from torch.nn.functional import interpolate, leaky_relu, relu

from skelift.collective import gather, processes
from skelift.models import fused
from skelift.models.few_channels import Convolution

Norm = Callable[[int], nn.Module]  # of so many channels, with its activation


class GlobalBatchNorm(nn.BatchNorm2d):
    """BatchNorm whose statistics are those of the global batch, on any device and backend.

    torch's SyncBatchNorm refuses CPU tensors, and a run must give the same curve on one process
    and on several. In a single process this is exactly ``nn.BatchNorm2d``.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W), this process's rows of the batch."""
        if not self.training or processes() == 1:
            return super().forward(x)
        rows = x.float()
        own_mean = rows.mean((0, 2, 3))
        own_variance = (rows - own_mean[:, None, None]).square().mean((0, 2, 3))
        # One exchange for both: each process has as many rows (Chan et al. 1979).
        means, variances = gather(torch.stack([own_mean, own_variance])[None]).unbind(1)
        mean = means.mean(0)
        variance = (variances + (means - mean).square()).mean(0)
        self._track(mean.detach(), variance.detach(), processes() * x.numel() // x.shape[1])
        scale = self.weight * (variance + self.eps).rsqrt()
        centred = rows - mean[:, None, None]
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * count / (count - 1), self.momentum)


class InstanceNorm(nn.InstanceNorm2d):
    """InstanceNorm without weights, then ReLU with the given slope below 0."""

    def __init__(self, channels: int, slope: float = 0.0) -> None:
        super().__init__(channels)
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        if fused.fits(x):
            return fused.instance_norm(x, self.eps, self.slope)
        if x.is_cuda and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            from skelift.models import fused_cuda

            return fused_cuda.instance_norm(x, self.eps, self.slope)
        y = super().forward(x)
        return leaky_relu(y, self.slope, inplace=True) if self.slope else relu(y, inplace=True)


class BatchNormReLU(GlobalBatchNorm):
    """``GlobalBatchNorm``, then ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        if not (self.training and processes() == 1 and fused.fits_batch_norm(x)):
            return relu(super().forward(x), inplace=True)
        y, (mean, variance) = fused.batch_norm(x, self.weight, self.bias, self.eps)
        self._track(mean, variance, x.numel() // x.shape[1])
        return y


class Enlarge(nn.Module):
    """Twice the height and width, by bilinear interpolation."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 2 H, 2 W)."""
        if fused.fits(x):
            return fused.enlarge(x)
        return interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def unit(inputs: int, outputs: int, norm: Norm, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution without bias, normalisation with ReLU."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, norm(outputs))


def mlp(inputs: int, width: int, outputs: int) -> nn.Sequential:
    """Two hidden layers with ReLU."""
    return nn.Sequential(
        nn.Linear(inputs, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, outputs),
    )


class Encoder(nn.Module):
    """Four stages, each but the first halving the side: (B, C, S, S) -> w, 2w, 4w, 8w channels."""

    def __init__(self, inputs: int, width: int, norm: Norm) -> None:
        super().__init__()
        w = width
        self.stages = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Sequential(Convolution(inputs, w, kernel=7), norm(w)), unit(w, w, norm)
                ),
                nn.Sequential(unit(w, 2 * w, norm, stride=2), unit(2 * w, 2 * w, norm)),
                nn.Sequential(unit(2 * w, 4 * w, norm, stride=2), unit(4 * w, 4 * w, norm)),
                nn.Sequential(
                    unit(4 * w, 8 * w, norm, stride=2),
                    unit(8 * w, 8 * w, norm),
                    unit(8 * w, 8 * w, norm, kernel=1),
                ),
            ]
        )

    def forward(self, *images: Tensor) -> list[Tensor]:
        """Feature maps of the four stages, finest first, of one batch or several after each other.

        The first convolution, the widest, is differentiated by those batches alone that need it.
        """
        first_unit, second_unit = cast("nn.Sequential", self.stages[0])
        convolution, norm = cast("nn.Sequential", first_unit)
        seen = [convolution(x) for x in images]
        x = second_unit(norm(cat(seen) if len(seen) > 1 else seen[0]))
        features = [x]
        for stage in self.stages[1:]:
            x = stage(x)
            features.append(x)
        return features
