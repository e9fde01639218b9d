"""Preparation of Human3.6M against decoding the same frames alone, and its memory.

``python -m benchmarks.prepare``: a minute on one core. Clips in Human3.6M's layout are written
first (1000 x 1002, MPEG-4; silhouettes as videos, boxes as MATLAB v7.3). The ratio is of CPU
seconds of one process, so that a busy machine disturbs it little; memory is that of all processes
together (shared pages counted once), with one worker per core.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from time import process_time

from benchmarks import children
from benchmarks.measure import best_seconds, report, tree_bytes
from skelift.config import Config, H36mConfig, compose
from skelift.data.sources.h36m import find_recordings
from skelift.data.sources.masks import mask_count, read_masks
from skelift.data.sources.recordings import Crop
from skelift.data.videos import read_frames
from skelift.processes import cores
from skelift.stages import prepare

sys.path.append(str(Path(__file__).parents[1] / "tests"))  # which has the writer of the layout

GOALS = {
    "ratio_to_decoding": ("at most", 1.3),
    "peak_gib": ("at most", 2.0),
}
CLIPS = (("S1", "Walking.54138969"), ("S5", "Sitting 2.54138969"), ("S9", "Eating.55011271"))


def main() -> None:
    """Measure and print."""
    from layouts import write_h36m

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=150, help="frames per clip")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        frames_of = dict.fromkeys(CLIPS, args.frames)
        write_h36m(folder / "root", silhouettes="mp4", frames_of=frames_of)
        config = configured(folder, workers=1)
        seconds = best_seconds(
            {
                "prepare": lambda: prepare.run(config),
                "decode": lambda: decode(config, images_only=False),
                "decode_images": lambda: decode(config, images_only=True),
            },
            args.rounds,
            process_time,
        )
        with peak_of_all_processes() as peak:
            prepare.run(configured(folder, workers=0))
    used = args.frames * len(CLIPS)
    report(
        {
            "benchmark": "prepare h36m: CPU seconds of one process",
            "frames": used,
            "milliseconds_a_frame": {name: 1000 * spent / used for name, spent in seconds.items()},
            "ratio_to_decoding": seconds["prepare"] / seconds["decode"],
            "ratio_to_decoding_images_alone": seconds["prepare"] / seconds["decode_images"],
            "workers": cores(),
            "peak_gib": max(peak) / 2**30,
        },
        GOALS,
        "prepare",
    )


def configured(folder: Path, workers: int) -> Config:
    """All of the fixture at 128 px, as the data set's own options have it."""
    options = [f"data.h36m.root={folder / 'root'}", f"data.h36m.workers={workers}"]
    return compose(["h36m", *options, f"paths.data={folder / 'out'}"])


def decode(config: Config, *, images_only: bool) -> int:
    """Decode what preparation needs of each frame: image, silhouette, box. Returns how many."""
    source = config.data.h36m
    assert isinstance(source, H36mConfig)
    crop = Crop(config.data.size, config.data.margin)
    decoded = 0
    for recording in find_recordings(Path(source.root), source, crop, config.body):
        _, _, video, silhouettes, boxes = recording.files
        with_image = range(count_of(recording.split, boxes, source.prior))
        decoded += sum(1 for _ in read_frames(video, with_image, threads=1))
        if not images_only:
            decoded += sum(1 for _ in read_frames(silhouettes, with_image, threads=1))
            decoded += sum(1 for _ in read_masks(boxes, range(mask_count(boxes))))
    return decoded


def count_of(split: str, boxes: Path, prior: float) -> int:
    """Frames of a clip that give images."""
    return round(mask_count(boxes) * (1 - prior if split == "train" else 1))


@contextmanager
def peak_of_all_processes() -> Iterator[list[int]]:
    """Watch the memory of this process and its descendants; the list gets bytes as they change."""
    seen, done = [0], Event()

    def watch() -> None:
        while not done.wait(0.05):
            seen.append(tree_bytes(os.getpid()))

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()


if __name__ == "__main__":
    children.run(main)
