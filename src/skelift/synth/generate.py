"""A rendered data set, made on all cores."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from skelift.config import Config, SynthConfig
from skelift.data.format import DatasetInfo, fill_rows, recorded, write_dataset
from skelift.processes import cores, end_with_parent
from skelift.progress import track
from skelift.synth.body import load_bodies
from skelift.synth.hands import Hands
from skelift.synth.motion import load_motion
from skelift.synth.people import People
from skelift.synth.scene import Cast, Labels, Studio
from skelift.synth.splits import PRIOR, TEST, TRAIN

BLOCK = 128  # rows per task

Task = tuple[str, range]  # split and rows


def prepare(config: Config) -> Path:
    """Render the data set that ``config.data.synth`` describes to ``config.paths.data``.

    The content depends on the configuration and its seed, not on the number of processes.

    Raises:
        InputError: bodies or motion that cannot be used; nothing is written then.
    """
    synth = config.data.synth
    assert synth is not None
    studio, info = open_studio(config, synth)
    counts = {TRAIN: synth.train, TEST: synth.test, PRIOR: synth.prior}
    folder = Path(config.paths.data)
    with write_dataset(folder, info) as writer:
        for split in (TRAIN, TEST):
            writer.allocate_split(
                split, counts[split], with_2d=True, with_3d=True, with_motion=True
            )
        prior = _all_cores(studio, writer.folder, counts, synth.workers)
        writer.write_prior(
            np.concatenate([labels.joints_2d for labels in prior]),
            np.concatenate([labels.samples for labels in prior]),
        )
    return folder


def open_studio(config: Config, synth: SynthConfig) -> tuple[Studio, DatasetInfo]:
    """The studio that renders a configuration, and what dataset.json says of its images.

    The skeleton's bone lengths are the mean of the training persons' bodies at rest; no test
    person is measured.
    """
    data = config.data
    bodies = load_bodies(synth.bodies)
    cast: Cast
    if synth.kind == "hands":
        cast = Hands(bodies, synth, config.body, data.seed)
    else:
        motion = load_motion(synth.motion, synth.fps)
        cast = People(bodies, motion, synth, config.body, data.seed)
    training = cast.persons[TRAIN]
    info = DatasetInfo(
        name=data.name,
        skeleton=cast.crew.measured(config.body, training),
        size=data.size,
        margin=data.margin,
        synthetic=True,
        provenance=(
            f"Synthetic {synth.kind}, rendered by skelift. Bodies: {Path(synth.bodies).name}, made "
            f"with anny (CC0). {cast.credit} bone_lengths_mm: mean at rest of the {len(training)} "
            "training persons. The prior has the training persons in poses of its own."
        ),
        licence="CC0 bodies; for the motion see provenance",
        # Not the number of workers, which changes nothing, nor where files lie on this machine.
        details={"synth": recorded(replace(synth, workers=0)), "seed": data.seed} | cast.details(),
    )
    return Studio(cast, synth.camera, data.size, data.margin), info


# The studio and the folder of a worker process, set once when it starts.
_worker: tuple[Studio, Path] | None = None


def _start_worker(studio: Studio, folder: Path) -> None:
    global _worker
    _worker = (studio, folder)
    end_with_parent()


def _work_on(task: Task) -> Labels | None:
    assert _worker is not None
    return make_rows(*_worker, task)


def make_rows(studio: Studio, folder: Path, task: Task) -> Labels | None:
    """Make the rows of one task; images go to disk, the prior's labels are returned."""
    split, rows = task
    scenes = studio.cast.scenes(split, rows)
    if split == PRIOR:
        return studio.label(scenes)
    images, masks, labels = studio.photograph(scenes)
    fill_rows(folder / split, rows.start, images=images, masks=masks, **labels.columns())
    return None


def _all_cores(studio: Studio, folder: Path, counts: dict[str, int], workers: int) -> list[Labels]:
    """Make every row, with a progress bar; returns the labels of the prior's tasks, in order."""
    tasks: list[Task] = [
        (split, range(start, min(start + BLOCK, count)))
        for split, count in counts.items()
        for start in range(0, count, BLOCK)
    ]
    done = track(_pooled(studio, folder, tasks, workers or cores()), "Rendering", len(tasks))
    return [labels for labels in done if labels is not None]


def _pooled(
    studio: Studio, folder: Path, tasks: Sequence[Task], workers: int
) -> Iterator[Labels | None]:
    if workers == 1:
        yield from (make_rows(studio, folder, task) for task in tasks)
        return
    # The first task compiles the kernels, which forked workers then have.
    yield make_rows(studio, folder, tasks[0])
    with ProcessPoolExecutor(workers, initializer=_start_worker, initargs=(studio, folder)) as pool:
        try:
            yield from pool.map(_work_on, tasks[1:])
        finally:
            pool.shutdown(cancel_futures=True)
