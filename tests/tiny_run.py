"""Runs of a few steps on a tiny data set, for the tests of whatever trains."""

from collections.abc import Sequence
from pathlib import Path

import torch
import yaml
from quadruped import FLESHY_DOG
from tiny import load_skeleton, tiny_dataset

from skelift.config import ModelConfig, compose
from skelift.data.format import DatasetInfo
from skelift.models.heads import HEADS
from skelift.models.io import save_model
from skelift.models.pipeline import PosePipeline
from skelift.models.posenet import PoseNet
from skelift.skeleton import Skeleton
from skelift.stages import pretrain_flow

SMALL = [
    "loss=paper",
    "model.channels=single",
    "data.name=tiny",
    "data.size=32",
    "model.width=4",
    "model.disc_width=8",
    "model.disc_scales=1",
    "model.lifter_width=32",
    "heads.refiner.enabled=false",
    "flow.steps=20",
    "flow.hidden=16",
    "flow.blocks=2",
    "train.batch=8",
    "train.interval=5",
    "train.checkpoint_every=5",
    "train.precision=fp32",
    "train.dvclive=false",
]


def overrides(home: Path, run: str, *more: str) -> list[str]:
    """Of a run with its own model and checkpoints, on the data, flow and body of ``home``."""
    body = home / "skeleton.yaml"
    return [
        *SMALL,
        *([f"skeleton={body}"] if body.exists() else []),
        f"paths.data={home / 'data'}",
        f"paths.flow={home / 'flow'}",
        f"paths.model={home / run / 'model'}",
        f"paths.checkpoints={home / run / 'checkpoints'}",
        *more,
    ]


def pretrained(home: Path) -> Path:
    """``home``, with a tiny data set and a flow pretrained on it."""
    tiny_dataset(home / "data", size=32)
    pretrain_flow.run(compose(overrides(home, "none")))
    return home


def pretrained_on_dogs(home: Path) -> Path:
    """The same of bodies that lie, have flesh and walk."""
    home.joinpath("skeleton.yaml").write_text(yaml.safe_dump(FLESHY_DOG))
    tiny_dataset(
        home / "data", Skeleton.from_mapping(FLESHY_DOG), train=32, stride_mm=600, frames=16
    )
    pretrain_flow.run(compose(overrides(home, "none")))
    return home


def random_model(folder: Path, margin: float = 0.13, heads: Sequence[str] = ()) -> Path:
    """``folder``, with a model of random weights for 32 px."""
    torch.manual_seed(0)
    skeleton = load_skeleton("h36m17")
    config = ModelConfig(width=4, disc_width=8, lifter_width=32)
    core = PoseNet(config, skeleton, scale=0.1)
    pipeline = PosePipeline(core, {name: HEADS[name].of(core) for name in heads})
    data = DatasetInfo("tiny", skeleton, 32, margin, True, "drawn for tests", "Apache-2.0")
    save_model(folder, pipeline, config, data, {}, name="tiny", crop_side=0.4)
    return folder
