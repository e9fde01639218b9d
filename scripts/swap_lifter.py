"""A model with the lifter of another one: ``python -m scripts.swap_lifter MODEL LIFTER OUT``.

Lambda learns from unpaired 2D poses alone where ``loss.lift_images_from`` is null, so it can come
from a run of its own. The shipped weights are made with this (their model card says from what).
Everything else, and what the card says of the training, is MODEL's; the card names both.
"""

import argparse
import sys
from pathlib import Path

import torch

from skelift.cli import BAD_INPUT
from skelift.errors import InputError
from skelift.files import atomic_folder, write_json
from skelift.models.io import CARD, WEIGHTS, load_model
from skelift.models.tensors import save_tensors

LAMBDA = "core.lifter."
# What has to be equal for a 2D pose to mean the same.
SAME = ("units", "channels")


def swap_lifter(model: Path, lifter: Path, out: Path) -> None:
    """Write ``out``; InputError where a model is broken, or the two see other poses."""
    cpu = torch.device("cpu")
    (pipeline, card), (other, theirs) = load_model(model, cpu), load_model(lifter, cpu)
    for key in SAME:
        if card["model"][key] != theirs["model"][key]:
            raise InputError(f"{lifter}: its model.{key} is {theirs['model'][key]}, not the same")
    ours, its = pipeline.core.skeleton, other.core.skeleton
    if (ours.joints, ours.root, ours.pairs) != (its.joints, its.root, its.pairs):
        raise InputError(f"{lifter}: a model of another skeleton ({its.name}, not {ours.name})")
    weights = {k: t for k, t in pipeline.state_dict().items() if not k.startswith(LAMBDA)}
    if card["model"]["storage"] == "fp16":
        weights = {k: t.half() if t.dim() > 1 else t for k, t in weights.items()}
    weights |= {k: t for k, t in other.state_dict().items() if k.startswith(LAMBDA)}
    card["scale"] = theirs["scale"]
    card["model"]["lifter_width"] = theirs["model"]["lifter_width"]
    card["lifter"] = {key: theirs.get(key) for key in ("name", "data", "steps", "train", "loss")}
    with atomic_folder(out, CARD) as unfinished:
        save_tensors(unfinished / WEIGHTS, weights, {"format": "skelift-model"})
        write_json(unfinished / CARD, card)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("model", "lifter", "out"):
        parser.add_argument(name, type=Path)
    args = parser.parse_args()
    try:
        swap_lifter(args.model, args.lifter, args.out)
    except (InputError, OSError) as error:
        print(f"swap_lifter: error: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)


if __name__ == "__main__":
    main()
