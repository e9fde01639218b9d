"""Do front and back hang on the colour of hair? ``python -m scripts.head_colours [KEY=VALUE]``.

Renders test people with hair of their own and of other colours, all else being equal. Prints for
each colour how often a model turns a body round, compared with its own hair, and how often it has
left and right wrong, by the side that the body shows. KEY=VALUE as of ``skelift prepare``, with
``paths.model`` (default: the shipped weights), data.synth.test (how many people) and ``data``
(default: quickstart; people needs SKELIFT_DATA).
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from skelift.config import compose
from skelift.evaluation.heading import facing
from skelift.evaluation.metrics import is_swapped
from skelift.models.io import load_model
from skelift.synth.colours import Surface
from skelift.synth.generate import open_studio
from skelift.synth.scene import Labels, Scenes
from skelift.synth.splits import TEST
from skelift.weights import model_folder

COLOURS = {
    "black": (0.05, 0.04, 0.04),
    "brown": (0.35, 0.2, 0.1),
    "blond": (0.85, 0.7, 0.4),
    "white": (0.95, 0.95, 0.95),
    "red cap": (0.8, 0.1, 0.1),
    "blue cap": (0.1, 0.2, 0.8),
}
SKIN = "skin"
BATCH = 50


def main() -> None:
    """Print one line per colour."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE")
    given = ["data=quickstart", "data.synth.test=500", "paths.model=shipped"]
    config = compose([*given, *parser.parse_args().overrides])
    pipeline, card = load_model(model_folder(config.paths.model), torch.device("cpu"))
    config.data.size = int(card["size"])
    assert config.data.synth is not None
    studio, _ = open_studio(config, config.data.synth)
    read: dict[str, list[NDArray[np.floating]]] = {}
    labels: list[Labels] = []
    for start in range(0, config.data.synth.test, BATCH):
        rows = range(start, min(start + BATCH, config.data.synth.test))
        scenes = studio.cast.scenes(TEST, rows)
        for colour, painted in _painted(scenes):
            images, _, known = studio.photograph(painted)
            with torch.no_grad():
                x = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
                y = pipeline.predict_2d(x)[1]
            read.setdefault(colour, []).append((y.numpy() + 1) / 2 * config.data.size)
        labels.append(known)
    _report(
        {colour: np.concatenate(poses) for colour, poses in read.items()},
        np.concatenate([known.joints_2d for known in labels]),
        facing(np.concatenate([known.joints_3d_mm for known in labels]), config.body),
        config.body.swap,
    )


def _painted(scenes: Scenes) -> Iterator[tuple[str, Scenes]]:
    """The scenes with hair of each colour, their own first, and that of the skin last."""
    own = scenes.look.palettes
    yield "their own", scenes
    colours: dict[str, ArrayLike] = {**COLOURS, SKIN: own[:, :, Surface.SKIN]}
    for name, hair in colours.items():
        palettes = own.copy()
        palettes[:, :, Surface.HAIR] = hair
        yield name, replace(scenes, look=replace(scenes.look, palettes=palettes))


def _report(
    read: dict[str, NDArray[np.floating]],
    truth: NDArray[np.floating],
    sides: NDArray[np.str_] | None,
    swap: NDArray[np.int64],
) -> None:
    assert sides is not None
    groups = {"all": sides != ""} | {side: sides == side for side in ("front", "side", "back")}
    print(", ".join(f"{name}: {int(rows.sum())}" for name, rows in groups.items()), "images")
    own = next(iter(read.values()))
    for colour, poses in read.items():
        turned, wrong = is_swapped(poses, own, swap), is_swapped(poses, truth, swap)
        shares = [
            f"{name} {100 * turned[rows].mean():.1f} / {100 * wrong[rows].mean():.1f}"
            for name, rows in groups.items()
        ]
        print(f"{colour}: turned / wrong, % of {', of '.join(shares)}")


if __name__ == "__main__":
    main()
