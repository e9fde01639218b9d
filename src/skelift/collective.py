"""Sums and rows over all processes that train together; gradients flow back through both."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def processes() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def total(local: Tensor) -> Tensor:
    """Sum of a tensor over all processes."""
    if processes() == 1:
        return local
    summed: Tensor = _Total.apply(local)  # type: ignore[no-untyped-call]
    return summed


def gather(local: Tensor) -> Tensor:
    """Rows of all processes, in rank order; as many on each.

    The lifting losses need the statistics of the whole batch (elevation, pairs), and their network
    is small: every process computes them on the global batch.
    """
    count = processes()
    if count == 1:
        return local
    others = torch.zeros_like(local)
    return total(torch.cat([local if n == dist.get_rank() else others for n in range(count)]))


class _Total(torch.autograd.Function):
    """All processes use the sum, so its backward is a sum too. torch's own is deprecated."""

    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        return _all_reduced(local)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _all_reduced(gradient)


def _all_reduced(local: Tensor) -> Tensor:
    summed = local.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(summed)
    return summed
