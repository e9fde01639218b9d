"""Stage: the prior's 2D poses -> a normalising flow."""

from pathlib import Path

from skelift.config import Config
from skelift.data.chosen import chosen_dataset
from skelift.training.distributed import join
from skelift.training.flow import pretrain


def run(config: Config) -> Path:
    """Pretrain the flow on the unpaired 2D poses of ``paths.data``; writes ``paths.flow``."""
    data, flow = chosen_dataset(config), Path(config.paths.flow)
    with join(config.train.device) as world, world.claimed(flow, by="pretrain-flow"):
        return pretrain(data, config.flow, config.model.units, flow, world.device)
