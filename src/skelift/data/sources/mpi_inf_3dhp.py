"""MPI-INF-3DHP: training sequences S1 to S8 and test sequences TS1 to TS6.

Training layout: ``S*/Seq*/annot.mat`` (MATLAB v5), ``camera.calibration``, and below
``imageSequence``, ``FGmasks`` and ``ChairMasks`` one ``video_<c>.avi`` per camera, or its frames as
``img_<c>_%06d.jpg``. Test layout: ``mpi_inf_3dhp_test_set/TS*/annot_data.mat`` (v7.3) and
``imageSequence/img_%06d.jpg``. Joints become those of h36m17.

3D is ``annot3``, which projects onto ``annot2``; ``univ_annot3`` is the same pose at the size of a
universal skeleton. Scaling ``annot3`` about the camera by the ratio of their bones gives that pose
where it also projects, and passes by TS6, whose ``univ_annot3`` has wrong knees and ankles.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from skelift.config import Config, Mpi3dhpConfig
from skelift.data.anatomy import bone_lengths
from skelift.data.background import SAMPLES, MedianBackground
from skelift.data.format import parts_folder
from skelift.data.images import (
    ImageArray,
    Mask,
    check_size,
    fewest_frames,
    frame_count,
    read_frames,
    read_image,
)
from skelift.data.sources.build import Description, build
from skelift.data.sources.checks import check_frame_rate, check_projection, check_sides
from skelift.data.sources.masks import above, open_hdf5
from skelift.data.sources.recordings import (
    Camera,
    Crop,
    Floats,
    Recording,
    Shot,
    Skipped,
    check_root,
    finite_frames,
    part_frames,
)
from skelift.errors import InputError
from skelift.files import atomic_file
from skelift.skeleton import Skeleton

CAMERAS = (0, 1, 2, 4, 5, 6, 7, 8)
# Of 28 joints, those of the 17 of the test set; of these, those of h36m17. Its head is the top of
# the head, its nose the head's centre, its thorax the neck.
RELEVANT = (7, 5, 14, 15, 16, 9, 10, 11, 23, 24, 25, 18, 19, 20, 4, 3, 6)
AS_H36M = (14, 8, 9, 10, 11, 12, 13, 15, 1, 16, 0, 5, 6, 7, 2, 3, 4)
# The 14 joints that PCK and AUC count: head, neck, shoulders, elbows, wrists, hips, knees, ankles.
COUNTED = (
    *("head", "thorax", "l_shoulder", "r_shoulder", "l_elbow", "r_elbow", "l_wrist", "r_wrist"),
    *("l_hip", "r_hip", "l_knee", "r_knee", "l_ankle", "r_ankle"),
)
ACTIVITIES = ("stand_walk", "exercise", "sit", "crouch_reach", "on_floor", "sports", "misc")
WITHOUT_MASKS = ("S1/Seq2", "S4/Seq2")
FPS_50 = ("S1/Seq2", "S3/Seq1", "S3/Seq2", "S5/Seq1", "S5/Seq2")  # the others have 25

# Known faults.
SIDES_SWAPPED = {"S4/Seq2": slice(3759, 5853)}
SHORT_VIDEO = {("S6/Seq2", "2")}
LONG_ANNOTATION = {"S3/Seq1"}
FLASH = 240  # an image whose darkest spot is brighter is a white flash

TEST_CAMERAS = {
    **dict.fromkeys(
        ("TS1", "TS2", "TS3", "TS4"),
        Camera(
            (7.32506 / 10 * 2048, 7.32506 / 10 * 2048),
            (1024 - 0.0322884 / 10 * 2048, 1024 + 0.0929296 / 10 * 2048),
        ),
    ),
    **dict.fromkeys(
        ("TS5", "TS6"),
        Camera(
            (8.770747185 / 10 * 1920, 8.770747185 / 10 * 1920),
            (960 - 0.104908645 / 10 * 1920, 540 + 0.104899704 / 5.625 * 1080),
        ),
    ),
}
TEST_BLOCK = 1024  # frames of a test sequence that one task cuts out
LICENCE = (
    "MPI-INF-3DHP licence: research only, not to be passed on; "
    "https://vcai.mpi-inf.mpg.de/3dhp-dataset"
)


def prepare(config: Config) -> Path:
    """Make the data set of ``config.data.mpi_inf_3dhp`` at ``config.paths.data``.

    Raises:
        InputError: a file is missing or broken.
    """
    source = config.data.mpi_inf_3dhp
    assert source is not None
    _check(source, config.body)
    options = replace(source, workers=0)  # parts do not depend on the number of workers
    root = check_root("data.mpi_inf_3dhp.root", source.root)
    crop = Crop(config.data.size, config.data.margin)
    cache = parts_folder(Path(config.paths.data)) / "annotations"
    recordings = [
        *find_training(root, options, crop, config.body, cache),
        *find_test(root, options, crop, config.body),
    ]
    about = Description(
        provenance="MPI-INF-3DHP (Mehta et al. 2017): train S1 to S8, test TS1 to TS6. Images "
        f"come from the first {1 - source.prior:.0%} of each training sequence, 2D poses of the "
        "prior from the rest. "
        + ("3D at the universal skeleton's size." if source.universal else "3D at true size."),
        licence=LICENCE,
        skeleton=replace(config.body, evaluated=COUNTED),
        details={},
    )
    return build(config, source, recordings, about)


def find_training(
    root: Path, source: Mpi3dhpConfig, crop: Crop, skeleton: Skeleton, cache: Path
) -> list[Recording]:
    """Training recordings, one per sequence and camera; ``cache`` takes their annotations."""
    annotations = sorted(root.glob("S[1-8]/Seq[12]/annot.mat"))
    if not annotations:
        raise InputError(
            f"{root}: no S*/Seq*/annot.mat; set data.mpi_inf_3dhp.root to the folder of S1 to S8"
        )
    recordings: list[Recording] = []
    for file in annotations:
        folder = file.parent
        person, sequence = folder.parts[-2:]
        clip = f"{person}/{sequence}"
        if not _has_masks(folder, clip) and source.unmasked == "skip":
            print(
                f"{clip}: skipped: the data set has no masks of it "
                "(data.mpi_inf_3dhp.unmasked=median cuts the body out without them)",
                file=sys.stderr,
            )
            continue
        calibration = read_calibration(folder / "camera.calibration")
        recordings += [
            TrainRecording(
                split="train",
                person=person,
                clip=clip,
                camera=str(camera),
                crop=crop,
                folder=folder,
                annotations=_annotations_of(file, camera, cache),
                calibration=calibration[camera],
                source=source,
                skeleton=skeleton,
            )
            for camera in _cameras(folder / "imageSequence", clip)
        ]
    return recordings


def _has_masks(folder: Path, clip: str) -> bool:
    """InputError where a sequence lacks the masks that the data set has of it."""
    found = (folder / "FGmasks").is_dir()
    if not found and clip not in WITHOUT_MASKS:
        raise InputError(f"{folder / 'FGmasks'}: not found; get the masks of this sequence")
    return found


def _cameras(folder: Path, clip: str) -> list[int]:
    """The cameras of which there are images; says which are missing."""
    missing = [camera for camera in CAMERAS if not _Frames(folder, camera).first.exists()]
    named = ", ".join(map(str, missing))
    if len(missing) == len(CAMERAS):
        raise InputError(f"{folder}: no video of cameras {named}; get the videos of this sequence")
    if missing:
        print(f"{clip}: no videos of cameras {named}", file=sys.stderr)
    return [camera for camera in CAMERAS if camera not in missing]


def find_test(root: Path, source: Mpi3dhpConfig, crop: Crop, skeleton: Skeleton) -> list[Recording]:
    """Test recordings: blocks of the valid frames of TS1 to TS6, or of every n-th of these."""
    recordings: list[Recording] = []
    for file in sorted((root / "mpi_inf_3dhp_test_set").glob("TS[1-6]/annot_data.mat")):
        with open_hdf5(file) as content:
            valid = np.asarray(_variable(file, content, "valid_frame")).reshape(-1) > 0
        frames = np.flatnonzero(valid).tolist()[:: source.test_every]
        invalid = np.count_nonzero(~valid)
        if invalid:
            sequence = file.parent.name
            print(
                f"{sequence}: {invalid} frames are not valid, according to the data set",
                file=sys.stderr,
            )
        recordings += [
            TestRecording(
                split="test",
                person=file.parent.name,
                clip=file.parent.name,
                crop=crop,
                folder=file.parent,
                frames=tuple(frames[first : first + TEST_BLOCK]),
                universal=source.universal,
                skeleton=skeleton,
            )
            for first in range(0, len(frames), TEST_BLOCK)
        ]
    return recordings


@dataclass(frozen=True, kw_only=True)
class TrainRecording(Recording):
    """One training sequence from one camera.

    Attributes:
        folder: of the sequence.
        annotations: the camera's annotations, taken out of ``annot.mat``.
        calibration: the camera.
        source: options.
        skeleton: of the poses.
    """

    folder: Path
    annotations: Path
    calibration: Camera
    source: Mpi3dhpConfig
    skeleton: Skeleton

    @property
    def files(self) -> tuple[Path, ...]:
        """Annotations and videos (of frames, the first)."""
        return (self.annotations, *(self._frames(kind).first for kind in self._kinds()))

    def shots(self) -> Iterator[Shot | Skipped]:
        """See ``Recording``."""
        name = f"{self.folder / 'annot.mat'} camera {self.camera}"
        poses = _Poses(name, *_load(self.annotations), self.skeleton, self.source.universal)
        if self.clip in SIDES_SWAPPED:
            poses.swap_sides(SIDES_SWAPPED[self.clip])
        good = poses.good
        poses.check(self.calibration)
        count, short = self._usable_frames(len(good))
        if short:
            yield Skipped(*short)
        images, of_prior = part_frames(count, self.source.every, self.source.prior)
        usable = [frame for frame in (*images, *of_prior) if good[frame]]
        if len(usable) < len(images) + len(of_prior):
            yield Skipped(len(images) + len(of_prior) - len(usable), "NaN in the poses")
        wanted = {frame for frame in usable if frame in images}
        seen = 0
        size: tuple[int, int] | None = None
        for frame, image, mask in self._masked(wanted):
            seen, size = seen + 1, (image.shape[1], image.shape[0])
            if image[::32, ::32].min() > FLASH:
                yield Skipped(1, "a white flash")
            else:
                yield poses.shot(frame, self.crop, self.calibration, image, mask)
        if seen < len(wanted):
            yield Skipped(len(wanted) - seen, "the masks end before the video")
        for frame in usable:
            if frame in of_prior and size is not None:
                box = self.crop.around_joints(poses.joints_2d[frame])
                yield Shot(frame, box, poses.joints_2d[frame], size, camera=self.calibration)

    def _usable_frames(self, annotated: int) -> tuple[int, tuple[int, str] | None]:
        """Frames that have both pose and image, and what is known to be missing."""
        video = self._frames("imageSequence")
        video.check_rate(50.0 if self.clip in FPS_50 else 25.0)
        count = len(video)
        if annotated == count + 1 and self.clip in LONG_ANNOTATION:
            return count, (1, "an annotation without a frame (known)")
        if count >= fewest_frames(annotated):
            return min(count, annotated), None
        if (self.clip, self.camera) in SHORT_VIDEO:
            return count, (annotated - count, "the video ends before the poses (known)")
        raise InputError(
            f"{video.first}: {count} frames for {annotated} poses; it is truncated, get it again"
        )

    @property
    def _unmasked(self) -> bool:
        """Whether a median over time takes the place of masks."""
        return not (self.folder / "FGmasks").is_dir()

    def _kinds(self) -> tuple[str, ...]:
        masks = () if self._unmasked else ("FGmasks", "ChairMasks")
        return ("imageSequence", *masks)

    def _frames(self, kind: str) -> "_Frames":
        return _Frames(self.folder / kind, int(self.camera))

    def _masked(self, wanted: set[int]) -> Iterator[tuple[int, ImageArray, Mask]]:
        """Images with their masks: person without, or with, the chair."""
        images = self._frames("imageSequence")
        if self._unmasked:
            yield from _masked_by_median(images, wanted)
            return
        body, chair = self._frames("FGmasks"), self._frames("ChairMasks")
        streams = (images.read(wanted), body.read(wanted), chair.read(wanted))
        for (frame, image), (_, green), (_, seat) in zip(*streams, strict=False):
            check_size(body.first, green, image.shape)
            check_size(chair.first, seat, image.shape)
            # Red: in front of the green screen; of the chair's mask: dark on the chair.
            front, off_chair = above(green, channel=2), above(seat, channel=2)
            both = front | ~off_chair if self.source.chair else front & off_chair
            yield frame, image, both


@dataclass(frozen=True, kw_only=True)
class TestRecording(Recording):
    """A block of frames of a test sequence; the body is cut out by a median over time.

    Images past the last annotation are left alone: TS3 has one and TS4 two of them.

    Attributes:
        folder: of the sequence.
        frames: frames of the block.
        universal: 3D at the universal skeleton's size.
        skeleton: of the poses.
    """

    __test__ = False  # no test, though pytest might think so

    folder: Path
    frames: tuple[int, ...]
    universal: bool
    skeleton: Skeleton

    @property
    def name(self) -> str:
        """Sequence and frames."""
        return f"{self.person} frames {self.frames[0]} to {self.frames[-1]}"

    @property
    def files(self) -> tuple[Path, ...]:
        """Annotations and images of the block."""
        return (self._annotations, *(self._image(frame) for frame in self.frames))

    def shots(self) -> Iterator[Shot | Skipped]:
        """See ``Recording``."""
        file = self._annotations
        with open_hdf5(file) as content:
            arrays = [
                np.asarray(_variable(file, content, name), dtype=np.float64).reshape(-1, 17, size)
                for name, size in (("annot2", 2), ("annot3", 3), ("univ_annot3", 3))
            ]
            valid = np.asarray(_variable(file, content, "valid_frame")).reshape(-1) > 0
            activity = np.asarray(_variable(file, content, "activity_annotation")).reshape(-1)
        joints_2d, joints_3d, universal_3d = (array[:, AS_H36M] for array in arrays)
        poses = _Poses(
            str(file), joints_2d, joints_3d, universal_3d, self.skeleton, self.universal, valid
        )
        camera = TEST_CAMERAS[self.person]
        poses.check(camera)
        wanted = {frame for frame in self.frames if poses.good[frame]}
        if len(wanted) < len(self.frames):
            yield Skipped(len(self.frames) - len(wanted), "NaN in the poses")
        images = _Images([self._image(frame) for frame in range(len(valid))])
        for frame, image, mask in _masked_by_median(images, wanted):
            shown = ACTIVITIES[int(activity[frame]) - 1]
            yield poses.shot(frame, self.crop, camera, image, mask, shown)

    @property
    def _annotations(self) -> Path:
        return self.folder / "annot_data.mat"

    def _image(self, frame: int) -> Path:
        return self.folder / "imageSequence" / f"img_{frame + 1:06d}.jpg"


class _Poses:
    """Poses of one camera in the joints of h36m17.

    Args:
        name: file and camera to name in an error.
        joints_2d: (F, 17, 2) source pixels.
        joints_3d: (F, 17, 3) mm, camera frame.
        universal_3d: (F, 17, 3) the same at the universal skeleton's size.
        skeleton: of the poses.
        universal: scale ``joints_3d`` to the universal skeleton's size.
        usable: (F,) frames that count; None: all.

    Attributes:
        good: (F,) whether a pose is finite, and usable.
    """

    def __init__(
        self,
        name: str,
        joints_2d: Floats,
        joints_3d: Floats,
        universal_3d: Floats,
        skeleton: Skeleton,
        universal: bool,
        usable: NDArray[np.bool_] | None = None,
    ) -> None:
        if not len(joints_2d) == len(joints_3d) == len(universal_3d):
            raise InputError(
                f"{name}: annot2, annot3 and univ_annot3 have {len(joints_2d)}, {len(joints_3d)} "
                f"and {len(universal_3d)} poses; get the file again"
            )
        self.name, self.skeleton = name, skeleton
        self.joints_2d, self.joints_3d = joints_2d, np.array(joints_3d)
        self.good = finite_frames(joints_2d, joints_3d, universal_3d)
        if usable is not None:
            self.good &= usable
        if not self.good.any():
            raise InputError(f"{name}: no pose is free of NaN; get the file again")
        if universal:
            # A median over all bones: of a sequence with wrong knees and ankles most are right.
            own = bone_lengths(joints_3d[self.good], skeleton).sum(axis=0)
            target = bone_lengths(universal_3d[self.good], skeleton).sum(axis=0)
            self.joints_3d *= float(np.median(target / own))

    def swap_sides(self, rows: slice) -> None:
        """Swap the left and right joints of these rows."""
        for array in (self.joints_2d, self.joints_3d):
            array[rows] = array[rows][:, self.skeleton.swap]

    def check(self, camera: Camera) -> None:
        """InputError unless 3D projects onto 2D, and left and right are where they belong."""
        joints_2d, joints_3d = self.joints_2d[self.good], self.joints_3d[self.good]
        check_projection(self.name, joints_2d, joints_3d, camera)
        check_sides(self.name, joints_3d, self.skeleton)

    def shot(
        self,
        frame: int,
        crop: Crop,
        camera: Camera,
        image: ImageArray,
        mask: Mask,
        activity: str = "",
    ) -> Shot:
        """The shot of an image with its pose."""
        return Shot(
            frame,
            crop.around_joints(self.joints_2d[frame]),
            self.joints_2d[frame],
            (image.shape[1], image.shape[0]),
            self.joints_3d[frame],
            camera,
            image,
            mask,
            activity=activity,
        )


class _Images:
    """Frames in files of their own."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def read(self, wanted: set[int]) -> Iterator[tuple[int, ImageArray]]:
        """Yield (frame, BGR image) of the wanted frames."""
        for frame in sorted(wanted):
            if frame < len(self.files):
                yield frame, _swap_channels(read_image(self.files[frame]))


