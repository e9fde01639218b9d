"""A model with the lifter of other runs: ``python -m scripts.swap_lifter MODEL LIFTER... OUT``.

Lambda learns from unpaired 2D poses alone where ``loss.lift_images_from`` is null, so it can come
from a run of its own. Of several runs it is the mean: lifters of different priors err differently.
The shipped weights are made with this (their model card says from what). Everything else, and what
the card says of the training, is MODEL's; the card names all.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from skelift.cli import BAD_INPUT
from skelift.errors import InputError
from skelift.files import atomic_folder
from skelift.models.io import CARD, WEIGHTS, load_model, write_model
from skelift.models.lifter import Lifter

# What has to be equal for a 2D pose to mean the same.
SAME = ("units", "channels")
KEPT = ("name", "data", "model", "steps", "train", "loss")  # of the lifters' cards


def swap_lifter(model: Path, lifters: Sequence[Path], out: Path) -> None:
    """Write ``out``; InputError where a model is broken, or they see other poses."""
    cpu = torch.device("cpu")
    pipeline, card = load_model(model, cpu)
    core, ours = pipeline.core, pipeline.core.skeleton
    others = [load_model(lifter, cpu) for lifter in lifters]
    for lifter, (other, theirs) in zip(lifters, others, strict=True):
        for key in SAME:
            if card["model"][key] != (its := theirs["model"][key]):
                raise InputError(f"{lifter}: its model.{key} is {its}, not {card['model'][key]}")
        body = other.core.skeleton
        if (ours.joints, ours.root, ours.pairs) != (body.joints, body.root, body.pairs):
            raise InputError(f"{lifter}: of skeleton {body.name}, not {ours.name}")
    cards = [theirs for _, theirs in others]
    scales = [theirs["scale"] for theirs in cards]
    core.lifter = Lifter.mean_of([other.core.lifter for other, _ in others], scales)
    card["scale"], card["model"]["lifter_width"] = scales[0], core.lifter.width
    card["lifters"] = [
        run for c in cards for run in c.get("lifters", [{key: c.get(key) for key in KEPT}])
    ]
    with atomic_folder(out, CARD, WEIGHTS) as unfinished:
        write_model(unfinished, pipeline, card)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("lifters", type=Path, nargs="+", metavar="lifter")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    try:
        swap_lifter(args.model, args.lifters, args.out)
    except (InputError, OSError) as error:
        print(f"swap_lifter: error: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)


if __name__ == "__main__":
    main()
