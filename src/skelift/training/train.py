"""One model, from its first step or its last checkpoint to its files."""

from collections.abc import Callable
from dataclasses import asdict
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
from skelift.training.trainer import TrainingData


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
    train, checkpoint_folder = config.train, Path(config.paths.checkpoints)
    start = None
    if train.start:
        sides = config.loss.canonical_sides
        start = load_start(train.start, config.model, data.skeleton, canonical_sides=sides)
    check_heads(config, data, start)
    if start and not train.steps:
        if world.is_main:
            core = start.core.to(world.device)
            read = training_data(data, core, config.loss, world.device)
            _write_model(config, data, core, read, 0, start, title)
        return True
    trainer = build_trainer(config, data, world, start)

    checkpoints = Checkpoints(checkpoint_folder, trainer, identity(config, data))
    first = checkpoints.resume()
    _check_same(first, checkpoint_folder, world)
    images = spread(data.split("train"), config.evaluate.snapshot_images)
    validation = Validation(trainer, checkpoints, lambda p: label_free(p, images))
    curves = None
    callbacks: list[Callback] = []
    if world.is_main:
        curves = Curves(checkpoint_folder, Path(config.paths.model), first, live=train.dvclive)
        if not first:
            checkpoints.clear()
        callbacks += [curves, checkpoints]
    callbacks.append(validation)
    report = SweepReport(trainer, validation, reporting) if reporting else None
    if report:
        callbacks.append(report)

    try:
        if not validation.should_stop():  # of a run that had ended before it was started again
            fit(
                trainer.step,
                train.steps,
                title=title,
                batch=train.batch,
                interval=train.interval,
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
        core, (steps, weights) = trainer.core, validation.shipped()
        if steps < train.steps:
            print(f"{title}: the model is the snapshot of step {steps}, the best label-free score")
        core.load_state_dict(dict(weights))
        trainer.undo_mirrored_depth()
        _write_model(config, data, core, trainer.data, steps, start, title)
    return True


def _write_model(
    config: Config,
    data: Dataset,
    core: PoseNet,
    read: TrainingData,
    steps: int,
    start: PosePipeline | None,
    title: str,
) -> None:
    """Fit the heads on the weights that ship, and write the model."""
    core.eval()
    facing = faces_us(over_crop(data.prior.poses_2d, data.info.size), data.skeleton)
    seen = FitData(
        core, data.split("train"), read.u, facing.to(read.u.device), config.evaluate.batch
    )
    with uncompiled():
        heads = fit_heads(config.heads, seen, config.train.seed, start, title)
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
