"""A model with the lifter of another one: ``python -m scripts.swap_lifter MODEL LIFTER OUT``.

Lambda learns from unpaired 2D poses alone where ``loss.lift_images_from`` is null, so it can come
from a run of its own. The shipped weights are made with this (their model card says from what).
Everything else, and what the card says of the training, is MODEL's; the card names both.
"""

import argparse
from pathlib import Path

from safetensors.torch import load_file, save_file

from skelift.errors import InputError
from skelift.files import atomic_folder, read_json, write_json
from skelift.models.io import CARD, WEIGHTS

LAMBDA = "core.lifter."
# What has to be equal for a 2D pose to mean the same.
SAME = ("units", "channels")


def swap_lifter(model: Path, lifter: Path, out: Path) -> None:
    """Write ``out``; InputError where the two models see other poses."""
    card, theirs = (read_json(folder / CARD, "skelift train") for folder in (model, lifter))
    for key in SAME:
        if card["model"][key] != theirs["model"][key]:
            raise InputError(f"{lifter}: its model.{key} is {theirs['model'][key]}, not the same")
    if card["skeleton"]["joints"] != theirs["skeleton"]["joints"]:
        raise InputError(f"{lifter}: a model of other joints")
    weights = {k: t for k, t in load_file(model / WEIGHTS).items() if not k.startswith(LAMBDA)}
    of_lifter = {k: t for k, t in load_file(lifter / WEIGHTS).items() if k.startswith(LAMBDA)}
    card["scale"] = theirs["scale"]
    card["model"]["lifter_width"] = theirs["model"]["lifter_width"]
    card["lifter"] = {key: theirs[key] for key in ("name", "data", "steps", "train", "loss")}
    with atomic_folder(out, CARD) as unfinished:
        save_file(weights | of_lifter, unfinished / WEIGHTS, {"format": "skelift-model"})
        write_json(unfinished / CARD, card)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("model", "lifter", "out"):
        parser.add_argument(name, type=Path)
    args = parser.parse_args()
    swap_lifter(args.model, args.lifter, args.out)


if __name__ == "__main__":
    main()
