"""kappa (Eq. 2): draws a 2D pose as a skeleton image, differentiably.

Coordinates are those of the image, [-1, 1] in x and y (y down); pixel i of S has its centre at
(2 i + 1) / S - 1.

The plain form, a broadcast over pixels x limbs, is the slowest operation of a training step. Here
the nearest limb of every pixel is found without gradient, and only that limb is differentiated
(the minimum's gradient is that of its argument), in one pass over the pixels forward and one
backward: by numba's kernels on the CPU, by Triton's on CUDA devices (``render_cuda``), in torch's
operations elsewhere (``render_device``).
"""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from skelift import render_device, threads
from skelift.skeleton import Skeleton


@dataclass(frozen=True)
class Kappa:
    """The renderer of Eq. 2 for one skeleton and one size."""

    bones: NDArray[np.int64]  # (N, 2) joint indices, the set C of connected joints
    channel: NDArray[np.int64]  # (N,) channel that each bone is drawn in
    size: int  # side S of the square image, in pixels
    # Fall-off. 25 with the plain distance (KeypointGAN's code: sigma = 0.2) gives limbs of 1.8 px
    # half-width at 128 px; the squared form needs about 900 for the same.
    gamma: float = 25.0
    squared: bool = False  # square the distance, as Eq. 2 is printed

    @classmethod
    def of(
        cls, skeleton: Skeleton, size: int, *, sides: bool, gamma: float, squared: bool
    ) -> "Kappa":
        """Renderer of a skeleton, with one channel or (``sides``) one per body side."""
        bones = skeleton.bone_indices
        channel = skeleton.bone_channels if sides else np.zeros(len(bones), dtype=np.int64)
        return cls(bones, channel, size, gamma, squared)

    @property
    def fall_off(self) -> render_device.FallOff:
        """How brightness falls off with the distance to a limb."""
        return render_device.FallOff(self.gamma, self.squared)

    @property
    def limbs(self) -> render_device.Limbs:
        """Per channel, the joint indices of its limbs."""
        pairs = [(int(i), int(j)) for i, j in self.bones]
        return tuple(
            tuple(pair for pair, own in zip(pairs, self.channel, strict=True) if own == c)
            for c in range(self.channels)
        )

    @property
    def channels(self) -> int:
        """Number C of channels of the skeleton image."""
        return int(self.channel.max()) + 1

    def __call__(self, u: Tensor) -> Tensor:
        """Poses (B, J, 2) in [-1, 1] -> (B, C, S, S) skeleton images in (0, 1], 1 on the limbs."""
        kernel = _OnCpu if u.device.type == "cpu" else _OnDevice
        drawn: Tensor = kernel.apply(u.float(), self)  # type: ignore[no-untyped-call]
        return drawn


class _OnCpu(torch.autograd.Function):
    """numba's kernels."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, kappa: Kappa) -> Tensor:
        from skelift import render_cpu

        points = np.ascontiguousarray(u.detach().numpy())
        shape = (len(points), kappa.channels, kappa.size, kappa.size)
        image = np.empty(shape, dtype=np.float32)
        nearest = np.empty(shape, dtype=np.uint8)
        threads.match_torch()
        render_cpu.draw(
            points, kappa.bones, kappa.channel, kappa.gamma, kappa.squared, image, nearest
        )
        drawn = torch.from_numpy(image)
        ctx.save_for_backward(u, drawn)
        ctx.nearest, ctx.kappa = nearest, kappa
        return drawn

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        from skelift import render_cpu

        u, drawn = ctx.saved_tensors
        kappa: Kappa = ctx.kappa
        points = np.ascontiguousarray(u.detach().numpy())
        moved = np.zeros_like(points)
        upstream = gradient.contiguous().numpy()
        threads.match_torch()
        render_cpu.draw_gradient(
            points, kappa.bones, kappa.gamma, kappa.squared,
            drawn.detach().numpy(), ctx.nearest, upstream, moved,
        )  # fmt: skip
        return torch.from_numpy(moved), None


class _OnDevice(torch.autograd.Function):
    """The same on any other device."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, kappa: Kappa) -> Tensor:
        drawn, nearest = _passes(u).draw(u.detach(), kappa.limbs, kappa.size, kappa.fall_off)
        ctx.save_for_backward(u, drawn, nearest)
        ctx.kappa = kappa
        return drawn

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        u, drawn, nearest = ctx.saved_tensors
        kappa: Kappa = ctx.kappa
        moved = _passes(u).gradient(
            u.detach(), kappa.limbs, kappa.fall_off, drawn, nearest, gradient
        )
        return moved, None


def _passes(u: Tensor) -> ModuleType:
    if u.device.type == "cuda":
        from skelift import render_cuda  # Triton comes with torch's CUDA builds only

        return render_cuda
    return render_device
