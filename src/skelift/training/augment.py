"""Random changes of a step's images and prior poses, on the device where they lie."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skelift.config import AugmentConfig
from skelift.data.loading import ImageBatch
from skelift.training.photo import MaskDamage, Photo
from skelift.training.placement import Placement

# Set these numbers apart from each other, and from the row orders, which the seed feeds too.
_COLOUR, _IMAGES, _POSES, _PHOTO, _MASK = range(1, 6)


@dataclass(frozen=True)
class Augmentation:
    """What happens to the images and poses of a step, derived from (seed, step) alone."""

    flip: Tensor  # (B,) bool, which images are mirrored
    gain: Tensor  # (B, 3) factor on each colour channel
    # How the bodies in the images lie, and those of the prior: drawn apart, for they are unpaired.
    images: Placement | None = None
    poses: Placement | None = None
    photo: Photo | None = None
    mask: MaskDamage | None = None

    @classmethod
    def at(cls, config: AugmentConfig, seed: int, step: int, batch: int) -> "Augmentation":
        """Draws of one step for the global batch; the same on every process and device."""

        def rng(stream: int) -> np.random.Generator:
            return np.random.default_rng([seed, step, stream])

        of_colour = rng(_COLOUR)
        flip = of_colour.random(batch) < config.flip
        brightness = 1 + config.brightness * of_colour.uniform(-1, 1, (batch, 1))
        colour = 1 + config.colour * of_colour.uniform(-1, 1, (batch, 3))
        placed = config.turn_deg or config.jitter
        return cls(
            torch.from_numpy(flip),
            torch.from_numpy((brightness * colour).astype("f4")),
            Placement.draw(config, rng(_IMAGES), batch) if placed else None,
            Placement.draw(config, rng(_POSES), batch) if placed else None,
            Photo.draw(config.photo, rng(_PHOTO), batch) if config.photo else None,
            MaskDamage.draw(config.mask, rng(_MASK), batch) if config.mask else None,
        )

    def __getitem__(self, rows: slice) -> "Augmentation":
        return self._each(lambda draws: draws[rows])

    def to(self, device: torch.device) -> "Augmentation":
        """The same on another device."""
        return self._each(lambda draws: draws.to(device))

    def _each(self, change: Callable[[Any], Any]) -> "Augmentation":
        changed: dict[str, Any] = {
            name: None if draws is None else change(draws) for name, draws in vars(self).items()
        }
        return Augmentation(**changed)

    def __call__(self, images: ImageBatch) -> ImageBatch:
        """The changed images: x clamped to [0, 1]; black stays black.

        A mirrored or placed image takes its mask and camera along; wrong masks change x alone, so
        that the silhouette still says where the body is. There are no labels to take along: the
        supervised baselines learn from the images as they are.
        """
        assert images.joints_2d is None
        assert images.joints_3d_mm is None
        to = self.to(images.x.device)
        both = torch.cat([images.x, images.mask], 1)
        both = torch.where(to.flip[:, None, None, None], both.flip(3), both)
        camera, motion = images.camera.mirrored(to.flip), images.motion
        if motion is not None:
            way = torch.where(to.flip[:, None], -1.0, 1.0)
            motion = torch.cat([motion[:, :1] * way, motion[:, 1:]], 1)
        if to.images:
            both, camera = to.images.of_images(both), to.images.of_cameras(camera)
            motion = None if motion is None else to.images.of_motion(motion)
        x, mask = both.split([3, 1], 1)
        x = (x * to.gain[:, :, None, None]).clamp(0, 1)
        if to.photo:
            x = to.photo(x)
        if to.mask:
            x = to.mask(x, mask)
        x = x.contiguous(memory_format=torch.channels_last)
        return replace(images, x=x, mask=mask, camera=camera, motion=motion)

    def of_poses(self, u: Tensor) -> Tensor:
        """The changed poses (B, J, 2) of the prior, over the crop."""
        return self.poses.to(u.device).of_poses(u) if self.poses else u


def augments(config: AugmentConfig) -> bool:
    """Whether anything is on."""
    return config != AugmentConfig()
