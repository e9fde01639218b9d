"""Random changes of a batch of images, on the device where it lies."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from skelift.config import AugmentConfig
from skelift.data.loading import ImageBatch

_STREAM = 1  # sets these numbers apart from the row orders, which the seed feeds too


@dataclass(frozen=True)
class Augmentation:
    """What happens to the images of a step, derived from (seed, step) alone."""

    flip: Tensor  # (B,) bool, which images are mirrored
    gain: Tensor  # (B, 3) factor on each colour channel

    @classmethod
    def at(cls, config: AugmentConfig, seed: int, step: int, batch: int) -> "Augmentation":
        """Draws of one step for the global batch; the same on every process and device."""
        rng = np.random.default_rng([seed, step, _STREAM])
        flip = rng.random(batch) < config.flip
        brightness = 1 + config.brightness * rng.uniform(-1, 1, (batch, 1))
        colour = 1 + config.colour * rng.uniform(-1, 1, (batch, 3))
        return cls(torch.from_numpy(flip), torch.from_numpy((brightness * colour).astype("f4")))

    def __getitem__(self, rows: slice) -> "Augmentation":
        return Augmentation(self.flip[rows], self.gain[rows])

    def __call__(self, images: ImageBatch) -> ImageBatch:
        """The changed images: x clamped to [0, 1]; black stays black.

        A mirrored image takes its mask and camera along. There are no labels to take along: the
        supervised baselines learn from the images as they are.
        """
        assert images.joints_2d is None
        assert images.joints_3d_mm is None
        flip, gain = (t.to(images.x.device, non_blocking=True) for t in (self.flip, self.gain))
        x, mask = (
            torch.where(flip[:, None, None, None], t.flip(3), t) for t in (images.x, images.mask)
        )
        x = (x * gain[:, :, None, None]).clamp(0, 1)
        return replace(images, x=x, mask=mask, camera=images.camera.mirrored(flip))


def augments(config: AugmentConfig) -> bool:
    """Whether anything is on."""
    return config != AugmentConfig()
