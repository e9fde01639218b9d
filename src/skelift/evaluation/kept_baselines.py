"""Baselines' predictions kept beside the scores, so that another model is scored without them.

Training the baselines is most of the second half of ``evaluate``, and they depend on nothing that
the model's own training changes. What is kept says what it was made of; whatever differs in it,
be it the code, makes them train again.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from skelift.evaluation.baselines import BASELINES, Bench
from skelift.evaluation.predictions import Predicted
from skelift.files import sha256
from skelift.models.tensors import load_tensors, save_tensors
from skelift.training.flow import WEIGHTS as FLOW_WEIGHTS

_OF_THE_REPORT = ("baselines", "shown", "snapshot_images")  # change no baseline


def predictions(bench: Bench, name: str) -> Predicted:
    """What a baseline predicts for the test images, trained or as kept in ``paths.reports``.

    Raises:
        InputError: the file of what was kept is broken.
    """
    file = Path(bench.config.paths.reports) / "baselines" / f"{name}.safetensors"
    return _kept(file, _made_of(bench), lambda: BASELINES[name](bench))


def _kept(file: Path, made_of: dict[str, Any], make: Callable[[], Predicted]) -> Predicted:
    identity = {"made_of": json.dumps(made_of, sort_keys=True)}
    if file.exists():
        tensors, about = load_tensors(file, "skelift evaluate, after removing it")
        if about == identity:
            print(f"{file.stem.replace('_', ' ')}: as in {file}")
            return Predicted(**{key: tensor.numpy() for key, tensor in tensors.items()})
    made = make()
    arrays = {"joints_2d": made.joints_2d, "joints_3d_mm": made.joints_3d_mm}
    save_tensors(file, {key: torch.from_numpy(a.copy()) for key, a in arrays.items()}, identity)
    return made


def _made_of(bench: Bench) -> dict[str, Any]:
    """All that a baseline's predictions depend on, to their last bit; ready for JSON."""
    config = bench.config
    flow = Path(config.paths.flow) / FLOW_WEIGHTS
    evaluate = {k: v for k, v in asdict(config.evaluate).items() if k not in _OF_THE_REPORT}
    return {
        "data": bench.data.checksums,
        "flow": sha256(flow) if flow.exists() else None,  # only the lifter without labels needs it
        "model": asdict(config.model),
        "evaluate": evaluate,
        "train": {"seed": config.train.seed, "clip": config.train.clip},
        "device": bench.device.type,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "code": _code(),
    }


@cache
def _code() -> str:
    """Digest of the package's sources."""
    digest, root = hashlib.sha256(), Path(str(files("skelift")))
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
