"""kappa, forward and backward, against the plain broadcast over pixels x limbs.

``python -m benchmarks.renderer``: half a minute on one core. Batch 32, 128 px, 16 limbs, CPU.
"""

import argparse
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from benchmarks import children
from benchmarks.measure import best_seconds, peak_bytes, report
from skelift.config import compose
from skelift.render import Kappa

GOALS = {
    "ratio_time": ("at least", 10.0),
    "ratio_memory": ("at most", 1 / 5),
    "gradient_difference": ("at most", 1e-4),
}


class PlainKappa(Kappa):
    """Eq. 2 as it is usually written: one broadcast over pixels x limbs, left to autograd."""

    @classmethod
    def like(cls, kappa: Kappa) -> "PlainKappa":
        """The plain form of a renderer."""
        return cls(kappa.bones, kappa.channel, kappa.size, kappa.gamma, kappa.squared)

    def __call__(self, u: Tensor) -> Tensor:
        """(B, J, 2) poses in [-1, 1] -> (B, C, S, S) skeleton images, in the dtype of ``u``."""
        axis = (2 * torch.arange(self.size, device=u.device, dtype=u.dtype) + 1) / self.size - 1
        e = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)[:, :, None]  # (S, S, 1, 2)
        start, end = torch.as_tensor(self.bones, device=u.device).T
        u_i, u_j = u[:, None, None, start], u[:, None, None, end]  # (B, 1, 1, N, 2)
        limb = u_i - u_j
        r = ((e - u_j) * limb).sum(-1) / (limb.square().sum(-1) + 1e-30)
        distance = (e - u_j - r.clamp(0, 1).unsqueeze(-1) * limb).square().sum(-1)
        channels = [torch.as_tensor(self.channel == c) for c in range(self.channels)]
        nearest = torch.stack([distance[..., own].min(-1).values for own in channels], 1)
        if not self.squared:
            nearest = (nearest + 1e-30).sqrt()
        return torch.exp(-self.gamma * nearest)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()

    skeleton = compose(["skeleton=h36m17"]).body
    kappa = Kappa.of(skeleton, args.size, sides=False, gamma=25.0, squared=False)
    rng = np.random.default_rng(0)
    u = torch.tensor(rng.uniform(-0.8, 0.8, (args.batch, len(skeleton), 2)), dtype=torch.float32)
    shape = (args.batch, kappa.channels, args.size, args.size)
    upstream = torch.tensor(rng.normal(size=shape), dtype=torch.float32)
    calls: dict[str, Callable[[], Tensor]] = {
        "kappa": lambda: gradient(kappa, u, upstream),
        "plain": lambda: gradient(PlainKappa.like(kappa), u, upstream),
    }

    seconds = best_seconds(calls, args.rounds)
    peaks = {name: peak_bytes(call) for name, call in calls.items()}
    report(
        {
            "benchmark": "renderer: forward and backward",
            "batch": args.batch,
            "size": args.size,
            "limbs": len(kappa.bones),
            "seconds": seconds,
            "peak_bytes": peaks,
            "ratio_time": seconds["plain"] / seconds["kappa"],
            "ratio_memory": peaks["kappa"] / peaks["plain"]
            if peaks["plain"] and peaks["kappa"] is not None
            else None,
            "gradient_difference": gradient_difference(kappa, u, upstream),
        },
        GOALS,
        "renderer",
    )


def gradient(kappa: Kappa, u: Tensor, upstream: Tensor) -> Tensor:
    """Gradient of a drawing with respect to the poses: one forward, one backward."""
    u = u.clone().requires_grad_()
    kappa(u).backward(upstream)
    assert u.grad is not None
    return u.grad


def gradient_difference(kappa: Kappa, u: Tensor, upstream: Tensor) -> float:
    """Largest difference to the plain form in float64, over its largest gradient."""
    plain, few = PlainKappa.like(kappa), 4  # poses at a time: float64 needs much memory
    parts = zip(u.double().split(few), upstream.double().split(few), strict=True)
    exact = torch.cat([gradient(plain, *part) for part in parts])
    return float((gradient(kappa, u, upstream) - exact).abs().max() / exact.abs().max())


if __name__ == "__main__":
    children.run(main)
