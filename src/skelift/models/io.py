"""A trained model on disk: ``model.safetensors`` and the ``model.json`` that explains it.

Networks are imported where they are built: who runs an exported graph needs the card alone, and a
server's worker that was started again is back sooner without them.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from skelift import __version__
from skelift.config import ModelConfig
from skelift.data.format import DatasetInfo
from skelift.errors import InputError
from skelift.files import read_json, write_json
from skelift.models.tensors import load_tensors, save_tensors
from skelift.skeleton import Skeleton

if TYPE_CHECKING:
    from skelift.models.posenet import PoseNet

WEIGHTS, CARD = "model.safetensors", "model.json"
SNAPSHOTS = "snapshots"
MADE_BY = "skelift train"
TAUGHT_LAST = ("facing.", "refiner.")


def save_model(
    folder: Path,
    pose: "PoseNet",
    weights: Mapping[str, Tensor],
    config: ModelConfig,
    data: DatasetInfo,
    about: Mapping[str, Any],
    *,
    name: str,
    crop_side: float,
) -> None:
    """Write weights, and the card with all that prediction needs besides them.

    ``crop_side`` is the typical side of a training crop over its focal length: images of unknown
    camera are taken to have it. Models that lift in crop units do not use it.
    """
    save_tensors(folder / WEIGHTS, weights, {"format": "skelift-model"})
    card = {
        "name": name,
        "skelift_version": __version__,
        "skeleton": pose.skeleton.to_mapping(),
        "size": data.size,
        "margin": data.margin,
        "scale": pose.scale,
        "crop_side": crop_side,
        "model": asdict(config),
        "data": {
            "name": data.name,
            "synthetic": data.synthetic,
            "provenance": data.provenance,
            "licence": data.licence,
        },
        "units": "mm",
        "frame": "camera: x right, y down, z forward; root-relative",
    }
    write_json(folder / CARD, card | dict(about))


def save_snapshot(
    checkpoints: Path, weights: Mapping[str, Tensor], step: int, about: Mapping[str, str]
) -> None:
    """Keep the weights after ``step`` steps, and what is known of them, with the checkpoints."""
    file = checkpoints / SNAPSHOTS / f"step-{step:07d}.safetensors"
    save_tensors(file, weights, {"step": str(step), **about})


def snapshots(checkpoints: Path) -> dict[int, Path]:
    """Steps -> weights that ``save_snapshot`` kept there, in order."""
    files = sorted((checkpoints / SNAPSHOTS).glob("step-*.safetensors"))
    return {int(file.stem.removeprefix("step-")): file for file in files}


def load_model(
    folder: Path, device: torch.device, weights: Path | None = None
) -> tuple["PoseNet", dict[str, Any]]:
    """The pipeline in evaluation mode, and its card.

    Args:
        folder: the model.
        device: where to.
        weights: a snapshot of the same model's training, in place of its last weights; what is
            taught after the last step alone stays.

    Raises:
        InputError: something is missing, broken or of another model.
    """
    from skelift.models.posenet import PoseNet
    from skelift.training.flow import load_weights

    card, skeleton = load_card(folder)
    pose = PoseNet(ModelConfig(**card["model"]), skeleton, float(card["scale"]))
    file = folder / WEIGHTS
    tensors, _ = load_tensors(file, MADE_BY)
    if weights:
        last = {name: t for name, t in tensors.items() if name.startswith(TAUGHT_LAST)}
        file, tensors = weights, last | load_tensors(weights, MADE_BY)[0]
    load_weights(pose, tensors, file, MADE_BY)
    return pose.eval().requires_grad_(False).to(device), card


def load_card(folder: Path) -> tuple[dict[str, Any], Skeleton]:
    """A model's card and skeleton without its weights; InputError when missing or broken."""
    card = read_json(folder / CARD, MADE_BY)
    try:
        ModelConfig(**card["model"])
        float(card["scale"]), int(card["size"]), float(card["margin"]), float(card["crop_side"])
        _ = card["name"], card["skelift_version"], card["units"], card["frame"]
        return card, Skeleton.from_mapping(card["skeleton"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{folder / CARD}: incomplete ({error}); recreate it with `{MADE_BY}`"
        ) from None
