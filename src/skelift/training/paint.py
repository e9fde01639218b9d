"""Painted bodies: images of the prior's poses, whose true 2D poses are known."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample, interpolate

from skelift.collective import total
from skelift.data.loading import ImageBatch
from skelift.flesh import Flesh
from skelift.skeleton import Skeleton
from skelift.training.draws import Draws, tensor

_PATCHES = 6  # per side, of the pattern of a body
_NOTCHES = 12  # per side, of the raggedness of its outline
_SHARP = 0.02  # of half a crop, over which the outline is smooth
_RAGGED = 0.04  # the same, by which the outline is off
_WITHIN = 0.12  # the same: farther inside of the outline the body hides what is behind it
_BEHIND = 0.05  # from root to head, over which a joint goes behind the body
_MOTTLED = 0.5  # of the spread of a body's colours: how much of it is a pattern
_SPOT = 0.12  # the same: radius around a joint that has the joint's colour
_CLEAREST = 4.0  # times the mean colour of a joint, over images that show it and that do not
_LEARNED = 0.02  # weight of the last step in the joints' colours


@dataclass(frozen=True)
class Paint(Draws):
    """Colours and outlines of B painted bodies."""

    gain: Tensor  # (B, 1) factor on the colour
    pattern: Tensor  # (B, 1, _PATCHES, _PATCHES) standard normal
    notches: Tensor  # (B, 1, _NOTCHES, _NOTCHES) the same
    clear: Tensor  # (B, J) factor on the joints' colours: an ear is seen, or not

    @classmethod
    def draw(cls, rng: np.random.Generator, batch: int, joints: int) -> "Paint":
        """Random numbers of a step for bodies of so many joints."""
        return cls(
            tensor(np.exp(0.3 * rng.standard_normal((batch, 1)))),
            tensor(rng.standard_normal((batch, 1, _PATCHES, _PATCHES))),
            tensor(rng.standard_normal((batch, 1, _NOTCHES, _NOTCHES))),
            tensor(_CLEAREST * rng.random((batch, joints))),
        )


class Painter(nn.Module):
    """Paints bodies that look like those in the images: a bridge from the prior's poses to images.

    A pose's flesh has the mean colour of the body in an image; and around each joint what images
    show there besides, on average, as far as their poses are known: pale ears on dark fur.
    """

    colours: Tensor  # (J, 3) of the joints, less the body's mean colour

    def __init__(self, skeleton: Skeleton, size: int) -> None:
        super().__init__()
        self.flesh = Flesh(skeleton, size)
        self.register_buffer("colours", torch.zeros(len(skeleton), 3))

    @torch.no_grad()
    def forward(self, u: Tensor, depth: Tensor, images: ImageBatch, paint: Paint) -> Tensor:
        """Paint bodies.

        Args:
            u: (B, J, 2) poses over the crop.
            depth: (B, J) of their joints, relative to the root, over the length from root to head.
            images: B images, whose colours they take.
            paint: random numbers.

        Returns:
            (B, 3, S, S) in [0, 1] on black.
        """
        size = images.x.shape[-2:]
        mean, spread = _of_bodies(images)
        colour = mean * paint.gain[:, :, None, None]
        colour = colour + _MOTTLED * spread * interpolate(paint.pattern, size, mode="bilinear")
        outline = self.flesh.distance(u)
        seen = paint.clear * _visible(u, depth, outline)
        colour = colour + _spots(u, seen[..., None] * self.colours, size[0])
        notches = interpolate(paint.notches, size, mode="bilinear")
        ragged = outline + _RAGGED * notches
        return colour.clamp(0, 1) * torch.sigmoid(-ragged / _SHARP)

    @torch.no_grad()
    def look(self, y: Tensor, images: ImageBatch) -> None:
        """Learn the joints' colours from images and their poses y (B, J, 2)."""
        at = y.float()[:, None]
        mean, _ = _of_bodies(images)
        colour, on_body = (
            grid_sample(shown.float(), at, align_corners=False)[:, :, 0]
            for shown in (images.x, images.mask)
        )  # (B, C, J)
        sums = torch.cat([(colour - mean[..., 0] * on_body).sum(0), on_body.sum(0)])
        over, count = total(sums).split([3, 1])  # of all processes
        self.colours.lerp_((over / count.clamp(min=1)).T, _LEARNED)


def _of_bodies(images: ImageBatch) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (B, 3, 1, 1) of the colour of the bodies."""
    area = images.mask.sum((2, 3), keepdim=True).clamp(min=1)
    mean = (images.x * images.mask).sum((2, 3), keepdim=True) / area
    variance = ((images.x - mean).square() * images.mask).sum((2, 3), keepdim=True) / area
    return mean, variance.sqrt()


def _visible(u: Tensor, depth: Tensor, outline: Tensor) -> Tensor:
    """(B, J) 0 for a joint behind the body, well inside of its outline, else 1; soft between."""
    at = u.float()[:, None]
    inside = -grid_sample(outline.float(), at, align_corners=False, padding_mode="border")[:, 0, 0]
    behind = torch.sigmoid((depth - depth.mean(1, keepdim=True)) / _BEHIND)
    return 1 - behind * torch.sigmoid((inside - _WITHIN) / _SHARP)


def _spots(u: Tensor, colours: Tensor, size: int) -> Tensor:
    """(B, 3, S, S) the joints' colours (B, J, 3) around the joints u (B, J, 2)."""
    at = (2 * torch.arange(size, device=u.device) + 1) / size - 1
    near = (-((at - u[..., None]) / _SPOT).square()).exp()  # (B, J, 2, S)
    return torch.einsum("bjx,bjy,bjc->bcyx", near[:, :, 0], near[:, :, 1], colours)
