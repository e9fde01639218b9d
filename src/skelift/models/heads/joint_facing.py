"""JointFacing: does the body in an image face the camera, by what Phi sees at its joints?"""

from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import grid_sample

from skelift import losses
from skelift.config import Config
from skelift.data.format import Dataset, Split
from skelift.data.loading import ImageLoader
from skelift.data.motion_cue import MIN_STEADY_MOTION, steady_motion_of
from skelift.errors import InputError
from skelift.geometry import mirror_pose, turn_2d, turn_image
from skelift.models.heads.head import FacingHead, FitData
from skelift.models.heads.upright import Upright
from skelift.models.phi import Phi
from skelift.models.posenet import PoseNet
from skelift.skeleton import Skeleton

STAGES = slice(1, None)  # of Phi's encoder; the first sees single edges
MAX_IMAGES = 15_000  # 23 kB each at width 24


class JointFacing(FacingHead):
    """Tells front from back by the features of Phi's encoder at the joints that Omega reads.

    Phi has learnt what bodies look like from images whose colours, light and masks were spoilt, so
    colours mislead its features less than pixels. The head learns from bodies that move steadily:
    it sees the whole body, and would learn wrong pseudo-labels by heart.

    Args:
        skeleton: the body.
        phi_width: Phi's width.
        width: of the hidden layer.
    """

    section = "joint_facing"
    batch = 128
    weight_decay = 1e-4
    swap: Tensor

    def __init__(self, skeleton: Skeleton, phi_width: int = 32, width: int = 64) -> None:
        super().__init__(skeleton)
        self.register_buffer("swap", torch.as_tensor(skeleton.swap), persistent=False)
        features = len(skeleton) * phi_width * (2 + 4 + 8)
        self.network = nn.Sequential(
            nn.BatchNorm1d(features, affine=False),
            nn.Dropout(0.5),
            nn.Linear(features, width),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(width, 1),
        )

    @classmethod
    def of(cls, core: PoseNet) -> Self:
        """See ``Head``."""
        return cls(core.skeleton, core.phi.width)

    @classmethod
    def check(cls, config: Config, data: Dataset) -> None:
        """InputError unless the body has sides and training images show steady motion."""
        super().check(config, data)
        if config.heads.joint_facing.steps:
            walking_images(data.split("train"))

    def facing_logits(self, x: Tensor, read: Tensor, phi: Phi) -> Tensor:
        """See ``FacingHead``."""
        # A mirrored body faces the same way.
        return self.logits(self.seen_twice(x, read, phi).flatten(0, 1)).view(-1, 2).mean(1)

    def seen_twice(self, x: Tensor, y: Tensor, phi: Phi) -> Tensor:
        """(B, 2, F) features at the joints in images (B, 3, S, S), and in their mirror images."""
        views = (x, y.float()), (x.flip(3), mirror_pose(y.float(), self.swap))
        return torch.stack([_at(joints, phi.encoder(images)) for images, joints in views], 1)

    def logits(self, features: Tensor) -> Tensor:
        """(B, F) -> (B,) log-odds."""
        return self.network(features)[:, 0]

    @torch.no_grad()
    def examples(self, data: FitData) -> tuple[Tensor, ...]:
        """Features (N, 2, F) of bodies that move steadily, float16, and their motion (N,).

        They are upright where the pipeline shows them upright.
        """
        walking, motion = walking_images(data.images)
        source = ImageLoader(walking, self.swap.device)
        seen = []
        for start in range(0, len(source), data.batch):
            x = source.take(np.arange(start, min(start + data.batch, len(source)))).x
            y = data.core.predict_2d(x)[1]
            if (roll := Upright.roll_seen(data, y)) is not None:
                x, y = turn_image(x, -roll), turn_2d(y, -roll)
            seen.append(self.seen_twice(x, y, data.core.phi).half())
        return torch.cat(seen), torch.from_numpy(motion).to(self.swap.device)

    def loss(self, *examples: Tensor, rng: torch.Generator) -> Tensor:
        """Pseudo-label loss; every second image is mirrored."""
        seen, motion = examples
        mirrored = torch.arange(len(seen), device=seen.device) % 2
        features = seen[torch.arange(len(seen), device=seen.device), mirrored]
        return losses.facing_loss(self.logits(features.float()), motion)


def _at(joints: Tensor, maps: list[Tensor]) -> Tensor:
    """(B, F) features of each joint (B, J, 2) in turn."""
    at = joints[:, :, None]
    found = [grid_sample(m.float(), at, align_corners=False)[..., 0] for m in maps[STAGES]]
    return torch.cat(found, 1).transpose(1, 2).flatten(1)


def walking_images(split: Split) -> tuple[Split, NDArray[np.float32]]:
    """Images whose body steadily approaches or recedes, at most ``MAX_IMAGES``, and its motion.

    Raises:
        InputError: there are none.
    """
    motion = steady_motion_of(split)
    rows = np.flatnonzero(np.abs(motion) >= MIN_STEADY_MOTION)
    if not len(rows):
        raise InputError(
            f"{split.folder}: no images well before and after (of the same person, clip and "
            "camera) show anyone steadily approach or recede (photos, or fewer than 8 images, are "
            "no film); prepare the frames of videos, or set heads.joint_facing.enabled=false"
        )
    rows = rows[:: -(-len(rows) // MAX_IMAGES)]
    return split.subset(rows), motion[rows]
