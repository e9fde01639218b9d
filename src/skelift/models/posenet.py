"""The core of the method: Phi, Omega and Lambda."""

import math

import torch
from torch import Tensor, nn

from skelift.config import ModelConfig
from skelift.geometry import CropCamera, lift, normalise, root_relative_2d
from skelift.models.lifter import Lifter
from skelift.models.omega import Omega
from skelift.models.phi import Phi
from skelift.render import Kappa
from skelift.skeleton import Skeleton

UPRIGHT_EVERY = 200  # steps of Lambda, after which it is asked whether it sees from below
_ASKED = 2000  # poses that it is asked of


class PoseNet(nn.Module):
    """Phi, Omega and Lambda, with the constants that join them.

    ``scale`` is the data set's: the mean root-to-head length of its prior, in ``config.units``.
    """

    bone_indices: Tensor
    b_bar: Tensor
    swap: Tensor

    def __init__(self, config: ModelConfig, skeleton: Skeleton, scale: float) -> None:
        super().__init__()
        sides = config.channels == "sides"
        channels = len(skeleton.channel_names) if sides else 1
        self.skeleton = skeleton
        self.units = config.units
        self.phi = Phi(channels, config.width)
        self.omega = Omega(channels, len(skeleton), config.width)
        # Rx(e) takes the camera frame upright: it is negative where the camera looks down.
        self.elevation = -math.radians(config.elevation_deg)
        self.lifter = Lifter(len(skeleton), config.lifter_width, self.elevation)
        self.scale = scale
        self.register_buffer(
            "bone_indices", torch.as_tensor(skeleton.bone_indices), persistent=False
        )
        b_bar = torch.as_tensor(skeleton.relative_bone_lengths, dtype=torch.float32)
        self.register_buffer("b_bar", b_bar, persistent=False)
        self.register_buffer("swap", torch.as_tensor(skeleton.swap), persistent=False)

    def predict_2d(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, S, S) images -> skeleton images, 2D poses (B, J, 2) and their spread (B, J)."""
        s = self.phi(x)
        return s, *self.omega.soft_argmax(s)

    def normalise(self, y: Tensor, camera: CropCamera) -> Tensor:
        """2D poses over the crop -> what Lambda and the flow see; both (B, J, 2)."""
        root = self.skeleton.root_index
        return normalise(root_relative_2d(y, camera, root, self.units), self.scale)

    def lift(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Eq. 1: normalised (B, J, 2) -> 3D poses (B, J, 3) and elevations (B,)."""
        d, elevation = self.lifter(y)
        return lift(y, d, self.skeleton.root_index), elevation

    def lift_again(self, y: Tensor) -> Tensor:
        """The 3D poses of ``lift``, without the elevations that nobody asks for."""
        return lift(y, self.lifter.depths(y), self.skeleton.root_index)

    @torch.no_grad()
    def undo_mirrored_depth(self, y: Tensor) -> bool:
        """Exchange a Lambda that is mirrored in depth for its twin; whether it was.

        It is where its elevations of normalised poses (M, J, 2) clearly have another sign than
        ``config.elevation_deg``: see ``Lifter.mirror_depth``.
        """
        _, elevation = self.lifter(y[:: max(len(y) // _ASKED, 1)].float())
        mirrored = bool(elevation.mean() * self.elevation < -0.5 * self.elevation**2)
        if mirrored:
            self.lifter.mirror_depth()
        return mirrored


def kappa_for(config: ModelConfig, skeleton: Skeleton, size: int) -> Kappa:
    """The renderer whose images Phi imitates."""
    sides = config.channels == "sides"
    return Kappa.of(skeleton, size, sides=sides, gamma=config.gamma, squared=config.squared)
