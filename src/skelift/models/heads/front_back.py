"""FrontBack: does the body in an image face the camera?"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import grid_sample, relu

from skelift import losses
from skelift.config import Config
from skelift.data.format import Dataset, Split
from skelift.data.loading import ImageLoader
from skelift.data.motion_cue import MIN_RADIAL_MOTION, radial_motion_of
from skelift.errors import InputError
from skelift.geometry import turn_2d, turn_image
from skelift.models.heads.head import FacingHead, FitData
from skelift.models.heads.upright import Upright
from skelift.models.layers import unit
from skelift.models.phi import Phi
from skelift.skeleton import Skeleton

PATCH = 16  # pixels
HALF_SIDE = 0.25  # of the patch, where the crop reaches from -1 to 1
MAX_IMAGES = 50_000
# Share of pseudo-labels that are wrong (rendered varied people: 24 to 33 %). Log-odds of such a
# label are smaller than those of the truth; near 0 by the factor 1 - 2 x share.
WRONG_LABELS = 0.25


class FrontBack(FacingHead):
    """Tells front from back, which a skeleton image does not show, by the head of the body.

    It sees a patch around the head alone: from whole images it would overfit to the poses of those
    who move, and fail on all others. The patch lies around the middle of the bone that ends in the
    skeleton's head.
    """

    section = "front_back"
    batch = 64
    weight_decay = 1e-4
    ends: Tensor
    window: Tensor

    def __init__(self, skeleton: Skeleton, width: int = 16) -> None:
        super().__init__(skeleton)
        last = next(bone for bone in skeleton.bones if bone[1] == skeleton.head)
        ends = torch.tensor([skeleton.index(name) for name in last])
        self.register_buffer("ends", ends, persistent=False)
        at = (torch.arange(PATCH) + 0.5) / PATCH * 2 - 1
        window = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1) * HALF_SIDE
        self.register_buffer("window", window, persistent=False)
        self.network = nn.Sequential(
            unit(3, width, _BatchNormReLU),
            unit(width, 2 * width, _BatchNormReLU, stride=2),
            unit(2 * width, 4 * width, _BatchNormReLU, stride=2),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(4 * width * (PATCH // 4) ** 2, 1),
        )

    @classmethod
    def check(cls, config: Config, data: Dataset) -> None:
        """InputError unless the body has sides and training images show radial motion."""
        super().check(config, data)
        if config.heads.front_back.steps:
            moving_images(data.split("train"))

    def facing_logits(self, x: Tensor, read: Tensor, phi: Phi) -> Tensor:
        """See ``FacingHead``."""
        patches = self.head_patches(x, read)
        # A mirrored body faces the same way.
        logits = (self.logits(patches) + self.logits(patches.flip(3))) / 2
        return logits / (1 - 2 * WRONG_LABELS)

    def head_patches(self, x: Tensor, y: Tensor) -> Tensor:
        """(B, 3, PATCH, PATCH) patches around the heads."""
        centre = y[:, self.ends].mean(1)
        return grid_sample(x, centre[:, None, None] + self.window, align_corners=False)

    def logits(self, patches: Tensor) -> Tensor:
        """(B, 3, PATCH, PATCH) -> (B,) log-odds."""
        return self.network(patches)[:, 0]

    @torch.no_grad()
    def examples(self, data: FitData) -> tuple[Tensor, ...]:
        """Patches (N, 3, PATCH, PATCH) of bodies that move, and their radial motion (N,).

        They are upright where the pipeline shows them upright.
        """
        moving, motion = moving_images(data.images)
        source = ImageLoader(moving, self.window.device)
        patches = []
        for start in range(0, len(source), data.batch):
            x = source.take(np.arange(start, min(start + data.batch, len(source)))).x
            y = data.core.predict_2d(x)[1]
            if (roll := Upright.roll_seen(data, y)) is not None:
                x, y = turn_image(x, -roll), turn_2d(y, -roll)
            patches.append(self.head_patches(x, y))
        return torch.cat(patches), torch.from_numpy(motion).to(self.window.device)

    def loss(self, *examples: Tensor, rng: torch.Generator) -> Tensor:
        """Pseudo-label loss; every second patch is mirrored."""
        patches, motion = examples
        patches[1::2] = patches[1::2].flip(3)
        return losses.facing_loss(self.logits(patches), motion)


class _BatchNormReLU(nn.BatchNorm2d):
    """Of one process's batch: heads are fitted by the main process alone."""

    def forward(self, x: Tensor) -> Tensor:
        return relu(super().forward(x), inplace=True)


def moving_images(split: Split) -> tuple[Split, NDArray[np.float32]]:
    """Images whose body approaches or recedes, at most ``MAX_IMAGES``, and its radial motion.

    Raises:
        InputError: there are none.
    """
    motion = radial_motion_of(split)
    rows = np.flatnonzero(np.abs(motion) >= MIN_RADIAL_MOTION)
    if not len(rows):
        raise InputError(
            f"{split.folder}: no images before and after (of the same person, clip and camera) "
            "show anyone approach or recede (photos, or fewer than 8 images, are no film); "
            "prepare the frames of videos, or set heads.front_back.enabled=false"
        )
    rows = rows[:: -(-len(rows) // MAX_IMAGES)]
    return split.subset(rows), motion[rows]
