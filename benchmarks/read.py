"""Images per second that one core gathers for training from a data set on disk.

``python -m benchmarks.read``: some seconds on one core. Random batches of images with their masks
from memory-mapped shards, as training takes them; the files are in the page cache. Times are CPU
seconds of one process.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import children
from benchmarks.measure import report
from skelift.config import compose
from skelift.data.format import DatasetInfo, DatasetWriter, Split, fill_rows

GOALS = {"images_per_second": ("at least", 50_000.0)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--images", type=int, default=20_000, help="more than one shard")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--batches", type=int, default=300)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        split = written(Path(folder), args.images, args.size)
        rows = np.random.default_rng(0).integers(0, args.images, (args.batches, args.batch))
        for batch in rows:
            gather(split, batch)
        rates = []
        for _ in range(3):
            started = time.process_time()
            for batch in rows:
                gather(split, batch)
            rates.append(rows.size / (time.process_time() - started))
    report(
        {
            "benchmark": "read: random batches of images with masks, one core",
            "size": args.size,
            "images": args.images,
            "batch": args.batch,
            "images_per_second": max(rates),
        },
        GOALS,
        "read",
    )


def gather(split: Split, rows: np.ndarray) -> int:
    """One batch, copied out of the shards."""
    return split.images[rows].nbytes + split.masks[rows].nbytes


def written(folder: Path, images: int, size: int) -> Split:
    """A split of random pixels in the project's format."""
    info = DatasetInfo("read", compose([]).body, size, 0.13, True, "random pixels", "none")
    DatasetWriter(folder, info).allocate_split("train", images, with_2d=False, with_3d=False)
    pixels = np.random.default_rng(0).integers(0, 256, (1024, size, size, 4), dtype=np.uint8)
    for first in range(0, images, len(pixels)):
        block = pixels[: images - first]
        fill_rows(folder / "train", first, images=block[..., :3], masks=block[..., 3])
    return Split(folder / "train")


if __name__ == "__main__":
    children.run(main)
