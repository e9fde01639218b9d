"""The files of MPI-INF-3DHP: frames, calibrations and annotations."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skelift.data.images import ImageArray
from skelift.data.sources.masks import open_hdf5, variable
from skelift.data.sources.parts import fingerprint
from skelift.data.sources.recordings import Camera, Floats, read_bgr, reading
from skelift.data.videos import read_frames, stated_count
from skelift.errors import InputError
from skelift.files import atomic_file

CAMERAS = (0, 1, 2, 4, 5, 6, 7, 8)
# Of 28 joints, those of the 17 of the test set; of these, those of h36m17. Its head is the top of
# the head, its nose the head's centre, its thorax the neck.
RELEVANT = (7, 5, 14, 15, 16, 9, 10, 11, 23, 24, 25, 18, 19, 20, 4, 3, 6)
AS_H36M = (14, 8, 9, 10, 11, 12, 13, 15, 1, 16, 0, 5, 6, 7, 2, 3, 4)
POSES = {"annot2": 2, "annot3": 3, "univ_annot3": 3}  # coordinates of each


@dataclass(frozen=True)
class Frames:
    """Frames of one camera: one video, or an image per frame."""

    files: Sequence[Path]

    @classmethod
    def of_camera(cls, folder: Path, camera: int | str) -> "Frames":
        """``video_<c>.avi``, or where it is not found images numbered from 1."""
        video = folder / f"video_{camera}.avi"
        images = [] if video.exists() else sorted(folder.glob(f"img_{camera}_*.jpg"))
        return cls(images or [video])

    @property
    def is_video(self) -> bool:
        """Whether they lie in a video."""
        return self.files[0].suffix == ".avi"

    def __len__(self) -> int:
        return stated_count(self.files[0]) if self.is_video else len(self.files)

    def read(self, wanted: Iterable[int]) -> Iterator[tuple[int, ImageArray]]:
        """Yield (frame, BGR image) of the wanted frames."""
        if self.is_video:
            return read_frames(self.files[0], set(wanted), threads=1)
        return ((i, read_bgr(self.files[i])) for i in sorted(wanted) if i < len(self.files))


def read_calibration(path: Path) -> dict[int, Camera]:
    """Cameras of a ``camera.calibration``, by their number; InputError where one is missing."""
    cameras, number = {}, None
    with reading(path, "a calibration"):
        for line in path.read_text().splitlines():
            key, *values = line.split() or [""]
            if key == "name":
                number = int(values[0])
            elif key == "intrinsic" and number is not None:
                matrix = np.array(values, dtype=np.float64).reshape(4, 4).tolist()
                cameras[number] = Camera((matrix[0][0], matrix[1][1]), (matrix[0][2], matrix[1][2]))
    missing = sorted(set(CAMERAS) - set(cameras))
    if missing:
        raise InputError(f"{path}: lacks camera {missing[0]}; unpack its archive again")
    return cameras


def split_annotations(file: Path, cache: Path) -> dict[int, Path]:
    """Camera -> its annotations in a file of their own: all of them at once need much memory."""
    digest = fingerprint([file])
    paths = {camera: cache / f"{digest}-{camera}.npy" for camera in CAMERAS}
    if not all(path.exists() for path in paths.values()):
        for camera, poses in _read_annotations(file):
            with atomic_file(paths[camera]) as unfinished, unfinished.open("wb") as stream:
                np.save(stream, poses)
    return paths


def _read_annotations(file: Path) -> Iterator[tuple[int, Floats]]:
    """Yield (camera, (F, 17, 2 + 3 + 3) poses in the joints of h36m17)."""
    chosen = [RELEVANT[joint] for joint in AS_H36M]
    found: dict[int, list[Floats]] = {camera: [] for camera in CAMERAS}
    with reading(file, " and ".join(POSES)):
        from scipy.io import loadmat

        for name, size in POSES.items():
            cells = loadmat(file, variable_names=[name])[name]
            for camera in CAMERAS:
                rows = np.asarray(cells[camera, 0], dtype=np.float64)
                found[camera].append(rows.reshape(len(rows), 28, size)[:, chosen])
        for camera in CAMERAS:
            yield camera, np.concatenate(found.pop(camera), axis=-1)


def load_annotations(path: Path) -> list[Floats]:
    """2D, 3D and universal 3D poses of ``split_annotations``, each (F, 17, 2 or 3)."""
    return [np.ascontiguousarray(poses) for poses in np.split(np.load(path), (2, 5), axis=-1)]


def read_test_poses(file: Path) -> list[Floats]:
    """2D, 3D and universal 3D poses of a test sequence, each (F, 17, 2 or 3)."""
    return [
        np.asarray(array, dtype=np.float64).reshape(-1, 17, size)[:, AS_H36M]
        for array, size in zip(read_variables(file, *POSES), POSES.values(), strict=True)
    ]


def read_variables(file: Path, *names: str) -> list[NDArray[Any]]:
    """Variables of an ``annot_data.mat``; InputError where it is broken or lacks one."""
    with open_hdf5(file) as content:
        return [np.asarray(variable(file, content, name)) for name in names]
