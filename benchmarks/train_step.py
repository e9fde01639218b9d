"""A training step against the same networks in plain fp32 eager with the plain renderer.

``python -m benchmarks.train_step [OVERRIDES]``: the quickstart's sizes; a minute on one core.
``python -m benchmarks.train_step experiment=paper``: the paper's; meant for a GPU.

Both take the same steps on the same images: the losses of the first step are compared, too.
Plain means torch's defaults: NCHW, float32, eager, kappa as a broadcast over pixels x limbs.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import children
from benchmarks.measure import best_seconds, report
from benchmarks.renderer import PlainKappa
from skelift.config import Config, compose
from skelift.data.crop import CropBox, to_crop
from skelift.data.format import SAMPLE, Dataset, DatasetInfo, fill_rows, write_dataset
from skelift.data.loading import ImageBatch, ImageLoader
from skelift.skeleton import Skeleton
from skelift.stages import pretrain_flow
from skelift.training.build import build_trainer
from skelift.training.distributed import World, join
from skelift.training.loop import total
from skelift.training.objective import SelfSupervised
from skelift.training.trainer import Trainer

GOALS = {"ratio": ("at least", 4.0)}
ROUNDS = 5
FOCAL, DISTANCE_MM = 1145.0, 5000.0


def plain_trainer(config: Config, data: Dataset, world: World) -> Trainer:
    """The same step with torch's defaults and the plain renderer."""
    train = replace(config.train, precision="fp32", compile="off")
    trainer = build_trainer(replace(config, train=train), data, world)
    for network in (trainer.core, trainer.disc):
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    objective = cast(SelfSupervised, trainer.objective)
    objective.kappa = PlainKappa.like(objective.kappa)
    if objective.flesh.limbs:
        objective.flesh.limbs = PlainKappa.like(objective.flesh.limbs)
    images = PlainImages(data.split("train"), world.device)
    trainer.data = replace(trainer.data, images=images)
    return trainer


class PlainImages(ImageLoader):
    """Images in NCHW."""

    def take(self, rows: NDArray[np.int64]) -> ImageBatch:
        """Images of the given rows."""
        images = super().take(rows)
        return replace(images, x=images.x.contiguous())


def main(overrides: list[str]) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder, join("auto") as world:
        config, data = sticks(Path(folder), overrides)
        trainers = {
            "skelift": build_trainer(config, data, world),
            "plain": plain_trainer(config, data, world),
        }
        first = {name: loss_of(trainer, 0) for name, trainer in trainers.items()}
        seconds = best_seconds({n: stepper(trainer) for n, trainer in trainers.items()}, ROUNDS)
        batch = config.train.batch
        report(
            {
                "benchmark": f"training step: {config.name}",
                "device": str(world.device),
                "batch": batch,
                "size": config.data.size,
                "bf16": trainers["skelift"].bf16,
                "seconds": seconds,
                "images_per_second": {name: batch / s for name, s in seconds.items()},
                "ratio": seconds["plain"] / seconds["skelift"],
                "first_loss_difference": abs(first["skelift"] / first["plain"] - 1),
            },
            GOALS,
            "train_step",
        )


def sticks(folder: Path, overrides: Sequence[str]) -> tuple[Config, Dataset]:
    """A configuration with a flow and a data set of random stick people in a folder."""
    config = settings(folder, overrides)
    write_stick_people(config)
    with redirect_stdout(sys.stderr):  # its progress bar; standard output is for the JSON
        pretrain_flow.run(config)
    return config, Dataset(config.paths.data)


def settings(folder: Path, overrides: Sequence[str]) -> Config:
    """A configuration whose files are in a folder."""
    paths = [f"paths.{name}={folder}/{name}" for name in ("data", "flow", "model")]
    return compose([*overrides, *paths, "flow.steps=1", "train.dvclive=false"])


@contextmanager
def quickstart(folder: Path) -> Iterator[Trainer]:
    """A trainer of the quickstart's sizes; its files come into a folder."""
    with join("auto") as world:
        config, data = sticks(folder, [])
        yield build_trainer(config, data, world)


def loss_of(trainer: Trainer, step: int) -> float:
    """Take a step; the sum of its losses, read from the device."""
    return float(total(trainer.step(step)).item())


def stepper(trainer: Trainer) -> Callable[[], float]:
    """Each call takes the next step."""
    steps = count(1)
    return lambda: loss_of(trainer, next(steps))


def write_stick_people(config: Config) -> None:
    """A small data set of random stick people: what they look like costs no time."""
    skeleton, size, batch = config.body, config.data.size, config.train.batch
    info = DatasetInfo(config.data.name, skeleton, size, 0.1, True, "random sticks", "Apache-2.0")
    rng = np.random.default_rng(0)
    drawn = [random_person(skeleton, size, rng) for _ in range(2 * batch)]
    samples = np.array([record for _, record in drawn], dtype=SAMPLE)
    with write_dataset(Path(config.paths.data), info) as writer:
        writer.allocate_split("train", 2 * batch, with_2d=False, with_3d=False)
        for row, (joints, record) in enumerate(drawn):
            mask = np.zeros((size, size), dtype=np.uint8)
            x, y = joints.astype(int).clip(0, size - 1).T
            mask[y, x] = 255
            image = rng.integers(64, 256, (size, size, 3), dtype=np.uint8) * (mask > 0)[..., None]
            columns = {"images": image, "masks": mask, "samples": record}
            blocks = {name: value[None] for name, value in columns.items()}
            fill_rows(writer.folder / "train", row, **blocks)
        writer.write_prior(np.stack([joints for joints, _ in drawn]), samples)


def random_person(
    skeleton: Skeleton, size: int, rng: np.random.Generator
) -> tuple[NDArray[np.floating], NDArray[np.void]]:
    """(J, 2) crop pixels of bones pointing anywhere, and their SAMPLE record."""
    joints = np.zeros((len(skeleton), 3))
    for (i, j), length in zip(skeleton.bone_indices, skeleton.bone_lengths_mm, strict=True):
        direction = rng.normal(size=3)
        joints[j] = joints[i] + length * direction / np.linalg.norm(direction)
    pixels = joints[:, :2] / (joints[:, 2:] + DISTANCE_MM) * FOCAL
    box = CropBox.around(pixels.min(0), pixels.max(0), 0.2).as_array()
    record = np.zeros((), dtype=SAMPLE)
    record["clip"], record["crop"], record["focal"] = f"clip{rng.integers(10)}", box, FOCAL
    return to_crop(pixels, box, size), record


if __name__ == "__main__":
    children.run(partial(main, sys.argv[1:]))
