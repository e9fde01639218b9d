"""A model with the lifter of other runs.

``python -m scripts.swap_lifter MODEL LIFTER... --out OUT``; OUT is new: no model is replaced.

Lambda learns from unpaired 2D poses alone where ``loss.lift_images_from`` is null, so it can come
from a run of its own. Of several runs it is the mean: lifters of different priors err differently.
The shipped weights are made with this (their model card says from what). Everything else, and what
the card says of the training, is MODEL's; the card names all.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skelift.cli import FAULTS, refused
from skelift.errors import InputError
from skelift.files import atomic_folder
from skelift.geometry import project
from skelift.models.io import CARD, WEIGHTS, load_model, write_model
from skelift.models.lifter import Lifter
from skelift.models.pipeline import PosePipeline
from skelift.skeleton import Skeleton

# What has to be equal for a 2D pose to mean the same.
SAME = ("units", "channels")
KEPT = ("name", "data", "model", "steps", "train", "loss")  # of the lifters' cards


def swap_lifter(model: Path, lifters: Sequence[Path], out: Path) -> None:
    """Write ``out``.

    Raises:
        InputError: a model is broken, the lifters see other poses or see them mirrored in depth,
            or ``out`` is a model already.
    """
    if (out / CARD).exists():
        raise InputError(f"{out}: is a model, and would be replaced; name a new folder")
    pipeline, card = _finite_model(model)
    core, ours = pipeline.core, pipeline.core.skeleton
    others = [_finite_model(lifter) for lifter in lifters]
    for lifter, (other, theirs) in zip(lifters, others, strict=True):
        for key in SAME:
            if card["model"][key] != (its := theirs["model"][key]):
                raise InputError(f"{lifter}: its model.{key} is {its}, not {card['model'][key]}")
        body = other.core.skeleton
        if (ours.joints, ours.root, ours.pairs) != (body.joints, body.root, body.pairs):
            raise InputError(f"{lifter}: of skeleton {body.name}, not {ours.name}")
    _check_agree(lifters, [other.core.lifter for other, _ in others], random_poses(ours))
    cards = [theirs for _, theirs in others]
    scales = [theirs["scale"] for theirs in cards]
    core.lifter = Lifter.mean_of([other.core.lifter for other, _ in others], scales)
    card["scale"], card["model"]["lifter_width"] = scales[0], core.lifter.width
    card["lifters"] = [
        run for c in cards for run in c.get("lifters", [{key: c.get(key) for key in KEPT}])
    ]
    with atomic_folder(out, CARD, WEIGHTS) as unfinished:
        write_model(unfinished, pipeline, card)


def _finite_model(folder: Path) -> tuple[PosePipeline, dict[str, Any]]:
    """A model and its card; InputError where weights are NaN or infinite."""
    pipeline, card = load_model(folder, torch.device("cpu"))
    for name, weights in pipeline.state_dict().items():
        if not weights.isfinite().all():
            raise InputError(f"{folder}: its weights {name} are not all finite; train it again")
    return pipeline, card


def _check_agree(folders: Sequence[Path], lifters: Sequence[Lifter], y: Tensor) -> None:
    """InputError where one says that near is what another says is far: their mean is flat.

    See ``Lifter.mirror_depth``. Trained lifters correlate by 0.8, also where their priors differ.
    """
    with torch.no_grad():
        depths = torch.stack([lifter.depths(y).flatten() for lifter in lifters])
    with_first = torch.corrcoef(depths).reshape(len(folders), -1)[0]
    for folder, correlation in zip(folders, with_first.tolist(), strict=True):
        if not correlation > 0:
            raise InputError(
                f"{folder}: its depths contradict those of {folders[0]} (correlation "
                f"{correlation:.2f}), as of a body mirrored in depth; their mean would be flat, "
                "leave one out"
            )


def random_poses(skeleton: Skeleton, count: int = 500) -> Tensor:
    """Normalised 2D poses (count, J, 2) of bodies whose bones point anywhere."""
    rng = np.random.default_rng(0)
    at = {skeleton.root: np.zeros((count, 3))}
    while len(at) < len(skeleton):
        for bone, length in zip(skeleton.bones, skeleton.bone_lengths_mm, strict=True):
            known, new = bone if bone[0] in at else bone[::-1]
            if known in at and new not in at:
                direction = rng.standard_normal((count, 3))
                at[new] = at[known] + length * direction / np.linalg.norm(
                    direction, axis=1, keepdims=True
                )
    scale = np.linalg.norm(at[skeleton.head], axis=1).mean()
    v = np.stack([at[joint] for joint in skeleton.joints], axis=1) / scale
    return project(torch.tensor(v, dtype=torch.float32))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("lifters", type=Path, nargs="+", metavar="lifter")
    parser.add_argument("--out", type=Path, required=True, help="the new model's folder")
    args = parser.parse_args()
    try:
        swap_lifter(args.model, args.lifters, args.out)
    except FAULTS as error:
        sys.exit(refused("swap_lifter", error))


if __name__ == "__main__":
    main()