class _Frames:
    """Frames of one camera: a video, or images numbered from 1."""

    def __init__(self, folder: Path, camera: int) -> None:
        self._video = folder / f"video_{camera}.avi"
        self._files = [] if self._video.exists() else sorted(folder.glob(f"img_{camera}_*.jpg"))

    @property
    def first(self) -> Path:
        """The video, or the first image."""
        return self._files[0] if self._files else self._video

    def __len__(self) -> int:
        return len(self._files) or frame_count(self._video)

    def check_rate(self, expected: float) -> None:
        """InputError where a video has another frame rate than the data set's."""
        if not self._files:
            check_frame_rate(self._video, expected)

    def read(self, wanted: set[int]) -> Iterator[tuple[int, ImageArray]]:
        """Yield (frame, BGR image) of the wanted frames."""
        if self._files:
            return _Images(self._files).read(wanted)
        return read_frames(self._video, wanted, threads=1)


def _masked_by_median(
    frames: _Frames | _Images, wanted: set[int]
) -> Iterator[tuple[int, ImageArray, Mask]]:
    """Wanted frames, with masks against the median of frames spread over the whole sequence."""
    spread = set(np.linspace(0, len(frames) - 1, SAMPLES).round().astype(int).tolist())
    background = MedianBackground(_swap_channels(image) for _, image in frames.read(spread))
    for frame, image in frames.read(wanted):
        yield frame, image, background.mask(_swap_channels(image))


