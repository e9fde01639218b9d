"""One recording cut out into a part of its own on disk, so that a killed run can go on.

A part is a folder with the raw bytes of its crops, its columns and ``part.json``. It appears whole
when its recording is done; a later run with the same options and source files takes it as it is.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skelift.data.anatomy import bone_lengths
from skelift.data.crop import cut_body, to_crop
from skelift.data.format import SAMPLE
from skelift.data.sources.recordings import PRIOR_MARK, Recording, Shot, Skipped
from skelift.errors import InputError
from skelift.files import atomic_folder, read_json, write_json
from skelift.skeleton import Skeleton

VERSION = 2  # of what parts hold: a new one makes all of them again
BLOCK = 1024  # crops in memory at a time as a part is read
NO_BODY = "no body in the mask"
PART = "part.json"
FILES = (PART, "columns.npz", "images.raw", "masks.raw")


@dataclass(frozen=True)
class CutRecording:
    """A finished part."""

    folder: Path
    split: str  # train or test
    name: str  # of the recording
    images: int
    poses: int  # unpaired
    skipped: dict[str, int]  # reason -> frames left out
    bones_mm: list[float]  # sum of its 3D poses' bone lengths, over the images

    def columns(self) -> dict[str, NDArray[Any]]:
        """Arrays of the part: samples, joints_2d, joints_3d_mm, prior_samples, prior_2d."""
        with np.load(self.folder / "columns.npz", allow_pickle=False) as archive:
            return dict(archive)

    def crops(self, kind: str, cell: tuple[int, ...], first: int) -> NDArray[np.uint8]:
        """Up to ``BLOCK`` rows of ``images`` or ``masks`` of shape ``cell`` from ``first`` on."""
        count, bytes_a_row = min(BLOCK, self.images - first), int(np.prod(cell))
        raw = np.fromfile(
            self.folder / f"{kind}.raw", np.uint8, count * bytes_a_row, offset=first * bytes_a_row
        )
        return raw.reshape(count, *cell)


def part_folder(recording: Recording, skeleton: Skeleton, parts: Path) -> Path:
    """Folder of a recording's part: named by all that its content depends on."""
    content = VERSION, recording, skeleton.joints, skeleton.bones
    return parts / fingerprint(recording.files, *content)


def fingerprint(files: Iterable[Path], *content: object) -> str:
    """Hex digest of what files are, by their size and time, and of anything with a ``repr``."""
    stats = []
    for file in files:
        try:
            status = file.stat()
        except OSError:
            raise InputError(
                f"{file}: not found; unpack the archive that holds it (docs/datasets.md)"
            ) from None
        stats.append((str(file), status.st_size, status.st_mtime_ns))
    return blake2b(repr((content, stats)).encode(), digest_size=12).hexdigest()


def load_part(folder: Path) -> CutRecording:
    """A finished part."""
    content = read_json(folder / PART, "skelift prepare")
    return CutRecording(folder=folder, **content)


def make_part(recording: Recording, skeleton: Skeleton, folder: Path) -> CutRecording:
    """Read a recording shot by shot into a part; where it fails (InputError) none is left."""
    with atomic_folder(folder, *FILES) as unfinished:
        writer = _PartWriter(recording, skeleton, unfinished)
        with writer.images, writer.masks:
            for item in recording.shots():
                writer.put(item)
        writer.finish()
    return load_part(folder)


class _PartWriter:
    """Appends shots to the files of a part."""

    def __init__(self, recording: Recording, skeleton: Skeleton, folder: Path) -> None:
        self.recording, self.skeleton, self.folder = recording, skeleton, folder
        self.images = (folder / "images.raw").open("wb")
        self.masks = (folder / "masks.raw").open("wb")
        self.skipped: Counter[str] = Counter()
        joints = len(skeleton)
        self.shapes: dict[str, tuple[int, ...]] = {
            **{"samples": (), "joints_2d": (joints, 2), "joints_3d_mm": (joints, 3)},
            **{"prior_samples": (), "prior_2d": (joints, 2)},
        }
        self.rows: dict[str, list[Any]] = {key: [] for key in self.shapes}

    def put(self, item: Shot | Skipped) -> None:
        if isinstance(item, Skipped):
            if item.frames:
                self.skipped[item.reason] += item.frames
            return
        size = self.recording.crop.size
        joints = to_crop(item.joints_2d, item.box.as_array(), size)
        if item.image is None or item.mask is None:
            self.rows["prior_samples"].append(self._record(item, PRIOR_MARK))
            self.rows["prior_2d"].append(joints)
            return
        image, mask = cut_body(item.image, item.mask, item.box, size, item.mask_level)
        if not mask.any():
            self.skipped[NO_BODY] += 1
            return
        self.images.write(np.ascontiguousarray(image[..., ::-1]).data)
        self.masks.write(np.ascontiguousarray(mask).data)
        self.rows["samples"].append(self._record(item))
        self.rows["joints_2d"].append(joints)
        if item.joints_3d_mm is not None:
            self.rows["joints_3d_mm"].append(item.joints_3d_mm)

    def finish(self) -> None:
        columns: dict[str, NDArray[Any]] = {}
        for key, rows in self.rows.items():
            dtype = SAMPLE if key.endswith("samples") else np.float32
            columns[key] = np.array(rows, dtype=dtype).reshape(-1, *self.shapes[key])
        bones = bone_lengths(columns["joints_3d_mm"], self.skeleton)
        np.savez(self.folder / "columns.npz", **columns)  # type: ignore[arg-type]
        write_json(
            self.folder / PART,
            {
                "split": self.recording.split,
                "name": self.recording.name,
                "images": len(columns["samples"]),
                "poses": len(columns["prior_samples"]),
                "skipped": self.skipped,
                "bones_mm": bones.sum(axis=0, dtype=np.float64).tolist(),
            },
        )

    def _record(self, shot: Shot, mark: str = "") -> NDArray[np.void]:
        record, recording = np.zeros((), dtype=SAMPLE), self.recording
        record["person"], record["clip"] = recording.person, recording.clip + mark
        record["camera"] = recording.camera
        record["activity"] = shot.activity or recording.activity
        record["frame"], record["crop"] = shot.frame, shot.box.as_array()
        record["source_size"] = shot.source_size
        record["focal"] = shot.camera.focal if shot.camera else np.nan
        record["principal"] = shot.camera.principal if shot.camera else np.nan
        return record
