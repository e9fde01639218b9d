"""The pipeline that is kept at test time: image -> skeleton image -> 2D pose -> 3D pose."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from skelift.config import ModelConfig
from skelift.geometry import Units, View, lift, mirror_pose, normalise, root_relative_2d
from skelift.models.heads.front_back import FrontBack
from skelift.models.heads.refiner import Refiner
from skelift.models.lifter import Lifter
from skelift.models.omega import Omega
from skelift.models.phi import Phi
from skelift.render import Kappa
from skelift.skeleton import Skeleton


@dataclass(frozen=True)
class Poses:
    """What the pipeline says of B images.

    Attributes:
        s: (B, C, S, S) skeleton images Phi(x).
        y: (B, J, 2) 2D poses Omega(s), sides named, [-1, 1] over the crop.
        v: (B, J, 3) 3D poses, root-relative, camera frame, root-to-head about 1.
        elevation: (B,) predicted elevation of the camera, radians.
    """

    s: Tensor
    y: Tensor
    v: Tensor
    elevation: Tensor


class PoseNet(nn.Module):
    """Phi, Omega and Lambda, with the constants that join them.

    Args:
        config: widths, channels and units.
        skeleton: the body.
        scale: the data set's constant (mean root-to-head length of the prior in ``config.units``).
    """

    bone_indices: Tensor
    b_bar: Tensor
    swap: Tensor

    def __init__(self, config: ModelConfig, skeleton: Skeleton, scale: float) -> None:
        super().__init__()
        sides = config.channels == "sides"
        channels = len(skeleton.channel_names) if sides else 1
        self.skeleton = skeleton
        self.units: Units = "camera" if config.units == "camera" else "crop"
        self.phi = Phi(channels, config.width)
        self.omega = Omega(channels, len(skeleton), config.width)
        # Rx(e) takes the camera frame upright: it is negative where the camera looks down.
        elevation = -math.radians(config.elevation_deg)
        self.lifter = Lifter(len(skeleton), config.lifter_width, elevation)
        self.facing = FrontBack(skeleton) if config.facing else None
        self.refiner = Refiner(len(skeleton)) if config.refine else None
        self.flip_test = config.flip_test
        self.scale = scale
        self.register_buffer(
            "bone_indices", torch.as_tensor(skeleton.bone_indices), persistent=False
        )
        b_bar = torch.as_tensor(skeleton.relative_bone_lengths, dtype=torch.float32)
        self.register_buffer("b_bar", b_bar, persistent=False)
        self.register_buffer("swap", torch.as_tensor(skeleton.swap), persistent=False)

    def forward(self, x: Tensor, view: View) -> Poses:
        """(B, 3, S, S) images in [0, 1] and their views -> poses."""
        s, y, _ = self.see(x)
        v, elevation = self.lift(self.normalise(y.float(), view))
        return Poses(s, y, v, elevation)

    def see(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, S, S) images -> skeleton images, 2D poses (B, J, 2) and their spread (B, J)."""
        s = self.phi(x)
        y, spread = self.omega.read(s)
        if self.flip_test and not self.training:
            mirrored, mirrored_spread = self.omega.read(self.phi(x.flip(3)))
            y = (y + mirror_pose(mirrored, self.swap)) / 2
            spread = (spread + mirrored_spread[:, self.swap]) / 2
        refined = y if self.refiner is None else self.refiner(y.float())
        if self.facing is None:
            return s, refined, spread
        return s, *self._named(self.facing(x, y)[:, None] > 0, refined, spread)

    def _named(self, faces_us: Tensor, y: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
        """Give the joints of poses y (B, J, 2), and their spread (B, J), their sides.

        Omega has learned to name sides as if all were seen from behind (``loss.canonical_sides``);
        those of who ``faces_us`` (B, 1) are exchanged.
        """
        return (
            torch.where(faces_us[..., None], y[:, self.swap], y),
            torch.where(faces_us, spread[:, self.swap], spread),
        )

    def normalise(self, y: Tensor, view: View) -> Tensor:
        """2D poses over the crop -> what Lambda and the flow see; both (B, J, 2)."""
        root = self.skeleton.root_index
        return normalise(root_relative_2d(y, view, root, self.units), self.scale)

    def lift(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Eq. 1: normalised (B, J, 2) -> 3D poses (B, J, 3) and elevations (B,)."""
        d, elevation = self.lifter(y)
        return lift(y, d, self.skeleton.root_index), elevation

    def in_mm(self, v: Tensor) -> Tensor:
        """Give poses (B, J, 3) the size of a typical body: its mean bone, in mm.

        One image gives no scale; every pose is taken to be of a body of typical size.
        """
        bones = v[:, self.bone_indices[:, 1]] - v[:, self.bone_indices[:, 0]]
        typical = sum(self.skeleton.bone_lengths_mm) / len(self.skeleton.bone_lengths_mm)
        return v * (typical / bones.norm(dim=-1).mean(1))[:, None, None]


def kappa_for(config: ModelConfig, skeleton: Skeleton, size: int) -> Kappa:
    """The renderer whose images Phi imitates."""
    return Kappa.of(
        skeleton,
        size,
        sides=config.channels == "sides",
        gamma=config.gamma,
        squared=config.squared,
    )
