"""Stage: the prior's 2D poses -> a normalising flow."""

from pathlib import Path

from skelift.config import Config
from skelift.data.format import Dataset
from skelift.training.distributed import join
from skelift.training.flow import pretrain


def run(config: Config) -> Path:
    """Pretrain the flow on the unpaired 2D poses of ``paths.data``; writes ``paths.flow``."""
    data = Dataset(config.paths.data)
    with join(config.train.device) as world:
        flow = Path(config.paths.flow)
        return pretrain(data, config.flow, config.model.units, flow, world.device)
