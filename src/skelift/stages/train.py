"""Stage: images and unpaired poses -> a model."""

from functools import partial
from pathlib import Path

from skelift.config import Config, each_variant
from skelift.data.format import Dataset
from skelift.evaluation.label_free import score_without_labels
from skelift.training.distributed import join
from skelift.training.train import train_model


def run(config: Config) -> Path:
    """Train the model (or each of ``variants``) on ``paths.data``; writes ``paths.model``.

    Killed at any moment and started again, it goes on from the last checkpoint and ends, on a CPU,
    with the same weights bit by bit.
    """
    data = Dataset(config.paths.data)
    with join(config.train.device) as world:
        for name, variant in each_variant(config):
            train_model(
                variant,
                data,
                world,
                f"train {name}".strip(),
                partial(score_without_labels, device=world.device, batch=config.evaluate.batch),
            )
    return Path(config.paths.model)
