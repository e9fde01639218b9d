"""Files of poses: JSON, CSV and npz, written pose by pose, and read again.

A long video has hundreds of thousands of poses. JSON and CSV are written as poses come; npz,
which needs its sizes first, keeps a few kB per pose until the end.
"""

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from skelift.errors import InputError
from skelift.files import atomic_file, read_json
from skelift.skeleton import Skeleton

MADE_BY = "skelift predict"
CSV_COLUMNS = ("image", "frame", "time_s", "joint", "x_mm", "y_mm", "z_mm", "x_px", "y_px")
# By which one of these files is told from others.
_NPZ_NAMES = {f"{name}.npy" for name in ("header", "joint_names", "joints_3d_mm")}
_JSON_KEYS, _START = ("schema_version", "joint_names"), 4096  # keys within the first bytes
Header = Mapping[str, Any]
Entry = Mapping[str, Any]
Poses = Iterable[tuple[Header, Entry]]  # entries of ``predictions``, and the rest of their answer


def write_poses(path: Path, poses: Poses) -> None:
    """Write at least one pose in the format that the suffix names, all or nothing."""
    check_suffix(path)
    with atomic_file(path) as unfinished:
        WRITERS[path.suffix.lower()](unfinished, poses)


def _write_json(path: Path, poses: Poses) -> None:
    """One entry per line, so that line tools can read it too."""
    with path.open("w", encoding="utf-8") as stream:
        for number, (header, entry) in enumerate(poses):
            if not number:
                fields = (f"  {json.dumps(k)}: {_compact(v)},\n" for k, v in header.items())
                stream.write("{\n" + "".join(fields) + '  "predictions": [\n')
            stream.write((",\n" if number else "") + f"    {_compact(entry)}")
        stream.write("\n  ]\n}\n")


def _write_csv(path: Path, poses: Poses) -> None:
    """One row per joint."""
    # Names may be no UTF-8 on a disk; they are written as in JSON (caf\udce9.png).
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream:
        rows = csv.writer(stream)
        rows.writerow(CSV_COLUMNS)
        for header, entry in poses:
            place = [entry["image"], entry.get("frame", ""), entry.get("time_s", "")]
            joints = zip(
                header["joint_names"], entry["joints_3d_mm"], entry["joints_2d_px"], strict=True
            )
            rows.writerows([*place, name, *mm, *px] for name, mm, px in joints)


def _write_npz(path: Path, poses: Poses) -> None:
    """Arrays of N poses; the header as JSON in ``header``. No pickle."""
    names: dict[str, int] = {}
    rows = []
    for header, entry in poses:  # noqa: B007  all have the same header
        crop, facing = entry["crop"], entry.get("facing") or {"value": "", "from": ""}
        rows.append(
            {
                "image": names.setdefault(entry["image"], len(names)),
                "frame": np.int64(entry.get("frame", -1)),
                "time_s": np.float64(entry.get("time_s", np.nan)),
                "image_size": np.asarray(entry["image_size"], np.int32),
                "crop": np.array([crop["x"], crop["y"], crop["side"]], np.float32),
                "crop_from": crop["from"],
                "mask_from": entry["mask"],
                "facing": facing["value"],
                "facing_from": facing["from"],
                "focal_px": np.float32(entry["focal_px"]["value"]),
                "joints_3d_mm": np.asarray(entry["joints_3d_mm"], np.float32),
                "joints_2d_px": np.asarray(entry["joints_2d_px"], np.float32),
            }
        )
    arrays = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    arrays["image"] = np.array(list(names))[arrays["image"]]
    arrays["joint_names"] = np.array(header["joint_names"])
    with path.open("wb") as stream:
        np.savez_compressed(
            stream, allow_pickle=False, header=np.array(json.dumps(header)), **arrays
        )


WRITERS = {".json": _write_json, ".csv": _write_csv, ".npz": _write_npz}


def check_suffix(path: Path) -> None:
    """InputError unless the suffix names a format."""
    if path.suffix.lower() not in WRITERS:
        raise InputError(f"{path}: end the name in {', '.join(WRITERS)}; it chooses the format")


def is_pose_file(path: Path) -> bool:
    """Whether a file looks as ``write_poses`` writes it; it is not read as a whole."""
    if path.suffix.lower() == ".npz":
        try:
            with ZipFile(path) as archive:
                return _NPZ_NAMES.issubset(archive.namelist())
        except BadZipFile:
            return False
    with path.open("rb") as stream:
        start = stream.read(_START)
    if path.suffix.lower() == ".csv":
        return start.startswith(",".join(CSV_COLUMNS).encode())
    return all(f'"{key}"'.encode() in start for key in _JSON_KEYS)


@dataclass(frozen=True)
class PoseTable:
    """A file of N poses, read again."""

    skeleton: Skeleton
    images: tuple[str, ...]  # image or video of each pose
    frames: NDArray[np.int64]  # of the video; -1 for an image
    times: NDArray[np.float64]  # seconds since the film's start; NaN for a photo
    joints_3d_mm: NDArray[np.float32]  # (N, J, 3) root-relative, camera frame
    joints_2d_px: NDArray[np.float32]  # (N, J, 2) pixels of the image


def read_pose_table(path: Path) -> PoseTable:
    """Read what ``skelift predict`` wrote as .json or .npz; InputError for all else."""
    readers = {".json": _read_json, ".npz": _read_npz}
    if path.suffix.lower() not in readers:
        raise InputError(f"{path}: give the .json or .npz that `{MADE_BY}` wrote")
    try:
        return readers[path.suffix.lower()](path)
    except FileNotFoundError:
        raise InputError(f"{path}: not found; run `{MADE_BY}` first") from None
    except (KeyError, TypeError, ValueError, OSError, EOFError, BadZipFile) as error:
        why = f"lacks {error}" if isinstance(error, KeyError) else _first_line(error)
        raise InputError(
            f"{path}: not a file of poses ({why}); recreate it with `{MADE_BY}`"
        ) from None


def _read_json(path: Path) -> PoseTable:
    answer = read_json(path, MADE_BY)
    entries = answer["predictions"]
    return PoseTable(
        skeleton=Skeleton.from_mapping(answer["skeleton"]),
        images=tuple(str(entry["image"]) for entry in entries),
        frames=np.array([entry.get("frame", -1) for entry in entries], np.int64),
        times=np.array([entry.get("time_s", np.nan) for entry in entries], np.float64),
        joints_3d_mm=np.array([entry["joints_3d_mm"] for entry in entries], np.float32),
        joints_2d_px=np.array([entry["joints_2d_px"] for entry in entries], np.float32),
    )


def _read_npz(path: Path) -> PoseTable:
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    return PoseTable(
        skeleton=Skeleton.from_mapping(json.loads(str(arrays["header"]))["skeleton"]),
        images=tuple(arrays["image"].tolist()),
        frames=arrays["frame"],
        times=arrays["time_s"],
        joints_3d_mm=arrays["joints_3d_mm"],
        joints_2d_px=arrays["joints_2d_px"],
    )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else "truncated"


def _compact(value: Any) -> str:
    return json.dumps(value, allow_nan=False)
