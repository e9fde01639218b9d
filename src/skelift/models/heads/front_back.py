"""Facing: does the body in an image face the camera?"""

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample

from skelift.models.layers import unit
from skelift.skeleton import Skeleton

PATCH = 16  # pixels
HALF_SIDE = 0.25  # of the patch, where the crop reaches from -1 to 1


class FrontBack(nn.Module):
    """Tells front from back, which a skeleton image does not show, by the head.

    It sees a patch around the head alone: of the whole image it would learn the poses of those
    whom it is taught on (who come nearer, or go away), and err on all others.

    Args:
        skeleton: the body; the patch lies around the middle of the bone that ends in its head.
        width: channels of the first of three convolutions.
    """

    ends: Tensor
    window: Tensor

    def __init__(self, skeleton: Skeleton, width: int = 16) -> None:
        super().__init__()
        last = next(bone for bone in skeleton.bones if bone[1] == skeleton.head)
        ends = torch.tensor([skeleton.index(name) for name in last])
        self.register_buffer("ends", ends, persistent=False)
        at = (torch.arange(PATCH) + 0.5) / PATCH * 2 - 1
        window = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1) * HALF_SIDE
        self.register_buffer("window", window, persistent=False)
        self.network = nn.Sequential(
            unit(3, width, nn.BatchNorm2d),
            unit(width, 2 * width, nn.BatchNorm2d, stride=2),
            unit(2 * width, 4 * width, nn.BatchNorm2d, stride=2),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(4 * width * (PATCH // 4) ** 2, 1),
        )

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Images (B, 3, S, S) and their poses (B, J, 2) -> (B,) log-odds that they face us."""
        heads = self.heads(x, y)
        return (self.judge(heads) + self.judge(heads.flip(3))) / 2  # a mirror turns nobody round

    def heads(self, x: Tensor, y: Tensor) -> Tensor:
        """(B, 3, PATCH, PATCH) patches around the heads."""
        centre = y[:, self.ends].mean(1)
        return grid_sample(x, centre[:, None, None] + self.window, align_corners=False)

    def judge(self, heads: Tensor) -> Tensor:
        """(B, 3, PATCH, PATCH) -> (B,) log-odds."""
        logit: Tensor = self.network(heads)[:, 0]
        return logit
