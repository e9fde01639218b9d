"""Random numbers of a batch of images."""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Draws:
    """Tensors with a row per image; a step draws them for the global batch, on the CPU."""

    def __getitem__(self, rows: slice) -> Self:
        return type(self)(*(getattr(self, field.name)[rows] for field in fields(self)))

    def to(self, device: torch.device) -> Self:
        """The same on another device."""
        values = (getattr(self, field.name) for field in fields(self))
        return type(self)(*(value.to(device, non_blocking=True) for value in values))


def tensor(values: NDArray[np.floating]) -> Tensor:
    """In float32."""
    return torch.from_numpy(values.astype(np.float32))
