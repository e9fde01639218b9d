"""Convolution units that Phi, Omega and D are made of."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from skelift.collective import processes, total

Norm = Callable[[int], nn.Module]


class Convolution(nn.Conv2d):
    """Convolution whose gradient is summed share by share (see ``sum_in_shares``)."""

    shares = 1

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        if self.shares == 1:
            return super().forward(x)
        return torch.cat([super(Convolution, self).forward(part) for part in x.chunk(self.shares)])


class GlobalBatchNorm(nn.BatchNorm2d):
    """BatchNorm whose statistics are those of the global batch, on any device and backend.

    torch's SyncBatchNorm refuses CPU tensors, and a run must give the same curve on one process
    and on several. In a single process that sums in one share this is exactly ``nn.BatchNorm2d``.
    """

    shares = 1

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W), this process's rows of the batch."""
        if not self.training or processes() * self.shares == 1:
            return super().forward(x)
        parts = x.float().chunk(self.shares)
        mean = _mean([part.mean((0, 2, 3)) for part in parts])
        centred = [part - mean[:, None, None] for part in parts]
        variance = _mean([part.square().mean((0, 2, 3)) for part in centred])
        self._track(mean.detach(), variance.detach(), x.numel() // x.shape[1])
        return torch.cat([self._scaled(part, variance) for part in centred]).to(x.dtype)

    def _scaled(self, centred: Tensor, variance: Tensor) -> Tensor:
        scale = self.weight * (variance + self.eps).rsqrt()
        return centred * scale[:, None, None] + self.bias[:, None, None]

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        count *= processes()
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * count / (count - 1), self.momentum)


def _mean(shares: list[Tensor]) -> Tensor:
    """Mean of the means of all shares of all processes."""
    return total(torch.stack(shares).sum(0)) / (len(shares) * processes())


def sum_in_shares(network: nn.Module, shares: int) -> None:
    """Have ``network`` sum over its rows share by share, as so many processes would.

    A sum's last bit depends on its order, and training magnifies it: one ReLU that it tips moves a
    gradient by a per cent.
    """
    for module in network.modules():
        if isinstance(module, Convolution | GlobalBatchNorm):
            module.shares = shares


def instance_norm(channels: int) -> nn.Module:
    """InstanceNorm without learned scale."""
    return nn.InstanceNorm2d(channels)


def unit(inputs: int, outputs: int, norm: Norm, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution without bias, normalisation, ReLU."""
    convolution = Convolution(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, norm(outputs), nn.ReLU(inplace=True))


class Encoder(nn.Module):
    """Four stages, each but the first halving the side: (B, C, S, S) -> w, 2w, 4w, 8w channels."""

    def __init__(self, inputs: int, width: int, norm: Norm) -> None:
        super().__init__()
        w = width
        self.stages = nn.ModuleList(
            [
                nn.Sequential(unit(inputs, w, norm, kernel=7), unit(w, w, norm)),
                nn.Sequential(unit(w, 2 * w, norm, stride=2), unit(2 * w, 2 * w, norm)),
                nn.Sequential(unit(2 * w, 4 * w, norm, stride=2), unit(4 * w, 4 * w, norm)),
                nn.Sequential(
                    unit(4 * w, 8 * w, norm, stride=2),
                    unit(8 * w, 8 * w, norm),
                    unit(8 * w, 8 * w, norm, kernel=1),
                ),
            ]
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Feature maps of the four stages, finest first."""
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features
