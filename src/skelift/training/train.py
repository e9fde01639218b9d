"""One model, from its first step or its last checkpoint to its files."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from skelift.config import Config
from skelift.data.format import Dataset, Split
from skelift.data.hold_out import spread
from skelift.data.loading import faces_us, over_crop
from skelift.errors import InputError
from skelift.models.heads import FitData
from skelift.models.io import save_model
from skelift.models.pipeline import PosePipeline
from skelift.models.posenet import PoseNet
from skelift.training.build import build_trainer, load_start, training_data
from skelift.training.callbacks import (
    Checkpoints,
    Curves,
    Reporting,
    SweepReport,
    Validation,
    uncompiled,
)
from skelift.training.distributed import World
from skelift.training.heads import check_heads, fit_heads
from skelift.training.identity import identity
from skelift.training.loop import Callback, NonFiniteLoss, fit
from skelift.training.trainer import Trainer, TrainingData


def train_model(
    config: Config,
    data: Dataset,
    world: World,
    title: str,
    label_free: Callable[[PosePipeline, Split], float],
    reporting: Reporting | None = None,
) -> bool:
    """Train one model from scratch, or from the last checkpoint of the same run.

    Of 0 steps, the core of ``train.start`` is kept, and the heads are fitted on it.

    Args:
        config: the run.
        data: its data set.
        world: this process.
        title: what the progress bar says.
        label_free: scores snapshots on training images, for ``train.patience``.
        reporting: of a sweep's trial.

    Returns:
        False where ``reporting`` ended the run; no model is written then.
    """
    start = None
    if config.train.start:
        sides = config.loss.canonical_sides
        start = load_start(config.train.start, config.model, data.skeleton, canonical_sides=sides)
    check_heads(config, data, start)
    run = _Run(config, data, world, title, start)
    if start and not config.train.steps:
        if world.is_main:
            run.keep_core(start.core.to(world.device))
        return True
    return run.train(label_free, reporting)


@dataclass(frozen=True)
class _Run:
    """Training of one model; see ``train_model``."""

    config: Config
    data: Dataset
    world: World
    title: str
    start: PosePipeline | None

    def keep_core(self, core: PoseNet) -> None:
        """Write a model of a core as it is, with heads fitted on it."""
        read = training_data(self.data, core, self.config.loss, self.world.device)
        self._write_model(core, read, 0)

    def train(
        self, label_free: Callable[[PosePipeline, Split], float], reporting: Reporting | None
    ) -> bool:
        """Take the steps that are left, and write the model; False where ``reporting`` ends it."""
        config, data, world = self.config, self.data, self.world
        trainer = build_trainer(config, data, world, self.start)
        checkpoints = Checkpoints(Path(config.paths.checkpoints), trainer, identity(config, data))
        first = checkpoints.resume()
        _check_same(first, checkpoints.folder, world)
        images = spread(data.split("train"), config.evaluate.snapshot_images)
        validation = Validation(trainer, checkpoints, lambda p: label_free(p, images))
        curves = self._curves(checkpoints) if world.is_main else None
        report = SweepReport(trainer, validation, reporting) if reporting else None
        kept = checkpoints if world.is_main else None
        callbacks: list[Callback] = [c for c in (curves, kept, validation, report) if c]
        try:
            if not validation.should_stop():  # of a run that had ended before it was started again
                fit(
                    trainer.step,
                    config.train.steps,
                    title=self.title,
                    batch=config.train.batch,
                    interval=config.train.interval,
                    first=first,
                    callbacks=callbacks,
                    over_all=world.mean,
                    show=world.is_main,
                )
        except NonFiniteLoss as error:
            raise NonFiniteLoss(f"{error}; last good checkpoint: {checkpoints.last}") from None
        if report and report.pruned:
            return False
        if curves:
            curves.finish()
            self._ship(trainer, validation)
        return True

    def _curves(self, checkpoints: Checkpoints) -> Curves:
        """Curves that go on from the checkpoint; of a new run, what another left is removed."""
        model, first = Path(self.config.paths.model), checkpoints.saved
        curves = Curves(checkpoints.folder, model, first, live=self.config.train.dvclive)
        if not first:
            checkpoints.clear()
        return curves

    def _ship(self, trainer: Trainer, validation: Validation) -> None:
        """Write the model of the last weights, or of the best snapshot."""
        core, (steps, weights) = trainer.core, validation.shipped()
        if steps < self.config.train.steps:
            chosen = f"the snapshot of step {steps}, the best label-free score"
            print(f"{self.title}: the model is {chosen}")
        core.load_state_dict(dict(weights))
        trainer.undo_mirrored_depth()
        self._write_model(core, trainer.data, steps)

    def _write_model(self, core: PoseNet, read: TrainingData, steps: int) -> None:
        """Fit the heads on the weights that ship, and write the model."""
        config, data = self.config, self.data
        core.eval()
        facing = faces_us(over_crop(data.prior.poses_2d, data.info.size), data.skeleton)
        seen = FitData(
            core, data.split("train"), read.u, facing.to(read.u.device), config.evaluate.batch
        )
        with uncompiled():
            heads = fit_heads(config.heads, seen, config.train.seed, self.start, self.title)
        save_model(
            Path(config.paths.model),
            PosePipeline(core, heads, config.model.flip_test),
            config.model,
            data.info,
            {
                "train": asdict(config.train),
                "loss": asdict(config.loss),
                "fit": asdict(config.heads),
                "steps": steps,
            },
            name=config.name,
            crop_side=read.images.typical_crop_side,
        )


def _check_same(first: int, folder: Path, world: World) -> None:
    if world.mean(torch.tensor(float(first), device=world.device)).item() != first:
        raise InputError(
            f"{folder}: process {world.rank} has {first} steps, others have more or fewer; give "
            "all processes the same checkpoints, or remove them"
        )
