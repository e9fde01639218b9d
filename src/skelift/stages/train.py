"""Stage: images and unpaired poses -> a model."""

from functools import partial
from pathlib import Path

from skelift.config import Config, each_variant
from skelift.data.chosen import chosen_dataset
from skelift.evaluation.label_free import score_without_labels
from skelift.training.distributed import join
from skelift.training.train import train_model


def run(config: Config) -> Path:
    """Train the model (or each of ``variants``) on ``paths.data``; writes ``paths.model``.

    Killed at any moment and started again, it goes on from the last checkpoint and ends, on a CPU,
    with the same weights bit by bit.
    """
    data, models = chosen_dataset(config), list(each_variant(config))
    label_free = partial(score_without_labels, batch=config.evaluate.batch, prior=data.prior)
    paths = [variant.paths for _, variant in models]
    folders = [Path(folder) for p in paths for folder in (p.model, p.checkpoints)]
    with join(config.train.device) as world, world.claimed(*folders, by="train"):
        for name, variant in models:
            train_model(
                variant,
                data,
                world,
                f"train {name}".strip(),
                partial(label_free, device=world.device),
            )
    return Path(config.paths.model)
