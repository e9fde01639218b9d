"""Facing: does the body in a picture face the camera?"""

import torch
from torch import Tensor, nn

from skelift.models.layers import Encoder, GlobalBatchNorm


class Facing(nn.Module):
    """Tells front from back, which a skeleton image does not show.

    Args:
        width: channels of the first of four stages.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.encoder = Encoder(3, width, GlobalBatchNorm)
        self.judge = nn.Linear(8 * width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) pictures in [0, 1] -> (B,) log-odds that the body faces the camera."""
        features = self.encoder(x)[-1].mean((2, 3))
        logit: Tensor = self.judge(features).float()[:, 0]
        return logit

    def of_both_sides(self, x: Tensor) -> Tensor:
        """The same of pictures of which every second is mirrored: that turns nobody round."""
        mirrored = torch.arange(len(x), device=x.device) % 2 == 1
        return self(torch.where(mirrored[:, None, None, None], x.flip(3), x))