def read_calibration(path: Path) -> dict[int, Camera]:
    """Cameras of a ``camera.calibration``, by their number.

    Raises:
        InputError: the file is missing or of another form.
    """
    cameras, number = {}, None
    try:
        for line in path.read_text().splitlines():
            key, *values = line.split() or [""]
            if key == "name":
                number = int(values[0])
            elif key == "intrinsic" and number is not None:
                matrix = np.array(values, dtype=np.float64).reshape(4, 4)
                cameras[number] = Camera(
                    (float(matrix[0, 0]), float(matrix[1, 1])),
                    (float(matrix[0, 2]), float(matrix[1, 2])),
                )
    except FileNotFoundError:
        raise InputError(f"{path}: not found; get the calibration of this sequence") from None
    except (ValueError, IndexError, OSError) as error:
        raise InputError(f"{path}: cannot be read ({error}); get it again") from None
    missing = sorted(set(CAMERAS) - set(cameras))
    if missing:
        raise InputError(f"{path}: lacks camera {missing[0]}; get it again")
    return cameras


def _annotations_of(file: Path, camera: int, cache: Path) -> Path:
    """One camera's annotations in a file of their own: all of them at once need much memory."""
    status = file.stat()
    identity = repr((str(file), status.st_size, status.st_mtime_ns))
    digest = blake2b(identity.encode(), digest_size=8).hexdigest()
    path = cache / f"{digest}-{camera}.npz"
    if not path.exists():
        for number, arrays in _read_annotations(file).items():
            place = cache / f"{digest}-{number}.npz"
            with atomic_file(place) as unfinished, unfinished.open("wb") as stream:
                np.savez(stream, **arrays)  # type: ignore[arg-type]  # no name is allow_pickle
    return path


