"""Where a run starts that does not start at random: a finished model (``train.start``)."""

from pathlib import Path

import torch
from torch import Tensor

from skelift.config import Config, ModelConfig, TrainConfig
from skelift.errors import InputError
from skelift.models.io import WEIGHTS, load_model
from skelift.models.posenet import PoseNet
from skelift.weights import SHIPPED

# What has to be the same for weights to mean the same.
NETWORKS = ("width", "lifter_width", "channels", "units", "gamma", "squared")


def start_file(train: TrainConfig) -> Path:
    """The weights that ``train.start`` names."""
    folder = SHIPPED if train.start == "shipped" else Path(train.start)
    return folder / WEIGHTS


def start_from(config: Config, pose: PoseNet) -> None:
    """Give the untrained ``pose`` the weights of ``train.start``.

    The networks see images of any size, so the model may be of smaller ones.

    Raises:
        InputError: the model is of another body, or its networks are others.
    """
    weights = _load(config, pose).state_dict()
    pose.load_state_dict({name: weights[name] for name in pose.state_dict()})


def facing_from_start(config: Config, pose: PoseNet) -> dict[str, Tensor]:
    """Weights of ``facing`` as ``train.start`` has them; InputError where it has none."""
    if not config.train.start or (start := _load(config, pose)).facing is None:
        raise InputError(
            "train.facing_steps=0 keeps what train.start can tell of front and back, and there is "
            "no such model; set train.start=shipped, train.facing_steps=1500 or model.facing=false"
        )
    return {f"facing.{name}": weight for name, weight in start.facing.state_dict().items()}


def _load(config: Config, pose: PoseNet) -> PoseNet:
    folder = start_file(config.train).parent
    start, card = load_model(folder, torch.device("cpu"))
    theirs = ModelConfig(**card["model"])
    for key in NETWORKS:
        has, needs = getattr(theirs, key), getattr(config.model, key)
        if has != needs:
            raise InputError(f"{folder}: its model.{key} is {has}, not {needs}; set the same")
    if start.skeleton.joints != pose.skeleton.joints:
        raise InputError(
            f"{folder}: a model of the skeleton {start.skeleton.name}, and the images are of "
            f"{pose.skeleton.name}; set train.start to a model of the same joints"
        )
    return start
