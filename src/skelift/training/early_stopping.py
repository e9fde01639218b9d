"""Early stopping by the score that needs no labels."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from skelift.config import Config
from skelift.data.format import Dataset
from skelift.data.hold_out import Part, spread
from skelift.errors import InputError
from skelift.models.io import MADE_BY, save_snapshot, snapshots
from skelift.models.posenet import PoseNet
from skelift.models.tensors import load_tensors
from skelift.training.distributed import World
from skelift.training.trainer import Trainer

SCORE = "label_free"
Score = Callable[[PoseNet, Part, torch.device, int], float]


class Enough(Exception):
    """Ends the loop before its last step."""


class EarlyStopping:
    """Keeps snapshots, scores them on training images, and says when enough is enough.

    A run that is killed and started again reads the scores of its earlier snapshots.

    Args:
        config: the run.
        data: its data set.
        world: this process; the first one scores, for all.
        first: steps done before (after a resume).
        score: of networks in evaluation mode on some images, without labels; lower is better.
    """

    def __init__(
        self, config: Config, data: Dataset, world: World, first: int, score: Score
    ) -> None:
        train = config.train
        if train.patience and not train.snapshot_every:
            raise InputError(
                f"train.patience={train.patience} counts snapshots: set train.snapshot_every too"
            )
        self.patience, self.batch, self.world = train.patience, config.evaluate.batch, world
        self.checkpoints = Path(config.paths.checkpoints)
        self.score = score
        self.images = spread(data.split("train"), config.evaluate.snapshot_images)
        self.scores = {
            step: float(load_tensors(file, MADE_BY)[1][SCORE])
            for step, file in snapshots(self.checkpoints).items()
            if self.patience and world.is_main and step <= first
        }

    def keep(self, trainer: Trainer, step: int) -> None:
        """Keep the weights after ``step`` steps; all processes call it."""
        if self.world.is_main:
            about = {}
            if self.patience:
                self.scores[step] = self._score(trainer)
                about = {SCORE: repr(self.scores[step])}
            save_snapshot(self.checkpoints, trainer.average.state(), step, about)

    def enough(self) -> bool:
        """Whether the last ``patience`` snapshots were no better; all processes ask, and agree."""
        if not self.patience:
            return False
        since = sum(step > self.best for step in self.scores) if self.scores else 0
        late = torch.tensor(float(since >= self.patience), device=self.world.device)
        return bool(self.world.mean(late).item())

    @property
    def best(self) -> int:
        """Steps of the snapshot with the lowest score, the earlier one of equals."""
        return min(self.scores, key=lambda step: (self.scores[step], step))

    def best_weights(self) -> dict[str, Tensor]:
        """The weights of that snapshot."""
        return load_tensors(snapshots(self.checkpoints)[self.best], MADE_BY)[0]

    def _score(self, trainer: Trainer) -> float:
        pose, trained = trainer.pose, _copy(trainer.pose.state_dict())
        pose.load_state_dict(trainer.average.state())
        pose.eval()
        score = self.score(pose, self.images, self.world.device, self.batch)
        pose.train()
        pose.load_state_dict(trained)
        return score


def _copy(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in state.items()}
