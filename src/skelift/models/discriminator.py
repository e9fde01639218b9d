"""D: tells drawn poses of the prior from the skeleton images of Phi."""

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from skelift.models.layers import InstanceNorm


class Discriminator(nn.Module):
    """PatchGANs at scales 1, 1/2, 1/4 (KeypointGAN; 2.8 M parameters per scale at width 64).

    ``channels`` are those of the skeleton image, ``width`` those of the first convolution.
    """

    def __init__(self, channels: int, width: int = 64, scales: int = 3) -> None:
        super().__init__()
        self.patch_gans = nn.ModuleList(PatchGan(channels, width) for _ in range(scales))

    def forward(self, s: Tensor) -> list[Tensor]:
        """(B, C, S, S) skeleton images -> one (B, 1, h, w) map of logits per scale."""
        logits = []
        for number, patch_gan in enumerate(self.patch_gans):
            if number:
                s = avg_pool2d(s, 2)
            logits.append(patch_gan(s).float())
        return logits


class PatchGan(nn.Sequential):
    """One scale of D: a logit for each patch of the image."""

    def __init__(self, channels: int, width: int) -> None:
        w = width
        super().__init__(
            nn.Conv2d(channels, w, 4, 2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            *_unit(w, 2 * w, 2),
            *_unit(2 * w, 4 * w, 2),
            *_unit(4 * w, 8 * w, 1),
            nn.Conv2d(8 * w, 1, 4, 1, padding=1),
        )

    def forward(self, s: Tensor) -> Tensor:
        """(B, C, S, S) -> (B, 1, h, w); an own frame, for torch.compile skips those of torch."""
        return super().forward(s)  # type: ignore[no-untyped-call]


def _unit(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, 4, stride, padding=1)
    # Identity: the layers keep the numbers that they have in checkpoints.
    return [convolution, InstanceNorm(outputs, slope=0.2), nn.Identity()]
