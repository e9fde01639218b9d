"""What cameras and segmenters do to an image: light, focus, noise, and masks that are wrong.

Images here are (B, 3, S, S) in [0, 1] with a black background, masks (B, 1, S, S) in [0, 1].
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d

from skelift.training.draws import Draws, tensor

_GRID = 6  # cells per side of the random fields that cut holes and add pieces
_TEXTURE = 4  # of the colours of added pieces


@dataclass(frozen=True)
class Photo(Draws):
    """Exposure, light from one side, focus and noise."""

    gamma: Tensor  # (B, 1) exponent of the brightness
    side: Tensor  # (B, 2) how much brighter it gets from the middle to the right and lower border
    blur: Tensor  # (B, 1) 0 sharp ... 1 blurred; a little below 0 is sharpened
    noise: Tensor  # (B, 1) standard deviation
    seed: Tensor  # (B, 1) of the noise's pattern

    @classmethod
    def draw(cls, strength: float, rng: np.random.Generator, batch: int) -> "Photo":
        """``strength`` 0 leaves images as they are, 1 is as bad as phones at night."""
        column = (batch, 1)
        return cls(
            tensor(np.exp(strength * rng.uniform(-0.7, 0.7, column))),
            tensor(strength * rng.uniform(-0.6, 0.6, (batch, 2))),
            tensor(strength * rng.uniform(-0.3, 1, column)),
            tensor(strength * 0.08 * rng.random(column) ** 2),
            tensor(rng.random(column)),
        )

    def __call__(self, x: Tensor) -> Tensor:
        """The images as this camera would have taken them; black stays black, but at edges."""
        at = torch.linspace(-1, 1, x.shape[-1], device=x.device)
        right, down = self.side[:, :, None, None].unbind(1)
        light = (1 + right * at + down * at[:, None]).clamp(min=0).unsqueeze(1)
        x = (x.clamp(min=1e-4) ** self.gamma[..., None, None] * light) * (x > 0)
        weight = self.blur[..., None, None]
        for side in (3, 5):
            x = x + weight * (avg_pool2d(x, side, 1, side // 2, count_include_pad=False) - x)
        noise = _pattern(self.seed, x) * self.noise[..., None, None]
        return torch.where(x > 0, x + noise, x).clamp(0, 1)


@dataclass(frozen=True)
class MaskDamage(Draws):
    """What a segmenter gets wrong: parts that are missing, pieces of the room, ragged edges."""

    wrong: Tensor  # (B, 3) bool: whether it has holes, pieces of the room, a part cut off
    field: Tensor  # (B, 2, GRID, GRID) standard normal; high values are holes, and pieces
    colour: Tensor  # (B, 3, TEXTURE, TEXTURE) of the pieces
    cut: Tensor  # (B, 2) direction in radians, and where: 0 the middle of the crop, 1 its border
    edge: Tensor  # (B, 1) -1 eroded ... 1 dilated, by two pixels of 128

    @classmethod
    def draw(cls, chance: float, rng: np.random.Generator, batch: int) -> "MaskDamage":
        """Each fault comes with this ``chance``, by itself."""
        return cls(
            torch.from_numpy(rng.random((batch, 3)) < chance),
            tensor(rng.standard_normal((batch, 2, _GRID, _GRID))),
            tensor(rng.random((batch, 3, _TEXTURE, _TEXTURE))),
            tensor(np.stack([rng.uniform(-np.pi, np.pi, batch), rng.uniform(0.55, 1, batch)], 1)),
            tensor(np.where(rng.random((batch, 1)) < chance, rng.uniform(-1, 1, (batch, 1)), 0)),
        )

    def __call__(self, x: Tensor, mask: Tensor) -> Tensor:
        """The images as they look when cut out by such a mask; ``mask`` is the true one."""
        size = x.shape[-1]
        field = interpolate(self.field, size=(size, size), mode="bicubic")
        holes, pieces, cut = (self.wrong[:, n, None, None, None] for n in range(3))
        near = _widest(_widest(mask, _odd(size / 5), 1), 1, _odd(size / 5))
        here = ~(self._beyond(size) & cut)
        kept = here & ~((field[:, :1] > 1.2) & holes)
        added = here & (field[:, 1:] > 0.9) & pieces & (near > 0)
        colour = interpolate(self.colour, size=(size, size), mode="bilinear")
        colour = torch.lerp(colour.mean(1, keepdim=True), colour, 0.4)  # rooms are not gaudy
        room = torch.where(added, colour, 0.0) * (1 - mask)
        return self._ragged(x * kept + room)

    def _beyond(self, size: int) -> Tensor:
        """(B, 1, S, S) pixels beyond the line that cuts a part off."""
        at = torch.linspace(-1, 1, size, device=self.cut.device)
        angle, place = (self.cut[:, n, None, None] for n in range(2))
        return (at * angle.cos() + at[:, None] * angle.sin() > place).unsqueeze(1)

    def _ragged(self, x: Tensor) -> Tensor:
        """Edges moved by up to two pixels of 128: outwards the body's own colours smear."""
        side = _odd(x.shape[-1] / 40)
        inside = (x.amax(1, keepdim=True) > 0).to(x.dtype)
        wide = max_pool2d(x, side, 1, side // 2)
        narrow = x * (1 - max_pool2d(1 - inside, side, 1, side // 2))
        edge = self.edge[..., None, None]
        grown = torch.where(inside > 0, x, wide * edge.clamp(min=0))
        return torch.where(edge < 0, x + (narrow - x) * -edge, grown)


def _widest(mask: Tensor, height: int, width: int) -> Tensor:
    return max_pool2d(mask, (height, width), 1, (height // 2, width // 2))


def _pattern(seed: Tensor, like: Tensor) -> Tensor:
    """Noise (B, 3, S, S), uniform with variance 1: a hash of seed and place, equal everywhere."""
    size, bits = like.shape[-1], 0xFFFFFFFF
    place = torch.arange(3 * size * size, device=like.device).view(1, 3, size, size)
    h = place * 0x9E3779B1 + (seed * 2**31).long()[..., None, None] & bits
    for factor in (0x85EBCA6B, 0xC2B2AE35):  # the finaliser of MurmurHash3
        h = (h ^ h >> 16) * factor & bits
    return ((h ^ h >> 13).float() / 2**31 - 1) * 3**0.5


def _odd(pixels: float) -> int:
    return 2 * int(pixels / 2) + 1
