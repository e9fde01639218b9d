"""Phi: image -> skeleton image."""

from torch import Tensor, cat, nn

from skelift.models.layers import BatchNormReLU, Encoder, Enlarge, unit


class Phi(nn.Module):
    """KeypointGAN's generator with skips: s = Phi(x) (Section 3, "Image to 3D pose mapping").

    The output is linear and as large as the image. Width 32, of the first stage, is KeypointGAN's
    (3.1 M parameters).
    """

    def __init__(self, channels: int, width: int = 32) -> None:
        super().__init__()
        self.width = width
        w, norm = width, BatchNormReLU
        self.encoder = Encoder(3, w, norm)
        self.at_eighth = nn.Sequential(unit(8 * w, 8 * w, norm), unit(8 * w, 8 * w, norm))
        self.at_quarter = nn.Sequential(
            unit(12 * w, 8 * w, norm, kernel=1), unit(8 * w, 4 * w, norm), unit(4 * w, 4 * w, norm)
        )
        self.at_half = nn.Sequential(
            unit(6 * w, 4 * w, norm, kernel=1), unit(4 * w, 2 * w, norm), unit(2 * w, 2 * w, norm)
        )
        self.at_full = nn.Sequential(
            unit(3 * w, 2 * w, norm, kernel=1),
            unit(2 * w, w, norm),
            nn.Conv2d(w, channels, 3, padding=1),
        )
        self.enlarge = Enlarge()

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) images in [0, 1] -> (B, C, S, S) skeleton images; S a multiple of 8."""
        full, half, quarter, eighth = self.encoder(x)
        y = self.enlarge(self.at_eighth(eighth))
        y = self.enlarge(self.at_quarter(cat([y, quarter], 1)))
        y = self.enlarge(self.at_half(cat([y, half], 1)))
        return self.at_full(cat([y, full], 1))
