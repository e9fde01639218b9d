"""Painted bodies: images of the prior's poses, whose true 2D poses are known."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from skelift.data.loading import ImageBatch
from skelift.training.draws import Draws, tensor

_PATCHES = 6  # per side, of the pattern of a body
_NOTCHES = 12  # per side, of the raggedness of its outline
_SHARP = 0.02  # of half a crop, over which the outline is smooth
_RAGGED = 0.06  # the same, by which the outline is off
_SPOT = 0.12  # the same: radius around a joint that has the joint's colour


@dataclass(frozen=True)
class Paint(Draws):
    """Colours and outlines of B painted bodies."""

    gain: Tensor  # (B, 1) factor on the colour
    pattern: Tensor  # (B, 1, _PATCHES, _PATCHES) standard normal
    notches: Tensor  # (B, 1, _NOTCHES, _NOTCHES) the same

    @classmethod
    def draw(cls, rng: np.random.Generator, batch: int) -> "Paint":
        """Random numbers of a step."""
        return cls(
            tensor(np.exp(0.3 * rng.standard_normal((batch, 1)))),
            tensor(rng.standard_normal((batch, 1, _PATCHES, _PATCHES))),
            tensor(rng.standard_normal((batch, 1, _NOTCHES, _NOTCHES))),
        )

    def __call__(
        self, distance: Tensor, images: ImageBatch, u: Tensor, colours: Tensor
    ) -> Tensor:
        """Bodies in the colours of the bodies in other images.

        Args:
            distance: (B, 1, S, S) signed distances to the outlines (``Flesh.distance``).
            images: B images, whose colours they take.
            u: (B, J, 2) the poses.
            colours: (J, 3) of the joints, less the body's mean colour (``joint_colours``).

        Returns:
            (B, 3, S, S) in [0, 1] on black.
        """
        size = distance.shape[-2:]
        mean, spread = _of_bodies(images)
        pattern = interpolate(self.pattern, size, mode="bilinear")
        colour = mean * self.gain[:, :, None, None] + spread * pattern
        colour = colour + _spots(u, colours, size[0])
        ragged = distance + _RAGGED * interpolate(self.notches, size, mode="bilinear")
        return colour.clamp(0, 1) * torch.sigmoid(-ragged / _SHARP)


def joint_colours(y: Tensor, images: ImageBatch) -> Tensor:
    """(J, 3) mean colour at the joints y (B, J, 2) of images, less that of their bodies."""
    there = grid_sample(images.x, y.to(images.x.dtype)[:, None], align_corners=False)[:, :, 0]
    on_body = grid_sample(images.mask, y.to(images.x.dtype)[:, None], align_corners=False)[:, :, 0]
    mean, _ = _of_bodies(images)
    difference = (there - mean[..., 0] * on_body).sum(0) / on_body.sum(0).clamp(min=1)
    return difference.T


def _of_bodies(images: ImageBatch) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (B, 3, 1, 1) of the colour of the bodies."""
    area = images.mask.sum((2, 3), keepdim=True).clamp(min=1)
    mean = (images.x * images.mask).sum((2, 3), keepdim=True) / area
    variance = ((images.x - mean).square() * images.mask).sum((2, 3), keepdim=True) / area
    return mean, variance.sqrt()


def _spots(u: Tensor, colours: Tensor, size: int) -> Tensor:
    """(B, 3, S, S) the joints' colours around the joints u (B, J, 2)."""
    at = (2 * torch.arange(size, device=u.device) + 1) / size - 1
    near = (-((at - u[..., None]) / _SPOT).square()).exp()  # (B, J, 2, S)
    return torch.einsum("bjx,bjy,jc->bcyx", near[:, :, 0], near[:, :, 1], colours)
