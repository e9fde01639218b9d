"""Sums and rows over all processes that train together; gradients flow back through both."""

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
    from torch.distributed.nn.functional import all_reduce

    summed: Tensor = all_reduce(local)
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
