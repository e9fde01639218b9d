"""The one on-disk format of data sets: every loader writes it, every stage reads it.

A data set is a folder::

    dataset.json                 skeleton, size, crop, counts, provenance, licence, checksums
    train/  test/                one folder per split
        images-00000.npy ...     (n, S, S, 3) uint8 RGB, background black
        masks-00000.npy ...      (n, S, S) uint8, 0 background ... 255 body
        samples.npy              (N,) records of dtype SAMPLE
        joints_2d.npy            (N, J, 2) float32 pixels of the crop   (where known)
        joints_3d_mm.npy         (N, J, 3) float32 mm, camera frame     (where known)
        radial_motion.npy        (N,) float32, data/motion_cue.py  (where samples do not tell)
        steady_motion.npy        (N,) the same over a longer time
    prior/
        poses_2d.npy             (M, J, 2) float32 pixels of the crop, of no image in the set
        samples.npy              (M,) records of dtype SAMPLE

Coordinates are continuous: x = 0 is the left edge of the image, the centre of pixel i lies at
i + 0.5; y points down. The camera frame is x right, y down, z forward.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skelift.config.fields import Count, NonNegative, Whole
from skelift.config.read import read
from skelift.errors import InputError
from skelift.files import atomic_folder, printable, read_json, reserve, sha256, write_json
from skelift.processes import cores
from skelift.skeleton import Skeleton

FORMAT_VERSION = 2  # 2: approach.npy became radial_motion.npy
SHARD_IMAGES = 16384
MADE_BY = "skelift prepare"
DESCRIPTION = "dataset.json"
CONTACT_SHEET = "contact_sheet.jpg"  # beside the data, see data/contact_sheet.py

SAMPLE = np.dtype(
    [
        ("person", "U32"),
        ("clip", "U64"),
        ("camera", "U16"),
        ("activity", "U32"),
        ("frame", "<i4"),
        ("crop", "<f4", (3,)),  # centre x, centre y, side of the square crop, in source pixels
        ("source_size", "<i4", (2,)),  # width, height of the source image, in pixels
        ("focal", "<f4", (2,)),  # fx, fy in source pixels; NaN where unknown
        ("principal", "<f4", (2,)),  # principal point in source pixels; NaN where unknown
    ]
)
SPLITS = ("train", "test")
_ARRAYS = (
    *("images-?????", "masks-?????", "samples", "joints_2d", "joints_3d_mm"),
    *("radial_motion", "steady_motion", "approach"),  # the last in format 1
)
# Patterns of all files that a data set may have.
FILES = (
    *(DESCRIPTION, CONTACT_SHEET, "prior/poses_2d.npy", "prior/samples.npy"),
    *(f"{split}/{array}.npy" for split in SPLITS for array in _ARRAYS),
)


@dataclass(frozen=True)
class DatasetInfo:
    """What ``dataset.json`` says besides counts and checksums."""

    name: str
    skeleton: Skeleton  # of every pose in the set, with bone lengths measured where possible
    size: int  # side of the square images, in pixels
    margin: float  # free border of the crop around the body, over the body's larger side
    synthetic: bool  # whether the images are rendered
    provenance: str  # where images and poses come from, in one or two sentences
    licence: str
    details: Mapping[str, Any] = field(default_factory=dict)  # such as how the set was made


class Shards:
    """Read-only memory-mapped rows kept in several .npy files, gathered by index.

    Args:
        paths: the files; at least one.
        rows: (N,) rows to show, as if they were all; None: every row.
    """

    def __init__(self, paths: Sequence[Path], rows: NDArray[np.int64] | None = None) -> None:
        # Plain views: each look into a memmap makes a new one, which costs more than the copy.
        self._shards = [np.asarray(_open_npy(path)) for path in paths]
        self._starts = np.cumsum([0, *(len(shard) for shard in self._shards)])
        self._rows = np.arange(self._starts[-1]) if rows is None else rows

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole, as if it were one array."""
        return (len(self), *self._shards[0].shape[1:])

    def __getitem__(self, rows: NDArray[np.integer] | slice | int) -> NDArray[np.uint8]:
        """Copy the given rows (an index array, a slice or one index), in the order asked for."""
        chosen = np.asarray(self._rows[rows])
        gathered = np.empty((chosen.size, *self.shape[1:]), dtype=self._shards[0].dtype)
        owner = np.searchsorted(self._starts, chosen.ravel(), side="right") - 1
        places = zip(owner.tolist(), (chosen.ravel() - self._starts[owner]).tolist(), strict=True)
        for row, (shard, place) in enumerate(places):  # one copy each, and no other
            gathered[row] = self._shards[shard][place]
        return gathered.reshape(chosen.shape + self.shape[1:])


