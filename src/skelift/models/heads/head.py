"""What a head is: an optional network that improves 2D poses, fitted after the core."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from skelift.config import Config
from skelift.data.format import Dataset, Split
from skelift.models.posenet import PoseNet
from skelift.skeleton import Skeleton


@dataclass(frozen=True)
class FitData:
    """What heads learn from.

    Attributes:
        core: Phi, Omega and Lambda with their final weights, in evaluation mode.
        images: the training images.
        poses: (M, J, 2) the unpaired 2D poses as Omega sees them, [-1, 1] over the crop.
        batch: images per forward pass of the core.
    """

    core: PoseNet
    images: Split
    poses: Tensor
    batch: int


class Head(nn.Module, ABC):
    """Base class of heads; docs: "Add a head" in CONTRIBUTING.md."""

    batch: ClassVar[int]  # examples per step of the fit
    weight_decay: ClassVar[float] = 0.0

    @classmethod
    @abstractmethod
    def of(cls, skeleton: Skeleton) -> Self:
        """An untrained head for a body."""

    @staticmethod
    def check(config: Config, data: Dataset) -> None:
        """InputError unless the head can be fitted; called before the core is trained."""

    @abstractmethod
    def forward(self, x: Tensor, read: Tensor, y: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
        """Improve 2D poses.

        Args:
            x: (B, 3, S, S) images in [0, 1].
            read: (B, J, 2) poses as Omega reads them, [-1, 1] over the crop.
            y: (B, J, 2) the same after the heads before this one.
            spread: (B, J) their spread.

        Returns:
            Poses (B, J, 2) and their spread (B, J).
        """

    @abstractmethod
    def examples(self, data: FitData) -> tuple[Tensor, ...]:
        """Tensors with one row per example."""

    @abstractmethod
    def loss(self, *examples: Tensor, rng: torch.Generator) -> Tensor:
        """Mean loss of some rows of ``examples``; random numbers come from ``rng`` (CPU)."""