def _read_annotations(file: Path) -> dict[int, dict[str, NDArray[np.float64]]]:
    """Camera -> 2D, 3D and universal 3D poses in the joints of h36m17."""
    from scipy.io import loadmat

    names = {"annot2": 2, "annot3": 3, "univ_annot3": 3}
    chosen = [RELEVANT[joint] for joint in AS_H36M]
    found: dict[int, dict[str, NDArray[np.float64]]] = {camera: {} for camera in CAMERAS}
    try:
        for name, size in names.items():
            cells = loadmat(file, variable_names=[name])[name]
            for camera in CAMERAS:
                rows = np.asarray(cells[camera, 0], dtype=np.float64)
                found[camera][name] = rows.reshape(len(rows), 28, size)[:, chosen]
    except Exception as error:  # scipy meets a broken file with whatever its parsing ran into
        raise InputError(
            f"{file}: cannot be read ({' '.join(str(error).split())}); get the file again"
        ) from None
    return found


def _load(path: Path) -> tuple[Floats, Floats, Floats]:
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["annot2"], arrays["annot3"], arrays["univ_annot3"]


def _variable(file: Path, content: Any, name: str) -> Any:
    if name not in content:
        raise InputError(f"{file}: has no variable {name}; get the file again")
    return content[name]


def _swap_channels(image: ImageArray) -> ImageArray:
    """RGB -> BGR, and back."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), dtype=np.uint8)


def _check(source: Mpi3dhpConfig, skeleton: Skeleton) -> None:
    if len(skeleton) != len(AS_H36M):
        raise InputError(f"skeleton={skeleton.name}: 3DHP uses h36m17; set skeleton=h36m17")
