"""Teaching ``Refiner``: the unpaired 2D poses, with noise and without."""

import torch
from torch import Tensor

from skelift import losses
from skelift.config import TrainConfig
from skelift.data.loading import EpochSampler
from skelift.models.heads.refiner import Refiner
from skelift.training.teach import teach

BATCH = 256
# Bounds of the standard deviation of a pose's noise; half a side of the crop is 1. Nobody knows how
# far off Omega is, so: from a good one to a poor one.
NOISE = (0.02, 0.1)


def teach_refiner(train: TrainConfig, poses: Tensor, title: str) -> dict[str, Tensor]:
    """Weights of ``pose.refiner``, which tells unpaired poses (M, J, 2) from their noise.

    A function of its arguments alone, on a CPU bit by bit.

    Args:
        train: steps and seed.
        poses: as D and Omega see them: [-1, 1] over the crop, sides named as Omega names them.
        title: what the progress bar says.
    """
    device = poses.device
    torch.manual_seed(train.seed)
    refiner = Refiner(poses.shape[1]).to(device)
    order = EpochSampler(len(poses), BATCH, train.seed)
    rng = torch.Generator().manual_seed(train.seed)

    def loss(number: int) -> Tensor:
        u = poses[torch.from_numpy(order[number]).to(device)]
        least, most = NOISE
        std = least + (most - least) * torch.rand(len(u), 1, 1, generator=rng)
        noise = (torch.randn(u.shape, generator=rng) * std).to(device)
        return losses.refine_loss(refiner(u + noise), u)

    return teach(refiner, loss, train.refine_steps, name="refiner", title=title, batch=BATCH)
