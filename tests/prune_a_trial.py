"""A trial that its search ends: ``python -m torch.distributed.run ... FILE OVERRIDES``."""

import sys

from skelift.config import compose
from skelift.data.format import Dataset
from skelift.data.hold_out import spread
from skelift.training.callbacks import Reporting
from skelift.training.distributed import join
from skelift.training.train import train_model

if __name__ == "__main__":
    config = compose(sys.argv[1:])
    data = Dataset(config.paths.data)
    with join("cpu") as world:
        images = spread(data.split("test"), 4)
        reporting = Reporting(images, lambda *_: 1.0, lambda score, step: step >= 10, 3)
        finished = train_model(config, data, world, "trial", lambda *_: 1.0, reporting)
        print(f"process {world.rank}: finished={finished}", flush=True)
