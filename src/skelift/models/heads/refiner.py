"""Refiner: 2D pose -> the likely pose near it."""

from torch import Tensor, nn


class Refiner(nn.Module):
    """What is left of a pose when the noise of reading it is taken away: y + r(y).

    A denoising autoencoder (Vincent et al., 2008) of the unpaired 2D poses: where Omega bends an
    arm as no arm is bent, it gives the likely arm near it, and Lambda has a body to lift.

    Args:
        joints: number J of joints.
        width: units of both hidden layers.
    """

    def __init__(self, joints: int, width: int = 512) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2 * joints, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, 2 * joints),
        )

    def forward(self, y: Tensor) -> Tensor:
        """Poses (B, J, 2) over the crop, sides as Omega names them -> the same, refined."""
        refined: Tensor = y + self.layers(y.flatten(1)).view_as(y)
        return refined
