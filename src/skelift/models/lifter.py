"""Lambda: 2D pose -> depth of each joint and elevation of the camera."""

import torch
from torch import Tensor, nn


class Lifter(nn.Module):
    """Lambda (Section 3, after Martinez et al. and ElePose): 10.5 M parameters at width 1024.

    The predicted elevation starts at ``elevation``, in radians.
    """

    def __init__(self, joints: int, width: int = 1024, elevation: float = 0.0) -> None:
        super().__init__()
        self.joints = joints
        self.trunk = nn.Sequential(nn.Linear(2 * joints, width), ResidualBlock(width))
        self.depth = _head(width, joints)
        self.elevation = _head(width, 1)
        with torch.no_grad():
            self.elevation[-1].bias.add_(elevation)  # type: ignore[operator]

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised poses (B, J, 2) -> depth offsets d (B, J), elevations (B,) in radians."""
        features = self.trunk(y.flatten(1))
        return self.depth(features), self.elevation(features).squeeze(1)

    @torch.no_grad()
    def mirror_depth(self) -> None:
        """Become the twin that sees every pose mirrored in depth, from the mirrored elevation.

        Both have the same losses but for perspective, which is weak: chance decides between them.
        """
        for head in (self.depth, self.elevation):
            last = head[-1]
            assert isinstance(last, nn.Linear)
            last.weight.neg_()
            last.bias.neg_()

    def depths(self, y: Tensor) -> Tensor:
        """Normalised poses (B, J, 2) -> depth offsets d (B, J) alone."""
        d: Tensor = self.depth(self.trunk(y.flatten(1)))
        return d


class ResidualBlock(nn.Module):
    """Linear, LeakyReLU, linear, LeakyReLU, and the input added; no norm, no dropout."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, width), nn.LeakyReLU(0.01), nn.Linear(width, width), nn.LeakyReLU(0.01)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, width) -> (B, width)."""
        return x + self.layers(x)


def _head(width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(ResidualBlock(width), ResidualBlock(width), nn.Linear(width, outputs))