@dataclass(frozen=True)
class Split:
    """Images of one split, or some rows of it, with what is known of each.

    Arrays of the whole split are memory-mapped.
    """

    folder: Path
    rows: NDArray[np.int64] | None = None  # None: all

    @cached_property
    def images(self) -> Shards:
        """(N, S, S, 3) uint8 RGB."""
        return self._shards("images")

    @cached_property
    def masks(self) -> Shards:
        """(N, S, S) uint8, 255 on the body."""
        return self._shards("masks")

    @cached_property
    def samples(self) -> NDArray[np.void]:
        """(N,) records of dtype SAMPLE."""
        return self._column("samples")

    @cached_property
    def joints_2d(self) -> NDArray[np.float32] | None:
        """(N, J, 2) pixels of the crop, or None where unknown."""
        return self._optional("joints_2d")

    @cached_property
    def joints_3d_mm(self) -> NDArray[np.float32] | None:
        """(N, J, 3) mm in the camera frame, or None where unknown."""
        return self._optional("joints_3d_mm")

    @cached_property
    def radial_motion(self) -> NDArray[np.float32] | None:
        """(N,) how much nearer the body comes, NaN without film; None where ``samples`` tell."""
        return self._optional("radial_motion")

    @cached_property
    def steady_motion(self) -> NDArray[np.float32] | None:
        """(N,) the same over a longer time, 0 where it is not steady."""
        return self._optional("steady_motion")

    def __len__(self) -> int:
        return len(self.samples)

    def subset(self, rows: NDArray[np.int64]) -> "Split":
        """The given rows of the split."""
        return Split(self.folder, rows if self.rows is None else self.rows[rows])

    def _shards(self, kind: str) -> Shards:
        paths = sorted(self.folder.glob(f"{kind}-*.npy"))
        if not paths:
            raise InputError(f"{self.folder}: holds no {kind}; recreate the data set")
        return Shards(paths, self.rows)

    def _column(self, name: str) -> NDArray[Any]:
        whole = _open_npy(self.folder / f"{name}.npy")
        return whole if self.rows is None else whole[self.rows]

    def _optional(self, name: str) -> NDArray[np.float32] | None:
        return self._column(name) if (self.folder / f"{name}.npy").exists() else None


@dataclass(frozen=True)
class Prior:
    """The unpaired 2D poses."""

    folder: Path

    @cached_property
    def poses_2d(self) -> NDArray[np.float32]:
        """(M, J, 2) pixels of the crop."""
        return _open_npy(self.folder / "poses_2d.npy")

    @cached_property
    def samples(self) -> NDArray[np.void]:
        """(M,) records of dtype SAMPLE."""
        return _open_npy(self.folder / "samples.npy")

    def __len__(self) -> int:
        return len(self.samples)


