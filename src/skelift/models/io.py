"""A trained model on disk: ``model.safetensors`` and the ``model.json`` that explains it.

Networks are imported where they are built: to run an exported graph the card alone is needed, and
a server's worker restarts faster without them.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
from torch import Tensor

from skelift import __version__
from skelift.config import HeadsConfig, ModelConfig
from skelift.config.fields import Count, NonNegative, Positive, must
from skelift.config.read import read
from skelift.data.format import DatasetInfo
from skelift.errors import InputError
from skelift.files import read_json, write_json
from skelift.models.tensors import load_tensors, load_weights, save_tensors
from skelift.skeleton import Skeleton
from skelift.weights import BODIES, SHIPPED_NAME

if TYPE_CHECKING:
    from skelift.models.heads import Head
    from skelift.models.pipeline import PosePipeline

WEIGHTS, CARD = "model.safetensors", "model.json"
SNAPSHOTS = "snapshots"
MADE_BY = "skelift train"
_Size = Annotated[Count, must(lambda size: size % 8 == 0, "a multiple of 8")]
# Of the card; weights of another image size and so on fit the network too, and would lift wrongly.
_NUMBERS = {"scale": Positive, "size": _Size, "margin": NonNegative, "crop_side": Positive}


def save_model(
    folder: Path,
    pipeline: "PosePipeline",
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
    card = {
        "name": name,
        "skelift_version": __version__,
        "skeleton": pipeline.core.skeleton.to_mapping(),
        "size": data.size,
        "margin": data.margin,
        "scale": pipeline.core.scale,
        "crop_side": crop_side,
        "model": asdict(config),
        "heads": list(pipeline.heads),
        "data": {
            "name": data.name,
            "synthetic": data.synthetic,
            "provenance": data.provenance,
            "licence": data.licence,
        },
        "units": "mm",
        "frame": "camera: x right, y down, z forward; root-relative",
    }
    write_model(folder, pipeline, card | dict(about))


def write_model(folder: Path, pipeline: "PosePipeline", card: Mapping[str, Any]) -> None:
    """Write a pipeline's weights, in the storage that its card names, and the card.

    The numbers that go with the weights stand in both.
    """
    weights = pipeline.state_dict()
    if card["model"]["storage"] == "fp16":  # but biases and statistics: small, and may be large
        weights = {name: t.half() if t.dim() > 1 else t for name, t in weights.items()}
    numbers = json.dumps({key: card[key] for key in _NUMBERS})
    save_tensors(folder / WEIGHTS, weights, {"format": "skelift-model", "numbers": numbers})
    write_json(folder / CARD, card)


def save_snapshot(
    checkpoints: Path, weights: Mapping[str, Tensor], step: int, about: Mapping[str, str]
) -> None:
    """Keep the core's weights after ``step`` steps, and what is known of them."""
    file = checkpoints / SNAPSHOTS / f"step-{step:07d}.safetensors"
    save_tensors(file, weights, {"step": str(step), **about})


def snapshots(checkpoints: Path) -> dict[int, Path]:
    """Steps -> weights that ``save_snapshot`` kept there, in order."""
    files = sorted((checkpoints / SNAPSHOTS).glob("step-*.safetensors"))
    return {int(file.stem.removeprefix("step-")): file for file in files}


def load_model(
    folder: Path, device: torch.device, snapshot: Path | None = None
) -> tuple["PosePipeline", dict[str, Any]]:
    """The pipeline in evaluation mode, and its card.

    ``snapshot`` holds the core's weights in the course of the same training, to take in place of
    its last ones; the heads stay.

    Raises:
        InputError: something is missing, broken or of another model.
    """
    from skelift.models.heads import HEADS
    from skelift.models.pipeline import PosePipeline
    from skelift.models.posenet import PoseNet

    card, skeleton = load_card(folder)
    config = read(ModelConfig, card["model"])
    core = PoseNet(config, skeleton, float(card["scale"]))
    heads: dict[str, Head] = {name: HEADS[name].of(core) for name in card["heads"]}
    pipeline = PosePipeline(core, heads, config.flip_test)
    weights, about = load_tensors(folder / WEIGHTS, MADE_BY)
    load_weights(pipeline, weights, folder / WEIGHTS, MADE_BY)
    _check_numbers(folder, card, json.loads(about.get("numbers", "{}")))
    if snapshot:
        load_weights(core, load_tensors(snapshot, MADE_BY)[0], snapshot, MADE_BY)
    return pipeline.eval().requires_grad_(False).to(device), card


def _check_numbers(folder: Path, card: Mapping[str, Any], trained: Mapping[str, float]) -> None:
    """InputError where the card's numbers are not those of the weights, which older ones lack."""
    for key, number in trained.items():
        if card[key] != number:
            raise InputError(
                f"{folder / CARD}: {key}={card[key]}, but {WEIGHTS} beside it was trained with "
                f"{number}; restore it"
            )


def load_card(folder: Path) -> tuple[dict[str, Any], Skeleton]:
    """A model's card and skeleton without its weights; InputError when missing or broken."""
    file = folder / CARD
    if not file.exists() and str(folder) in BODIES and folder.exists():
        raise InputError(
            f"{file}: not found; the folder {folder} here hides the model that ships under this "
            f"name: write {SHIPPED_NAME}/{folder} for that, or name a folder with a trained model"
        )
    if not file.exists():
        raise InputError(
            f"{file}: not found; run `{MADE_BY}` first, or name a model that ships: "
            f"{' or '.join(BODIES)}"
        )
    card = read_json(file, MADE_BY)
    if isinstance(card, dict) and "model" in card and "heads" not in card:
        raise InputError(f"{file}: written by an older skelift; retrain it with `{MADE_BY}`")
    try:
        ModelConfig(**card["model"])  # TypeError for a key that this version does not know
        read(ModelConfig, card["model"], "model")
        for key, kind in _NUMBERS.items():
            read(kind, card[key], key)
        _ = card["name"], card["skelift_version"], card["units"], card["frame"]
        unknown = [name for name in card["heads"] if name not in HeadsConfig.__dataclass_fields__]
        skeleton = Skeleton.from_mapping(card["skeleton"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{file}: incomplete ({error}); recreate it with `{MADE_BY}`") from None
    except InputError as error:
        raise InputError(f"{file}: {error}; recreate it with `{MADE_BY}`") from None
    if unknown:
        raise InputError(f"{file}: unknown heads {', '.join(unknown)}; update skelift")
    return card, skeleton
