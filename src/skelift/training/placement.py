"""How a body lies in its crop: turned, larger or smaller, off the middle."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from skelift.config import AugmentConfig
from skelift.geometry import CropCamera, look_up, pixel_centres, turn_2d
from skelift.training.draws import Draws, tensor


@dataclass(frozen=True)
class Placement(Draws):
    """B similarity transforms of crop coordinates, p -> scale * R(turn) p + shift.

    Crop coordinates are [-1, 1] in x and y, y down; a positive turn is clockwise in the image.
    """

    turn: Tensor  # (B,) radians
    scale: Tensor  # (B,)
    shift: Tensor  # (B, 2)

    @classmethod
    def draw(cls, config: AugmentConfig, rng: np.random.Generator, batch: int) -> "Placement":
        """Turns within ``turn_deg``, small ones more often; sizes and places within ``jitter``."""
        turn = np.deg2rad(config.turn_deg) * rng.triangular(-1, 0, 1, batch)
        scale = np.exp(config.jitter * rng.uniform(-1, 1, batch))
        shift = config.jitter / 2 * rng.uniform(-1, 1, (batch, 2))
        return cls(tensor(turn), tensor(scale), tensor(shift))

    def of_poses(self, u: Tensor) -> Tensor:
        """Poses (B, J, 2) over the crop, placed."""
        return self.scale[:, None, None] * turn_2d(u, self.turn) + self.shift[:, None]

    def of_motion(self, motion: Tensor) -> Tensor:
        """(B, 3) way right and down and growth, in sizes of the body, turned alike."""
        way = turn_2d(motion[:, None, :2], self.turn)[:, 0]
        return torch.cat([way, motion[:, 2:]], 1)

    def of_images(self, images: Tensor) -> Tensor:
        """Images (B, C, S, S), placed; black where they show what lay outside of the crop."""
        before = turn_2d(pixel_centres(images) - self.shift[:, None], -self.turn)
        return look_up(images, before / self.scale[:, None, None])

    def of_cameras(self, camera: CropCamera) -> CropCamera:
        """The crop boxes that show what the placed images show, but for the turn.

        No box shows a turned image: whoever lifts it has to turn its pose back.
        """
        half = camera.crop[:, 2:] / 2
        centre = camera.crop[:, :2] - half * self.shift / self.scale[:, None]
        crop = torch.cat([centre, 2 * half / self.scale[:, None]], 1)
        return CropCamera(crop.to(camera.crop.dtype), camera.focal, camera.principal)
