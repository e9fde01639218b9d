"""PoseFacing: does a 2D pose face the camera?"""

import numpy as np
import torch
from torch import Tensor

from skelift import losses
from skelift.data.hold_out import spread
from skelift.data.loading import ImageLoader
from skelift.geometry import mirror_pose, turn_2d
from skelift.models.heads.head import FacingHead, FitData
from skelift.models.heads.refiner import noisy
from skelift.models.heads.upright import Upright
from skelift.models.layers import mlp
from skelift.models.phi import Phi
from skelift.skeleton import Skeleton

READINGS = 512  # training images whose poses are compared with the unpaired ones


class PoseFacing(FacingHead):
    """Tells front from back by the 2D pose alone; learns from unpaired poses, whose sides are true.

    With sides named as if seen from behind, a pose still tells: the nearer foot is lower, knees
    bend forwards, the nose is ahead of the neck. Poses that Omega reads look more like backs than
    true ones, so images are required to face the camera as often as unpaired poses do.
    """

    section = "pose_facing"
    batch = 256
    swap: Tensor

    def __init__(self, skeleton: Skeleton, width: int = 256) -> None:
        super().__init__(skeleton)
        self.register_buffer("swap", torch.as_tensor(skeleton.swap), persistent=False)
        self.layers = mlp(2 * len(skeleton), width, 1)
        # Of the fit alone; in a list, so that its weights are not written with these.
        self._upright: list[Upright] = []
        self._read: Tensor | None = None

    def facing_logits(self, x: Tensor, read: Tensor, phi: Phi) -> Tensor:
        """See ``FacingHead``; neither ``x`` nor ``phi`` is looked at."""
        y = read.float()
        return (self.logits(y) + self.logits(mirror_pose(y, self.swap))) / 2

    def logits(self, y: Tensor) -> Tensor:
        """Poses (B, J, 2), sides as if seen from behind -> (B,) log-odds."""
        return self.layers((y - y.mean(1, keepdim=True)).flatten(1))[:, 0]

    @torch.no_grad()
    def examples(self, data: FitData) -> tuple[Tensor, ...]:
        """The unpaired poses (M, J, 2), and whether they face the camera (M,)."""
        self._upright = [head for head in data.heads.values() if isinstance(head, Upright)]
        images = spread(data.images, READINGS)
        source = ImageLoader(images, data.poses.device)
        rows = np.array_split(np.arange(len(source)), -(-len(source) // data.batch))
        read = [data.core.predict_2d(source.take(batch).x)[1].float() for batch in rows]
        self._read = self._turned_upright(torch.cat(read))
        return data.poses, data.facing.float()

    def loss(self, *examples: Tensor, rng: torch.Generator) -> Tensor:
        """Cross-entropy on poses with noise, and the difference from Omega's in the mean."""
        u, facing = examples
        assert self._read is not None  # see examples
        logits = self.logits(self._turned_upright(noisy(u, rng)))
        chosen = torch.randint(len(self._read), (len(u),), generator=rng).to(u.device)
        read = self.logits(self._read[chosen])
        return losses.pose_facing_loss(logits, facing, read)

    @torch.no_grad()
    def _turned_upright(self, y: Tensor) -> Tensor:
        """Poses as the pipeline gives them to the heads."""
        for upright in self._upright:
            y = turn_2d(y, -upright.roll(y))
        return y
