"""What makes two runs the same run: all that their steps depend on."""

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from skelift.config import Config, LossConfig
from skelift.data.format import Dataset
from skelift.files import sha256
from skelift.training.build import start_file
from skelift.training.flow import WEIGHTS as FLOW_WEIGHTS

# A key that is not here may change when a run is resumed.
STEPS_DEPEND_ON = {
    "train": (
        "steps",
        "batch",
        "learning_rate",
        "betas",
        "disc_learning_rate",
        "lifter_learning_rate",
        "lifter_weight_decay",
        "lifter_epoch_decay",
        "decay",
        "clip",
        "augment",
        "precision",
        "seed",
    ),
    "model": (
        "width",
        "disc_width",
        "disc_scales",
        "lifter_width",
        "channels",
        "elevation_deg",
        "units",
        "gamma",
        "squared",
    ),
    "loss": tuple(item.name for item in fields(LossConfig)),
}


def identity(config: Config, data: Dataset) -> dict[str, Any]:
    """Key -> value of all that a run's steps depend on; ready for JSON."""
    chosen = {
        f"{section}.{key}": asdict(getattr(config, section))[key]
        for section, keys in STEPS_DEPEND_ON.items()
        for key in keys
    }
    start = config.train.start
    return chosen | {
        "data": data.checksums,
        "flow": sha256(Path(config.paths.flow) / FLOW_WEIGHTS),
        "train.start": sha256(start_file(start)) if start else "",
    }


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Keys in which two identities differ."""
    return sorted(key for key in {*one, *other} if one.get(key) != other.get(key))
