"""One model, from its first step or its last checkpoint to its files."""

import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from skelift.config import Config
from skelift.data.format import Dataset
from skelift.errors import InputError
from skelift.models.io import SNAPSHOTS, save_model
from skelift.training.curves import Curves
from skelift.training.distributed import World
from skelift.training.early_stopping import EarlyStopping, Enough, Score
from skelift.training.facing import check_facing, teach_facing
from skelift.training.loop import Interval, NonFiniteLoss, fit
from skelift.training.refiner import teach_refiner
from skelift.training.start import facing_from_start
from skelift.training.trainer import (
    CHECKPOINT,
    Trainer,
    fingerprint,
    resume,
    save_checkpoint,
)


def train_one(
    config: Config,
    data: Dataset,
    world: World,
    title: str,
    score: Score,
    watch: Callable[[Trainer, int], None] | None = None,
) -> None:
    """Train one model from scratch, or from the last checkpoint of the same run.

    ``score`` judges snapshots without labels, for ``train.patience``. ``watch`` is called at each
    interval with the number of steps done; it may raise to stop.
    """
    train, out, checkpoints = config.train, Path(config.paths.model), Path(config.paths.checkpoints)
    if train.snapshot_every % train.interval:
        raise InputError(
            f"train.snapshot_every={train.snapshot_every}: a multiple of train.interval="
            f"{train.interval} is needed"
        )
    if train.facing_steps < 0 or train.refine_steps < 1:
        raise InputError(
            f"train.facing_steps={train.facing_steps}, train.refine_steps={train.refine_steps}: "
            "0 or more, and 1 or more"
        )
    if config.model.facing:
        check_facing(config, data)  # before hours are spent
    trainer = Trainer(config, data, world)
    keeps_facing = config.model.facing and not train.facing_steps
    kept = facing_from_start(config, trainer.pose) if keeps_facing else {}
    digest = fingerprint(config, data)
    first = resume(checkpoints, trainer, digest)
    if world.mean(torch.tensor(float(first), device=world.device)).item() != first:
        raise InputError(
            f"{checkpoints}: process {world.rank} has {first} steps, others have more or less; "
            "give all processes the same checkpoints, or remove them"
        )
    if world.is_main and not first and (checkpoints / SNAPSHOTS).exists():
        shutil.rmtree(checkpoints / SNAPSHOTS)  # of another run
    stopping = EarlyStopping(config, data, world, first, score)
    curves = Curves(checkpoints, out, first, live=train.dvclive) if world.is_main else None
    saved = first

    def each_interval(interval: Interval) -> None:
        nonlocal saved
        if curves:
            curves.add(interval)
            if interval.step - saved >= train.checkpoint_every or interval.step == train.steps:
                save_checkpoint(checkpoints, trainer, interval.step, digest)
                saved = interval.step
        if train.snapshot_every and interval.step % train.snapshot_every == 0:
            stopping.keep(trainer, interval.step)
            if stopping.enough():
                raise Enough
        if curves and watch:
            watch(trainer, interval.step)

    try:
        if stopping.enough():  # before it was started again
            raise Enough
        fit(
            trainer.step,
            train.steps,
            title=title,
            batch=train.batch,
            interval=train.interval,
            first=first,
            each_interval=each_interval,
            over_all=world.mean,
            show=world.is_main,
        )
    except Enough:
        if world.is_main:
            print(
                f"{title}: no better label-free score in {train.patience} snapshots; the best, of "
                f"step {stopping.best}, is the model"
            )
    except NonFiniteLoss as error:
        last = f"{checkpoints / CHECKPOINT} (step {saved})" if saved else "none yet"
        raise NonFiniteLoss(f"{error}; last good checkpoint: {last}") from None
    if world.is_main:
        assert curves
        curves.finish()
        if stopping.scores:
            steps, weights = stopping.best, stopping.best_weights()
        else:
            steps, weights = train.steps, trainer.average.state()
        trainer.pose.load_state_dict(weights)
        weights = {**weights, **kept, **_taught_last(config, trainer, title)}
        about = {"train": asdict(train), "loss": asdict(config.loss), "steps": steps}
        save_model(
            out,
            trainer.pose,
            weights,
            config.model,
            data.info,
            about,
            name=config.name,
            crop_side=trainer.images.typical_crop_side,
        )


def _taught_last(config: Config, trainer: Trainer, title: str) -> dict[str, Tensor]:
    """Weights of the networks that are taught when Phi, Omega and Lambda have theirs."""
    train = config.train
    taught: dict[str, Tensor] = {}
    if config.model.facing and train.facing_steps:
        split = trainer.data.split("train")
        taught |= teach_facing(config, trainer.pose, split, f"{title}: facing")
    if config.model.refine:
        taught |= teach_refiner(train, trainer.drawn, f"{title}: refiner")
    return taught
