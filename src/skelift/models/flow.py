"""The normalising flow: a density over 2D poses (Eq. 7-8)."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from skelift.errors import InputError

MOST_COEFFICIENTS = 26  # by default: the paper's, of the 34 of 17 joints


class PoseFlow(nn.Module):
    """f of Eq. 7: RealNVP on the leading PCA coefficients of normalised 2D poses.

    PCA is minus the mean, without whitening; it is stored with the flow and never refitted.

    Args:
        joints: number J of joints.
        pca: number N of coefficients kept; None: ``MOST_COEFFICIENTS``, or as many as root-relative
            poses have.
        blocks: affine coupling blocks.
        hidden: hidden units of each block's subnet.
        seed: of the blocks' fixed rotations.

    Raises:
        InputError: more coefficients than root-relative poses have.
    """

    mean: Tensor
    components: Tensor

    def __init__(
        self,
        joints: int,
        pca: int | None = None,
        blocks: int = 8,
        hidden: int = 1024,
        seed: int = 0,
    ) -> None:
        super().__init__()
        coordinates = 2 * joints - 2
        pca = min(MOST_COEFFICIENTS, coordinates) if pca is None else pca
        if pca > coordinates:
            raise InputError(
                f"flow.pca={pca}: root-relative poses of {joints} joints have only "
                f"{coordinates} coordinates that vary; set flow.pca to that or less"
            )
        self.register_buffer("mean", torch.zeros(2 * joints))
        self.register_buffer("components", torch.eye(2 * joints)[:pca].clone())
        rng = torch.Generator().manual_seed(seed)
        self.blocks = nn.ModuleList(CouplingBlock(pca, hidden, rng) for _ in range(blocks))

    @property
    def pca(self) -> int:
        """Number N of coefficients."""
        return len(self.components)

    @torch.no_grad()
    def fit_pca(self, y: Tensor) -> None:
        """Set mean and components from (M, J, 2) normalised poses."""
        flat = y.flatten(1).double()
        self.mean.copy_(flat.mean(0))
        covariance = (flat - flat.mean(0)).T @ (flat - flat.mean(0))
        _, vectors = torch.linalg.eigh(covariance)
        self.components.copy_(vectors.flip(1).T[: self.pca])

    def project(self, y: Tensor) -> Tensor:
        """y_bar: PCA coefficients (B, N) of normalised poses (B, J, 2)."""
        return (y.flatten(1) - self.mean) @ self.components.T

    def forward(self, y_bar: Tensor) -> tuple[Tensor, Tensor]:
        """f: coefficients (B, N) -> latent z (B, N) and log |det df/dy_bar| (B,)."""
        z, log_det = y_bar, y_bar.new_zeros(len(y_bar))
        for block in self.blocks:
            z, step = block(z)
            log_det = log_det + step
        return z, log_det

    def nll(self, y: Tensor) -> Tensor:
        """-log p_Y(y_bar) of Eq. 8 without its constant, N/2 log 2 pi: (B, J, 2) -> (B,)."""
        z, log_det = self(self.project(y))
        return 0.5 * z.square().sum(1) - log_det


class CouplingBlock(nn.Module):
    """Affine coupling, a learned affine map of each coefficient, and a fixed rotation in SO(N)."""

    rotation: Tensor

    def __init__(self, size: int, hidden: int, rng: torch.Generator) -> None:
        super().__init__()
        self.kept = size // 2
        self.moved = size - self.kept
        self.subnet = nn.Sequential(
            nn.Linear(self.kept, hidden), nn.ReLU(), nn.Linear(hidden, 2 * self.moved)
        )
        nn.init.zeros_(self.subnet[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.subnet[-1].bias)  # type: ignore[arg-type]
        self.scale = nn.Parameter(torch.full((size,), math.log(math.e - 1)))  # softplus -> 1
        self.offset = nn.Parameter(torch.zeros(size))
        self.register_buffer("rotation", _random_rotation(size, rng))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N) -> (B, N) and the log-determinant (B,)."""
        kept, moved = x.split([self.kept, self.moved], 1)
        log_scale, shift = self.subnet(kept).chunk(2, 1)
        log_scale = 2 * torch.tanh(0.1 * log_scale)
        scale = softplus(self.scale)
        x = torch.cat([kept, moved * log_scale.exp() + 0.1 * shift], 1) * scale + self.offset
        return x @ self.rotation.T, log_scale.sum(1) + scale.log().sum()


def _random_rotation(size: int, rng: torch.Generator) -> Tensor:
    q, r = torch.linalg.qr(torch.randn(size, size, generator=rng, dtype=torch.float64))
    q = q * r.diagonal().sign()
    if torch.linalg.det(q) < 0:
        q[:, 0] = -q[:, 0]
    return q.float()
