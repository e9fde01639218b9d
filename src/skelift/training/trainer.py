"""The state of a training run, and one step of it (Section 3.1)."""

import sys
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from skelift.config import LossConfig, TrainConfig
from skelift.data.loading import EpochSampler, ImageBatch, ImageLoader
from skelift.models.discriminator import Discriminator
from skelift.models.flow import PoseFlow
from skelift.models.posenet import UPRIGHT_EVERY, PoseNet
from skelift.models.tensors import group, nest
from skelift.training.augment import Augmentation, augments
from skelift.training.distributed import World
from skelift.training.loop import Terms, total
from skelift.training.objective import StepNoise, cycle_weight
from skelift.training.optim import Optimisers, freeze
from skelift.training.paint import Paint, Painter

_PAINT = 6  # sets its random numbers apart from those of ``augment``
_GENERATOR = ("phi", "omega", "lifter")


@dataclass(frozen=True)
class TrainingData:
    """What a step reads: images, and M unpaired 2D poses."""

    images: ImageLoader
    u: Tensor  # (M, J, 2) as D and Omega see them: [-1, 1] over the crop
    normalised: Tensor  # (M, J, 2) as Lambda sees them


@dataclass(eq=False)
class Trainer:
    """All that a run moves, and one step of it; ``build.build_trainer`` makes one.

    A step is a function of the state and the step's number alone: row order, prior poses and random
    rotations are derived from (seed, step). So a resumed run repeats the killed one bit by bit.
    """

    train: TrainConfig
    loss: LossConfig
    core: PoseNet
    disc: Discriminator
    flow: PoseFlow  # frozen
    data: TrainingData
    objective: nn.Module  # ``SelfSupervised``, for one process or several
    discrimination: nn.Module  # ``Discrimination``, likewise
    painter: Painter | None  # of ``objective``
    optimisers: Optimisers
    world: World
    bf16: bool  # whether the image networks run in bf16

    def __post_init__(self) -> None:
        batch, seed, poses = self.train.batch, self.train.seed, len(self.data.u)
        self.share = self.world.share(batch)
        self.image_order = EpochSampler(len(self.data.images), batch, seed)
        self.pose_order = EpochSampler(poses, batch, seed + 1)
        self.lifted_order = EpochSampler(poses, self.loss.lifted_prior, seed + 2)

    def step(self, step: int) -> Terms:
        """One step of Phi, Omega and Lambda, then one of D; returns the weighted loss terms."""
        images, u = self._images_and_poses(step)
        if step % UPRIGHT_EVERY == 0:
            self.undo_mirrored_depth()
        painted = self._painted(step, images, u) if self.painter else None
        lifted_prior = self.data.normalised[self._rows(self.lifted_order, step)]
        lift_images = self.loss.lift_images_from is not None and step >= self.loss.lift_images_from
        lifted = len(lifted_prior) + (self.train.batch if lift_images else 0)
        noise = StepNoise.at(self.train.seed, step, lifted, self.world.device)

        freeze(self.disc.parameters(), True)
        with self._autocast():
            terms, w, s = self.objective(
                images,
                u,
                lifted_prior,
                noise,
                self.disc,
                self.flow,
                lift_images,
                cycle_weight(step, self.loss),
                painted,
            )
        self.optimisers.step(total(terms), step, _GENERATOR)
        freeze(self.disc.parameters(), False)
        if self.loss.gan:
            with self._autocast():
                of_d: Terms = self.discrimination(w, s)
            self.optimisers.step(of_d["discriminator"], step, ["disc"])
            terms |= of_d
        return terms

    def undo_mirrored_depth(self) -> None:
        """See ``PoseNet.undo_mirrored_depth``; the main process says so where it was."""
        if self.core.undo_mirrored_depth(self.data.normalised) and self.world.is_main:
            print("Lambda saw poses from below, mirrored in depth: undone", file=sys.stderr)

    def state(self) -> dict[str, Tensor]:
        """Everything that the next step depends on."""
        return nest(
            core=self.core.state_dict(),
            disc=self.disc.state_dict(),
            painter=self.painter.state_dict() if self.painter else {},
            optimisers=self.optimisers.state(),
        )

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take back what ``state`` gave."""
        self.core.load_state_dict(group(state, "core"))
        self.disc.load_state_dict(group(state, "disc"))
        if self.painter:
            self.painter.load_state_dict(group(state, "painter"))
        self.optimisers.restore(group(state, "optimisers"))

    def _rows(self, order: EpochSampler, step: int) -> Tensor:
        return torch.from_numpy(order[step]).to(self.world.device, non_blocking=True)

    def _images_and_poses(self, step: int) -> tuple[ImageBatch, Tensor]:
        """This process's share of a step's images and of the poses u."""
        train = self.train
        images = self.data.images.take(self.image_order[step][self.share])
        u = self.data.u[self._rows(self.pose_order, step)[self.share]]
        if not augments(train.augment):
            return images, u
        change = Augmentation.at(train.augment, train.seed, step, train.batch)[self.share]
        return change(images), change.of_poses(u)

    @torch.no_grad()
    def _painted(self, step: int, images: ImageBatch, u: Tensor) -> Tensor:
        """Painted bodies of this process's poses u, (B, 3, S, S)."""
        assert self.painter is not None
        rng = np.random.default_rng([self.train.seed, step, _PAINT])
        paint = Paint.draw(rng, self.train.batch, u.shape[1])[self.share].to(u.device)
        rows = self._rows(self.pose_order, step)[self.share]
        v, _ = self.core.lift(self.data.normalised[rows].float())
        return self.painter(u, v[..., 2], images, paint)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.bf16)
