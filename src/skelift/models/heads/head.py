"""What a head is: an optional network that improves 2D poses, fitted after the core."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from skelift.config import Config
from skelift.data.format import Dataset, Split
from skelift.errors import InputError
from skelift.models.phi import Phi
from skelift.models.posenet import PoseNet
from skelift.skeleton import Skeleton


@dataclass(frozen=True)
class FitData:
    """What heads learn from: the training images, and M unpaired 2D poses."""

    core: PoseNet  # with its final weights, in evaluation mode
    images: Split
    poses: Tensor  # (M, J, 2) as Omega sees them, [-1, 1] over the crop
    facing: Tensor  # (M,) whether these poses face the camera, where they are named from behind
    batch: int  # images per forward pass of the core
    heads: Mapping[str, "Head"] = field(default_factory=dict)  # fitted before this one


class Head(nn.Module, ABC):
    """Base class of heads, untrained for a body; docs: "Add a head" in CONTRIBUTING.md."""

    batch: ClassVar[int]  # examples per step of the fit
    weight_decay: ClassVar[float] = 0.0

    def __init__(self, skeleton: Skeleton) -> None:
        super().__init__()

    @classmethod
    def of(cls, core: PoseNet) -> Self:
        """An unfitted head for a core."""
        return cls(core.skeleton)

    @classmethod
    def check(cls, config: Config, data: Dataset) -> None:
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


class FacingHead(Head):
    """A head that tells whether bodies face the camera.

    Omega names sides as if every body were seen from behind (``loss.canonical_sides``). The
    pipeline adds up the log-odds of all such heads, and swaps left and right where the sum is
    above 0.
    """

    section: ClassVar[str]  # its name in the section ``heads``

    @classmethod
    def check(cls, config: Config, data: Dataset) -> None:
        """InputError unless the body has sides."""
        if not len(data.skeleton.trunk_pairs):
            raise InputError(
                f"{data.folder}: skeleton {data.skeleton.name} has no left and right joints on its "
                f"trunk, so front and back look alike; set heads.{cls.section}.enabled=false"
            )

    def forward(self, x: Tensor, read: Tensor, y: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
        """Poses as they are: the pipeline gives them their true sides."""
        return y, spread

    @abstractmethod
    def facing_logits(self, x: Tensor, read: Tensor, phi: Phi) -> Tensor:
        """Images (B, 3, S, S), poses as Omega reads them (B, J, 2) -> (B,) log-odds of a front.

        ``phi`` is the core's, for a head that asks what it sees.
        """
