"""Stage: images and unpaired poses -> a model."""

from pathlib import Path

from skelift.config import Config
from skelift.data.format import Dataset
from skelift.evaluation.label_free import score_without_labels
from skelift.training.distributed import join
from skelift.training.one_model import train_one


def run(config: Config) -> Path:
    """Train the model (or each of ``variants``) on ``paths.data``; writes ``paths.model``.

    Killed at any moment and started again, it goes on from the last checkpoint and ends, on a CPU,
    with the same weights bit by bit.
    """
    data = Dataset(config.paths.data)
    with join(config.train.device) as world:
        for name, variant in config.each_variant():
            train_one(variant, data, world, f"train {name}".strip(), score_without_labels)
    return Path(config.paths.model)
