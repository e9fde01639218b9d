"""Refiner: 2D pose -> the likely pose near it."""

import torch
from torch import Tensor

from skelift import losses
from skelift.models.heads.head import FitData, Head
from skelift.models.layers import mlp
from skelift.skeleton import Skeleton

# Range of the noise's standard deviation, per pose; half a side of the crop is 1. Omega's error is
# unknown without labels, so the range goes from a good Omega to a poor one.
NOISE = (0.02, 0.1)


class Refiner(Head):
    """A denoising autoencoder (Vincent et al., 2008) of the unpaired 2D poses: y + r(y).

    Where Omega bends an arm as no arm bends, it gives the likely arm near it.
    """

    batch = 256

    def __init__(self, skeleton: Skeleton, width: int = 512) -> None:
        super().__init__(skeleton)
        coordinates = 2 * len(skeleton)
        self.layers = mlp(coordinates, width, coordinates)

    def forward(self, x: Tensor, read: Tensor, y: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Head``."""
        return self.denoise(y.float()), spread

    def denoise(self, y: Tensor) -> Tensor:
        """Poses (B, J, 2) over the crop, sides as Omega names them -> the same, refined."""
        return y + self.layers(y.flatten(1)).view_as(y)

    def examples(self, data: FitData) -> tuple[Tensor, ...]:
        """The unpaired poses (M, J, 2)."""
        return (data.poses,)

    def loss(self, *examples: Tensor, rng: torch.Generator) -> Tensor:
        """Squared error of poses (B, J, 2) that are refined from themselves plus noise."""
        (u,) = examples
        return losses.refine_loss(self.denoise(noisy(u, rng)), u)


def noisy(u: Tensor, rng: torch.Generator) -> Tensor:
    """Poses (B, J, 2) as an Omega of unknown quality might read them."""
    least, most = NOISE
    std = least + (most - least) * torch.rand(len(u), 1, 1, generator=rng)
    return u + (torch.randn(u.shape, generator=rng) * std).to(u.device)
