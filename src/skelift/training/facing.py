"""Teaching ``Facing`` when all else is trained: who comes nearer mostly faces the camera."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skelift import losses
from skelift.config import Config
from skelift.data.format import Dataset, Split
from skelift.data.hold_out import Part, some
from skelift.data.loading import EpochSampler, ImageLoader
from skelift.data.motion_cue import MIN_RADIAL_MOTION, radial_motion_of
from skelift.errors import InputError
from skelift.models.heads.front_back import FrontBack
from skelift.models.posenet import PoseNet
from skelift.training.teach import teach

BATCH = 64
WEIGHT_DECAY = 1e-4
MOST = 50_000  # images


def check_facing(config: Config, data: Dataset) -> None:
    """InputError unless ``model.facing`` can be taught and is of use."""
    if not config.loss.canonical_sides:
        raise InputError(
            "model.facing=true needs loss.canonical_sides=true, whose sides it exchanges"
        )
    if not len(data.skeleton.trunk_pairs):
        raise InputError(
            f"{data.folder}: skeleton {data.skeleton.name} has no left and right joints on its "
            "trunk, so front and back look alike to it; set model.facing=false"
        )
    if config.train.facing_steps:
        who_moves(data.split("train"))


def who_moves(split: Split) -> tuple[Part, NDArray[np.float32]]:
    """Images in which someone comes nearer or goes away, at most ``MOST``, and their radial motion.

    Raises:
        InputError: there are none.
    """
    radial_motion = radial_motion_of(split)
    rows = np.flatnonzero(np.abs(radial_motion) >= MIN_RADIAL_MOTION)
    if not len(rows):
        raise InputError(
            f"{split.folder}: no images before and after (of the same person, clip and camera) "
            "show anyone come nearer or go away; prepare frames of films, or set model.facing=false"
        )
    rows = rows[:: -(-len(rows) // MOST)]
    return some(split, rows), radial_motion[rows]


def teach_facing(config: Config, pose: PoseNet, split: Split, title: str) -> dict[str, Tensor]:
    """Weights of ``pose.facing``, taught on the heads that trained networks find.

    A function of its arguments alone, on a CPU bit by bit.

    Args:
        config: the run.
        pose: Phi and Omega as they will be used.
        split: the training images.
        title: what the progress bar says.
    """
    moving, known = who_moves(split)
    device = pose.swap.device
    radial_motion = torch.from_numpy(known).to(device)
    torch.manual_seed(config.train.seed)
    facing = FrontBack(pose.skeleton).to(device)
    heads = _heads(pose, facing, moving, config.evaluate.batch)
    order = EpochSampler(len(heads), BATCH, config.train.seed)

    def loss(number: int) -> Tensor:
        rows = torch.from_numpy(order[number]).to(device)
        seen = heads[rows]
        seen[1::2] = seen[1::2].flip(3)
        return losses.facing_loss(facing.judge(seen), radial_motion[rows])

    return teach(
        facing,
        loss,
        config.train.facing_steps,
        name="facing",
        title=title,
        batch=BATCH,
        weight_decay=WEIGHT_DECAY,
    )


@torch.no_grad()
def _heads(pose: PoseNet, facing: FrontBack, split: Split, batch: int) -> Tensor:
    """(N, 3, PATCH, PATCH) patches around the heads of a split's images."""
    source = ImageLoader(split, pose.swap.device)
    pose.eval()
    heads = []
    for start in range(0, len(source), batch):
        x = source.take(np.arange(start, min(start + batch, len(source)))).x
        heads.append(facing.heads(x, pose.omega(pose.phi(x))))
    return torch.cat(heads)
