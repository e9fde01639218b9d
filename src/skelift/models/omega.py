"""Omega: skeleton image -> 2D pose."""

import torch
from torch import Tensor, nn

from skelift.models.layers import Encoder, InstanceNorm


class Omega(nn.Module):
    """y = Omega(s): one map per joint, read out as the expectation along each axis.

    Width 32, of the first stage, is KeypointGAN's (1.2 M parameters).
    """

    def __init__(self, channels: int, joints: int, width: int = 32) -> None:
        super().__init__()
        self.encoder = Encoder(channels, width, InstanceNorm)
        self.maps = nn.Conv2d(8 * width, joints, 1)

    def forward(self, *s: Tensor) -> Tensor:
        """(B, C, S, S) skeleton images -> (B, J, 2) positions in [-1, 1], float32.

        Several batches are read as one: those that need no gradient, such as drawn poses, beside
        those that do.
        """
        return self.soft_argmax(*s)[0]

    def soft_argmax(self, *s: Tensor) -> tuple[Tensor, Tensor]:
        """Positions (B, J, 2) as ``forward`` gives them, and their spread (B, J).

        The spread is the standard deviation of the distribution that a position is the mean of,
        both axes together, in the same units: wide where the map is undecided.
        """
        maps = self.maps(self.encoder(*s)[-1]).float()  # (B, J, S/8, S/8)
        (x, x_variance), (y, y_variance) = _moments(maps.mean(2)), _moments(maps.mean(3))
        return torch.stack([x, y], -1), (x_variance + y_variance).sqrt()


def _moments(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of the position over [-1, 1] of a softmax along the last axis."""
    positions = torch.linspace(-1, 1, logits.shape[-1], device=logits.device)
    weights = logits.softmax(-1)
    mean = (weights * positions).sum(-1)
    return mean, (weights * (positions - mean.unsqueeze(-1)) ** 2).sum(-1)