class Dataset:
    """A data set on disk.

    Raises:
        InputError: the folder is not a data set, or a file of it is missing or broken.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        description = self.folder / DESCRIPTION
        recreate = f"recreate the data set with `{MADE_BY}`"
        content = read_json(description, MADE_BY)
        version = content.get("format_version") if isinstance(content, dict) else None
        if version != FORMAT_VERSION:
            raise InputError(
                f"{description}: format {version}, this version reads {FORMAT_VERSION}; {recreate}"
            )
        missing = {"counts", "checksums", "skeleton", *_INFO_KEYS} - set(content)
        if missing:
            raise InputError(f"{description}: lacks {', '.join(sorted(missing))}; {recreate}")
        try:
            read(Count, content["size"], "size")
            read(NonNegative, content["margin"], "margin")
            read(dict[str, Whole], content["counts"], "counts")
            read(dict[str, str], content["checksums"], "checksums")
        except InputError as error:
            raise InputError(f"{description}: {error}; {recreate}") from None
        self.counts: dict[str, int] = content["counts"]
        self.checksums: dict[str, str] = content["checksums"]
        self.info = DatasetInfo(
            skeleton=Skeleton.from_mapping(content["skeleton"]),
            **{key: content[key] for key in _INFO_KEYS},
        )
        for file in (self.folder / name for name in self.checksums):
            if not file.exists():
                raise InputError(f"{file}: missing, though dataset.json lists it; {recreate}")

    @property
    def skeleton(self) -> Skeleton:
        """Skeleton of every pose in the set."""
        return self.info.skeleton

    @property
    def splits(self) -> tuple[str, ...]:
        """Those of ``SPLITS`` that it has: a set to evaluate on may have test images alone."""
        return tuple(name for name in SPLITS if self.counts.get(name))

    def split(self, name: str) -> Split:
        """The images of ``train`` or ``test``; InputError where it has none."""
        self._require(name, f"{name} images")
        return Split(self.folder / name)

    @property
    def has_prior(self) -> bool:
        """Whether it has unpaired poses."""
        return bool(self.counts.get("prior"))

    @property
    def prior(self) -> Prior:
        """The unpaired 2D poses; InputError where it has none."""
        self._require("prior", "unpaired poses")
        return Prior(self.folder / "prior")

    def _require(self, part: str, what: str) -> None:
        if not self.counts.get(part):
            raise InputError(
                f"{self.folder}: has no {what}, only {', '.join(sorted(self.counts))}; choose a "
                "data set that was prepared with them"
            )

    def verify(self) -> None:
        """Compare every file with its checksum; InputError names the first that differs."""
        for name, expected in self.checksums.items():
            if sha256(self.folder / name) != expected:
                raise InputError(
                    f"{self.folder / name}: content differs from dataset.json's checksum; "
                    "restore it (dvc checkout) or recreate the data set"
                )


_INFO_KEYS = [key for key in DatasetInfo.__dataclass_fields__ if key != "skeleton"]


class DatasetWriter:
    """Fills a data set folder; made by ``write_dataset``.

    Arrays are allocated first and filled by ``fill_rows``, in any order, by any process.
    """

    def __init__(self, folder: Path, info: DatasetInfo) -> None:
        self.folder = folder
        self.info = info
        self.counts: dict[str, int] = {}

    def allocate_split(
        self,
        name: str,
        count: int,
        *,
        with_2d: bool,
        with_3d: bool,
        with_motion: bool = False,
    ) -> None:
        """Create the arrays of a split of ``count`` images."""
        folder, size, joints = self.folder / name, self.info.size, len(self.info.skeleton)
        folder.mkdir()
        self.counts[name] = count
        for shard, start in enumerate(range(0, count, SHARD_IMAGES)):
            rows = min(SHARD_IMAGES, count - start)
            _create_npy(folder / f"images-{shard:05d}.npy", (rows, size, size, 3), np.uint8)
            _create_npy(folder / f"masks-{shard:05d}.npy", (rows, size, size), np.uint8)
        _create_npy(folder / "samples.npy", (count,), SAMPLE)
        if with_2d:
            _create_npy(folder / "joints_2d.npy", (count, joints, 2), np.float32)
        if with_3d:
            _create_npy(folder / "joints_3d_mm.npy", (count, joints, 3), np.float32)
        if with_motion:
            _create_npy(folder / "radial_motion.npy", (count,), np.float32)
            _create_npy(folder / "steady_motion.npy", (count,), np.float32)

    def trim_split(self, name: str, count: int) -> None:
        """Keep the first ``count`` rows of a split that was allocated for more."""
        self.counts[name] = count
        for path in sorted((self.folder / name).glob("*.npy")):
            _, _, shard = path.stem.partition("-")
            _trim_npy(path, max(0, count - int(shard or 0) * SHARD_IMAGES))

    def allocate_prior(self, count: int) -> None:
        """Create the arrays of ``count`` unpaired poses."""
        folder = self.folder / "prior"
        folder.mkdir()
        self.counts["prior"] = count
        _create_npy(folder / "poses_2d.npy", (count, len(self.info.skeleton), 2), np.float32)
        _create_npy(folder / "samples.npy", (count,), SAMPLE)

    def write_prior(self, poses_2d: NDArray[np.floating], samples: NDArray[np.void]) -> None:
        """Write the unpaired poses: (M, J, 2) crop pixels and their (M,) SAMPLE records."""
        self.allocate_prior(len(poses_2d))
        fill_rows(self.folder / "prior", 0, poses_2d=poses_2d, samples=samples)

    def finish(self) -> None:
        """Write dataset.json with counts and checksums; the last thing written."""
        files = sorted(self.folder.rglob("*.npy"))
        with ThreadPoolExecutor(cores()) as threads:
            digests = list(threads.map(sha256, files))
        names = [str(path.relative_to(self.folder)) for path in files]
        content = {"format_version": FORMAT_VERSION} | asdict(self.info)
        content |= {"skeleton": self.info.skeleton.to_mapping(), "counts": self.counts}
        content |= {"checksums": dict(zip(names, digests, strict=True))}
        write_json(self.folder / DESCRIPTION, content)


def fill_rows(folder: Path, first: int, **columns: NDArray[Any]) -> None:
    """Write blocks of rows into the allocated arrays of a split, or of the prior.

    Nothing is mapped: pages of a mapped file count as memory of the process, and a long video has
    many.

    Args:
        folder: folder of the split, or ``prior``.
        first: row of the first of the block.
        columns: ``images``, ``masks``, or any other array of the folder, by name.
    """
    for name, rows in columns.items():
        if name not in ("images", "masks"):
            _write_rows(folder / f"{name}.npy", first, rows)
            continue
        start = 0
        while start < len(rows):
            shard, offset = divmod(first + start, SHARD_IMAGES)
            block = rows[start : start + SHARD_IMAGES - offset]
            _write_rows(folder / f"{name}-{shard:05d}.npy", offset, block)
            start += len(block)


def recorded(section: Any) -> dict[str, Any]:
    """A section of ``config.data`` for ``details``: of files and folders, their names alone.

    Where they lie is of this machine, and no business of whom the data set is given to.
    """

    def named(value: Any) -> Any:
        if isinstance(value, list):
            return [named(item) for item in value]
        if isinstance(value, dict):
            return {key: named(item) for key, item in value.items()}
        if not isinstance(value, str):
            return value
        return printable(Path(value).name if "/" in value else value)

    plain = {"layout", "provenance", "licence", "category", "test"}  # texts that may hold a /
    return {k: v if k in plain else named(v) for k, v in asdict(section).items()}


def parts_folder(folder: Path) -> Path:
    """Where finished parts of the data set ``folder`` wait until it is complete."""
    return folder.parent / f".{folder.name}.parts"


@contextmanager
def write_dataset(folder: Path, info: DatasetInfo) -> Iterator[DatasetWriter]:
    """Write a data set that appears at ``folder`` whole, or not at all when the block fails."""
    with atomic_folder(folder, *FILES) as unfinished:
        writer = DatasetWriter(unfinished, info)
        yield writer
        writer.finish()


def _create_npy(path: Path, shape: tuple[int, ...], dtype: Any) -> None:
    """An array of zeros on disk, with all of its room; OSError where the disk has less."""
    described = np.lib.format.dtype_to_descr(np.dtype(dtype))
    header = {"descr": described, "fortran_order": False, "shape": shape}
    size = np.dtype(dtype).itemsize * int(np.prod(shape, dtype=np.int64))
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        reserve(stream, stream.tell() + size)


def _write_rows(path: Path, first: int, rows: NDArray[Any]) -> None:
    with path.open("r+b") as stream:
        np.lib.format.read_magic(stream)
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        if rows.shape[1:] != shape[1:] or first + len(rows) > shape[0]:
            raise ValueError(f"{path}: rows {first} + {rows.shape} do not fit {shape}")
        stream.seek(first * dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64)), 1)
        stream.write(rows.astype(dtype, copy=False).tobytes())


def _trim_npy(path: Path, rows: int) -> None:
    """Shorten an array on disk to its first rows; without rows the file goes."""
    array = np.load(path, mmap_mode="r")
    if rows == 0:
        path.unlink()
    elif rows < len(array):
        shorter = path.with_suffix(".tmp")
        with shorter.open("wb") as stream:
            np.save(stream, array[:rows])
        shorter.replace(path)


def _open_npy(path: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{path}: missing; recreate the data set") from None
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path}: cannot be read ({error}); recreate the data set") from None
    return array
