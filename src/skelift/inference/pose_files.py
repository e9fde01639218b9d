"""Files of poses: JSON, CSV and npz, written pose by pose, and read again.

A long video has hundreds of thousands of poses. JSON and CSV go to the disk as they come; npz,
which needs its sizes first, keeps a few kB a pose until the end.
"""

import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from skelift.errors import InputError
from skelift.files import atomic_file, read_json
from skelift.skeleton import Skeleton

SUFFIXES = (".json", ".csv", ".npz")
MADE_BY = "skelift predict"
CSV_COLUMNS = ("image", "frame", "time_s", "joint", "x_mm", "y_mm", "z_mm", "x_px", "y_px")
Header = Mapping[str, Any]
Entry = Mapping[str, Any]


class Writer(Protocol):
    """Takes poses one by one."""

    def add(self, header: Header, entry: Entry) -> None:
        """One entry of an answer's ``predictions``, and what else stands in the answer."""

    def close(self) -> None:
        """All poses are there."""


@contextmanager
def writing(path: Path) -> Iterator[Writer]:
    """A writer of the format that the suffix names; the file appears when the block ends well.

    Raises:
        InputError: another suffix.
    """
    check_suffix(path)
    kind = {".json": _JsonWriter, ".csv": _CsvWriter, ".npz": _NpzWriter}[path.suffix.lower()]
    with atomic_file(path) as unfinished:
        mode, newline = ("wb", None) if kind is _NpzWriter else ("w", "")
        with unfinished.open(mode, newline=newline) as stream:
            writer: Writer = kind(stream)
            yield writer
            writer.close()


def check_suffix(path: Path) -> None:
    """InputError unless the suffix names a format."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: end the name in {', '.join(SUFFIXES)}; it chooses the format")


class _JsonWriter:
    """One entry a line, so that line tools can read it too."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._started = False

    def add(self, header: Header, entry: Entry) -> None:
        if not self._started:
            fields = (f"  {json.dumps(k)}: {_compact(v)},\n" for k, v in header.items())
            self._stream.write("{\n" + "".join(fields) + '  "predictions": [\n')
        self._stream.write((",\n" if self._started else "") + f"    {_compact(entry)}")
        self._started = True

    def close(self) -> None:
        self._stream.write("\n  ]\n}\n")


class _CsvWriter:
    """One row a joint."""

    def __init__(self, stream: IO[str]) -> None:
        self._rows = csv.writer(stream)
        self._rows.writerow(CSV_COLUMNS)

    def add(self, header: Header, entry: Entry) -> None:
        place = [entry["image"], entry.get("frame", ""), entry.get("time_s", "")]
        joints = zip(
            header["joint_names"], entry["joints_3d_mm"], entry["joints_2d_px"], strict=True
        )
        self._rows.writerows([*place, name, *mm, *px] for name, mm, px in joints)

    def close(self) -> None:
        pass


class _NpzWriter:
    """Arrays of N poses; the header as JSON in ``header``. No pickle."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._header: dict[str, Any] = {}
        self._columns: dict[str, list[Any]] = {}
        self._names: dict[str, int] = {}

    def add(self, header: Header, entry: Entry) -> None:
        self._header = dict(header)
        crop = entry["crop"]
        row = {
            "image": self._names.setdefault(entry["image"], len(self._names)),
            "frame": np.int64(entry.get("frame", -1)),
            "time_s": np.float64(entry.get("time_s", np.nan)),
            "image_size": np.asarray(entry["image_size"], np.int32),
            "crop": np.array([crop["x"], crop["y"], crop["side"]], np.float32),
            "crop_from": crop["from"],
            "focal_px": np.float32(entry["focal_px"]["value"]),
            "joints_3d_mm": np.asarray(entry["joints_3d_mm"], np.float32),
            "joints_2d_px": np.asarray(entry["joints_2d_px"], np.float32),
        }
        for name, value in row.items():
            self._columns.setdefault(name, []).append(value)

    def close(self) -> None:
        arrays = {name: np.array(values) for name, values in self._columns.items()}
        arrays["image"] = np.array(list(self._names))[arrays["image"]]
        np.savez_compressed(
            self._stream,
            allow_pickle=False,
            header=np.array(json.dumps(self._header)),
            joint_names=np.array(self._header["joint_names"]),
            **arrays,
        )


@dataclass(frozen=True)
class Poses:
    """A file of poses, read again.

    Attributes:
        skeleton: joints and bones.
        images: (N,) image or video of each pose.
        frames: (N,) frame of the video; -1 for an image.
        times: (N,) seconds since the video's start; NaN for an image.
        joints_3d_mm: (N, J, 3) mm, root-relative, camera frame.
        joints_2d: (N, J, 2) pixels of the image.
    """

    skeleton: Skeleton
    images: tuple[str, ...]
    frames: NDArray[np.int64]
    times: NDArray[np.float64]
    joints_3d_mm: NDArray[np.float32]
    joints_2d: NDArray[np.float32]


def read_poses_file(path: Path) -> Poses:
    """Read what ``skelift predict`` wrote as .json or .npz.

    Raises:
        InputError: another format, a broken file, or a file of something else.
    """
    readers = {".json": _read_json, ".npz": _read_npz}
    if path.suffix.lower() not in readers:
        raise InputError(f"{path}: give the .json or .npz that `{MADE_BY}` wrote")
    try:
        return readers[path.suffix.lower()](path)
    except FileNotFoundError:
        raise InputError(f"{path}: not found; run `{MADE_BY}` first") from None
    except (KeyError, TypeError, ValueError, OSError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise InputError(f"{path}: no file of poses ({what}); make it with `{MADE_BY}`") from None


def _read_json(path: Path) -> Poses:
    answer = read_json(path, MADE_BY)
    entries = answer["predictions"]
    return Poses(
        skeleton=Skeleton.from_mapping(answer["skeleton"]),
        images=tuple(str(entry["image"]) for entry in entries),
        frames=np.array([entry.get("frame", -1) for entry in entries], np.int64),
        times=np.array([entry.get("time_s", np.nan) for entry in entries], np.float64),
        joints_3d_mm=np.array([entry["joints_3d_mm"] for entry in entries], np.float32),
        joints_2d=np.array([entry["joints_2d_px"] for entry in entries], np.float32),
    )


def _read_npz(path: Path) -> Poses:
    from zipfile import BadZipFile

    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive)
    except (BadZipFile, EOFError) as error:
        raise ValueError(str(error) or "truncated") from None
    return Poses(
        skeleton=Skeleton.from_mapping(json.loads(str(arrays["header"]))["skeleton"]),
        images=tuple(arrays["image"].tolist()),
        frames=arrays["frame"],
        times=arrays["time_s"],
        joints_3d_mm=arrays["joints_3d_mm"],
        joints_2d=arrays["joints_2d_px"],
    )


def _compact(value: Any) -> str:
    return json.dumps(value, allow_nan=False)
