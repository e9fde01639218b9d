"""Upright: by how much is the body turned in the image plane?"""

import torch
from torch import Tensor

from skelift import losses
from skelift.geometry import turn_2d
from skelift.models.heads.head import FitData, Head
from skelift.models.heads.refiner import noisy
from skelift.models.layers import mlp
from skelift.skeleton import Skeleton

MOST = 1.3  # radians, of the turns that it learns from


class Upright(Head):
    """Estimates the camera's roll from a 2D pose, so that heads and Lambda see the body upright.

    They learn from unpaired poses, which upright cameras took. A leaning body and a rolled camera
    look alike: the estimate is the mean of the rolls that explain a pose, given how bodies lean.
    """

    batch = 256

    def __init__(self, skeleton: Skeleton, width: int = 256) -> None:
        super().__init__(skeleton)
        self.layers = mlp(2 * len(skeleton), width, 1)

    def forward(self, x: Tensor, read: Tensor, y: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
        """Poses as they are: the pipeline turns images and poses by ``roll``."""
        return y, spread

    def roll(self, y: Tensor) -> Tensor:
        """Poses (B, J, 2) over the crop -> (B,) radians, clockwise in the image."""
        centred = y - y.mean(1, keepdim=True)
        return self.layers(centred.flatten(1))[:, 0]

    @classmethod
    def roll_seen(cls, data: FitData, y: Tensor) -> Tensor | None:
        """The roll (B,) that the pipeline will take out of poses (B, J, 2); None without this head.

        For the fit of later heads.
        """
        upright = [head for head in data.heads.values() if isinstance(head, cls)]
        return upright[0].roll(y.float()) if upright else None

    def examples(self, data: FitData) -> tuple[Tensor, ...]:
        """The unpaired poses (M, J, 2)."""
        return (data.poses,)

    def loss(self, *examples: Tensor, rng: torch.Generator) -> Tensor:
        """Squared error of the roll of poses (B, J, 2) that were turned, with noise on them."""
        (u,) = examples
        roll = (MOST * (2 * torch.rand(len(u), generator=rng) - 1)).to(u.device)
        return losses.roll_loss(self.roll(turn_2d(noisy(u, rng), roll)), roll)
