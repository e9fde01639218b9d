"""A rendered data set, made on all cores."""

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import numpy as np

from skelift.config import Config, SynthConfig
from skelift.data.format import SAMPLE, DatasetInfo, SplitRows, write_dataset
from skelift.errors import InputError
from skelift.synth.scene import Labels, Studio
from skelift.synth.splits import PRIOR, TEST, TRAIN

BLOCK = 128  # rows a task

Task = tuple[str, range]  # split and rows


def synthesize(config: Config) -> Path:
    """Render the data set that ``config.data.synth`` describes to ``config.paths.data``.

    The content depends on the configuration and its seed, not on the number of processes.

    Raises:
        InputError: bodies or motion that cannot be used; nothing is written then.
    """
    synth = config.data.synth
    if synth is None:
        raise InputError(f"data={config.data.name}: nothing to render; `skelift prepare` makes it")
    studio, info = open_studio(config, synth)
    counts = {TRAIN: synth.train, TEST: synth.test, PRIOR: synth.prior}
    folder = Path(config.paths.data)
    with write_dataset(folder, info) as writer:
        for split in (TRAIN, TEST):
            writer.allocate_split(split, counts[split], with_2d=True, with_3d=True)
        poses = np.empty((synth.prior, len(info.skeleton), 2), dtype=np.float32)
        samples = np.empty(synth.prior, dtype=SAMPLE)
        for (split, rows), labels in _all_cores(studio, writer.folder, counts, synth.workers):
            if split == PRIOR:
                poses[rows.start : rows.stop] = labels.joints_2d
                samples[rows.start : rows.stop] = labels.samples
        writer.write_prior(poses, samples)
    return folder


def open_studio(config: Config, synth: SynthConfig) -> tuple[Studio, DatasetInfo]:
    """The studio that renders a configuration, and what dataset.json says of its pictures."""
    from skelift.synth.body import load_bodies
    from skelift.synth.motion import load_motion
    from skelift.synth.people import People, measured

    data = config.data
    bodies = load_bodies(synth.bodies)
    motion = load_motion(synth.motion, synth.fps)
    people = People(bodies, motion, synth, config.body, data.seed)
    training = people.crew.rest_joints()[people.persons[TRAIN]]
    info = DatasetInfo(
        name=data.name,
        skeleton=measured(config.body, training),
        size=data.size,
        margin=data.margin,
        synthetic=True,
        provenance=(
            f"Synthetic: rendered by skelift from {len(bodies)} bodies ({synth.bodies}) in motion-"
            f"capture poses ({synth.motion}). bone_lengths_mm: mean at rest of the "
            f"{len(training)} training persons. Prior: other clips, training persons. "
            + motion.credit
        ),
        licence="Rendered data; bodies CC0",
        details={"synth": asdict(synth), "seed": data.seed} | people.details(),
    )
    return Studio(people, synth.camera, data.size, data.margin), info


# The studio and the folder of a worker process, set once when it starts.
_worker: tuple[Studio, Path] | None = None


def _start_worker(studio: Studio, folder: Path) -> None:
    global _worker
    _worker = (studio, folder)


def _work_on(task: Task) -> tuple[Task, Labels | None]:
    assert _worker is not None
    return task, _make(*_worker, task)


def _make(studio: Studio, folder: Path, task: Task) -> Labels | None:
    """Make the rows of one task; pictures go to disk, the prior's labels are returned."""
    split, rows = task
    scenes = studio.cast.scenes(split, rows)
    if split == PRIOR:
        return studio.label(scenes)
    images, masks, labels = studio.photograph(scenes)
    target = SplitRows(folder / split)
    for i, row in enumerate(rows):
        target.put(
            row,
            images[i],
            masks[i],
            samples=labels.samples[i],
            joints_2d=labels.joints_2d[i],
            joints_3d_mm=labels.joints_3d_mm[i],
        )
    return None


def _all_cores(
    studio: Studio, folder: Path, counts: dict[str, int], workers: int
) -> Iterator[tuple[Task, Labels]]:
    """Make every row, with a progress bar; yields the labels of the prior's tasks."""
    from rich.progress import track

    tasks: list[Task] = [
        (split, range(start, min(start + BLOCK, count)))
        for split, count in counts.items()
        for start in range(0, count, BLOCK)
    ]
    done = _pooled(studio, folder, tasks, workers or len(os.sched_getaffinity(0)))
    for task, labels in track(done, "Rendering", total=len(tasks)):
        if labels is not None:
            yield task, labels


def _pooled(
    studio: Studio, folder: Path, tasks: Sequence[Task], workers: int
) -> Iterator[tuple[Task, Labels | None]]:
    if workers == 1:
        yield from ((task, _make(studio, folder, task)) for task in tasks)
        return
    with ProcessPoolExecutor(workers, initializer=_start_worker, initargs=(studio, folder)) as pool:
        try:
            yield from pool.map(_work_on, tasks)
        finally:
            pool.shutdown(cancel_futures=True)
