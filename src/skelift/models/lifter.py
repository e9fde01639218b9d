"""Lambda: 2D pose -> depth of each joint and elevation of the camera."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn


class Lifter(nn.Module):
    """Lambda (Section 3, after Martinez et al. and ElePose): 10.5 M parameters at width 1024.

    The predicted elevation starts at ``elevation``, in radians.
    """

    def __init__(self, joints: int, width: int = 1024, elevation: float = 0.0) -> None:
        super().__init__()
        self.joints, self.width = joints, width
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

    @classmethod
    @torch.no_grad()
    def mean_of(cls, lifters: Sequence["Lifter"], scales: Sequence[float]) -> "Lifter":
        """One Lambda, as wide as all of them together, that gives the mean of what they give.

        Args:
            lifters: of the same joints.
            scales: which each was trained with (``PoseNet``); the first is that of the result.
        """
        mean = cls(lifters[0].joints, sum(lifter.width for lifter in lifters))
        unit = [scale / scales[0] for scale in scales]  # of what each sees and says
        for name, layer in mean.named_modules():
            if not isinstance(layer, nn.Linear):
                continue
            parts = [cast(nn.Linear, lifter.get_submodule(name)) for lifter in lifters]
            weights: list[Tensor] = [part.weight for part in parts]
            biases: list[Tensor] = [part.bias for part in parts]
            if name == "trunk.0":
                weight = torch.cat([w / u for w, u in zip(weights, unit, strict=True)])
                bias = torch.cat(biases)
            elif name in ("depth.2", "elevation.2"):
                share = [(u if name == "depth.2" else 1) / len(parts) for u in unit]
                weight = torch.cat([w * s for w, s in zip(weights, share, strict=True)], 1)
                bias = torch.stack([b * s for b, s in zip(biases, share, strict=True)]).sum(0)
            else:
                weight = torch.block_diag(*weights)
                bias = torch.cat(biases)
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
        return mean

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
