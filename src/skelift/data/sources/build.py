"""Recordings of a public data set become one data set: on all cores, and resumable.

Every recording is first made into a part beside the data set, by a pool of processes. The parts
are then put together in the project's format, which appears whole, and removed.
"""

import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import (
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    as_completed,
)
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from skelift.config import Config, SourceConfig
from skelift.data.format import (
    SPLITS,
    DatasetInfo,
    DatasetWriter,
    fill_rows,
    parts_folder,
    recorded,
    write_dataset,
)
from skelift.data.sources.parts import BLOCK, CutRecording, load_part, make_part, part_folder
from skelift.data.sources.recordings import Recording
from skelift.errors import InputError
from skelift.processes import cores, end_with_parent
from skelift.progress import progress_bar
from skelift.skeleton import Skeleton

# 2 GiB hold the parent and so many workers; each takes some 120 MiB of its own.
MOST_WORKERS = 14


@dataclass(frozen=True)
class Description:
    """What a loader says of its data set."""

    provenance: str  # where it comes from, in one or two sentences
    licence: str
    skeleton: Skeleton  # of its poses, with typical bone lengths
    details: Mapping[str, Any] = field(default_factory=dict)  # anything else worth keeping


def build(
    config: Config, source: SourceConfig, recordings: Sequence[Recording], about: Description
) -> Path:
    """Make the data set ``config.paths.data`` of recordings, and return its folder.

    Raises:
        InputError: a file is missing or broken, or nothing is left of a split. Finished parts
            are kept, and the next run goes on from them.
    """
    out = Path(config.paths.data)
    parts_in = parts_folder(out)
    with _pool(source.workers) as pool:
        parts = _make_parts(recordings, about.skeleton, parts_in, pool)
        counts = _count(config, parts)
        with write_dataset(out, _describe(config, source, about, parts)) as writer:
            _put_together(writer, parts, counts, pool)
    shutil.rmtree(parts_in)
    return out


def _make_parts(
    recordings: Sequence[Recording], skeleton: Skeleton, folder: Path, pool: Executor
) -> list[CutRecording]:
    """Parts of all recordings, in their order; those of an earlier run are taken as they are."""
    folders = [part_folder(recording, skeleton, folder) for recording in recordings]
    done = {place: load_part(place) for place in folders if place.exists()}
    if done:
        print(f"{folder}: {len(done)} recordings of an earlier run are kept", file=sys.stderr)
    jobs = {
        pool.submit(make_part, recording, skeleton, place): _bytes_of(recording)
        for recording, place in zip(recordings, folders, strict=True)
        if place not in done
    }
    for part in _finished("Cutting out", jobs, in_bytes=True):
        done[part.folder] = part
        for reason, frames in part.skipped.items():
            print(f"{part.name}: {frames} frames skipped: {reason}", file=sys.stderr)
    return [done[place] for place in folders]


def _bytes_of(recording: Recording) -> int:
    return sum(file.stat().st_size for file in recording.files)


def _count(config: Config, parts: Sequence[CutRecording]) -> dict[str, int]:
    """Images of each split, and poses of the prior; InputError where there are none."""
    counts = {name: sum(p.images for p in parts if p.split == name) for name in SPLITS}
    counts["prior"] = sum(part.poses for part in parts)
    for name, count in counts.items():
        if not count:
            raise InputError(
                f"data={config.data.name}: nothing for {name} among {len(parts)} recordings; "
                "docs/datasets.md lists the folders that are needed"
            )
    return counts


def _describe(
    config: Config, source: SourceConfig, about: Description, parts: Sequence[CutRecording]
) -> DatasetInfo:
    """What dataset.json says; bone lengths are the mean over the training images' 3D poses."""
    train = [part for part in parts if part.split == "train"]
    sums = np.sum([part.bones_mm for part in train], axis=0)
    skeleton, provenance = about.skeleton, about.provenance
    if sums.all():
        means = sums / sum(part.images for part in train)
        skeleton = replace(skeleton, bone_lengths_mm=tuple(round(float(mm), 1) for mm in means))
        provenance += " bone_lengths_mm: mean over the 3D poses of the training images."
    skipped: Counter[str] = Counter()
    for part in parts:
        skipped.update(part.skipped)
    options = recorded(replace(source, workers=0))  # the number of workers changes nothing
    return DatasetInfo(
        name=config.data.name,
        skeleton=skeleton,
        size=config.data.size,
        margin=config.data.margin,
        synthetic=False,
        provenance=provenance,
        licence=about.licence,
        details={"source": options, "skipped_frames": dict(skipped)} | dict(about.details),
    )


def _put_together(
    writer: DatasetWriter, parts: Sequence[CutRecording], counts: Mapping[str, int], pool: Executor
) -> None:
    with_3d = all(any(part.bones_mm) for part in parts if part.images)
    for name in SPLITS:
        writer.allocate_split(name, counts[name], with_2d=True, with_3d=with_3d)
    writer.allocate_prior(counts["prior"])
    jobs: dict[Future[None], int] = {}
    filled = dict.fromkeys(counts, 0)
    for part in parts:
        row, pose = filled[part.split], filled["prior"]
        job = pool.submit(_copy_part, part, writer.folder, row, pose, writer.info.size, with_3d)
        jobs[job] = part.images + part.poses
        filled[part.split] += part.images
        filled["prior"] += part.poses
    for _ in _finished("Putting together", jobs):
        pass


def _copy_part(
    part: CutRecording, folder: Path, row: int, pose: int, size: int, with_3d: bool
) -> None:
    columns = part.columns()
    names = ["samples", "joints_2d", *(["joints_3d_mm"] if with_3d else [])]
    if part.images:
        fill_rows(folder / part.split, row, **{name: columns[name] for name in names})
    if part.poses:
        prior = {"samples": columns["prior_samples"], "poses_2d": columns["prior_2d"]}
        fill_rows(folder / "prior", pose, **prior)
    for first in range(0, part.images, BLOCK):
        images = part.crops("images", (size, size, 3), first)
        masks = part.crops("masks", (size, size), first)
        fill_rows(folder / part.split, row + first, images=images, masks=masks)


@contextmanager
def _pool(workers: int) -> Iterator[Executor]:
    """A pool of processes, or a thread of this one where one worker is asked for."""
    pool: Executor
    if workers == 1:
        pool = ThreadPoolExecutor(1)
    else:
        count = workers or min(cores(), MOST_WORKERS)
        # No plain fork: OpenCV's threads in this process would leave a forked one waiting for ever.
        clean = get_context("forkserver")
        pool = ProcessPoolExecutor(count, mp_context=clean, initializer=_start_worker)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    cv2.setNumThreads(1)  # one worker per core
    end_with_parent()


def _finished(
    title: str, jobs: Mapping["Future[Any]", int], in_bytes: bool = False
) -> Iterator[Any]:
    """Results of the jobs as they end, with a progress bar by their weights."""
    with progress_bar(in_bytes=in_bytes) as progress:
        task = progress.add_task(title, total=sum(jobs.values()))
        for job in as_completed(jobs):
            result = job.result()
            progress.advance(task, jobs[job])
            yield result
