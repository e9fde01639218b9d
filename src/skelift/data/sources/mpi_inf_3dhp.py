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
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from skelift.config import Config, Mpi3dhpConfig
from skelift.data.anatomy import bone_lengths
from skelift.data.background import SAMPLES, MedianBackground
from skelift.data.format import parts_folder
from skelift.data.images import ImageArray, Mask, check_size
from skelift.data.sources.build import Description, build
from skelift.data.sources.checks import Poses, check_frame_count, check_frame_rate, finite_frames
from skelift.data.sources.masks import above
from skelift.data.sources.mpi_inf_3dhp_files import (
    AS_H36M,
    CAMERAS,
    Frames,
    load_annotations,
    read_calibration,
    read_test_poses,
    read_variables,
    split_annotations,
)
from skelift.data.sources.recordings import (
    Camera,
    Crop,
    Floats,
    Recording,
    Shot,
    Skipped,
    open_root,
    part_frames,
    swap_channels,
)
from skelift.data.videos import fewest_frames
from skelift.errors import InputError
from skelift.skeleton import Skeleton

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

STUDIO = Camera(
    (7.32506 / 10 * 2048, 7.32506 / 10 * 2048),
    (1024 - 0.0322884 / 10 * 2048, 1024 + 0.0929296 / 10 * 2048),
)
OUTDOORS = Camera(
    (8.770747185 / 10 * 1920, 8.770747185 / 10 * 1920),
    (960 - 0.104908645 / 10 * 1920, 540 + 0.104899704 / 5.625 * 1080),
)
TEST_BLOCK = 1024  # frames of a test sequence that one task cuts out


def prepare(config: Config) -> Path:
    """Make the data set of ``config.data.mpi_inf_3dhp``; InputError for missing or broken files."""
    assert config.data.mpi_inf_3dhp is not None
    # Parts do not depend on the number of workers.
    source = replace(config.data.mpi_inf_3dhp, workers=0)
    root, crop = open_root(config, "mpi_inf_3dhp", "h36m17", len(AS_H36M))
    cache = parts_folder(Path(config.paths.data)) / "annotations"
    recordings = [
        *find_training(root, source, crop, config.body, cache),
        *find_test(root, source, crop, config.body),
    ]
    about = Description(
        provenance="MPI-INF-3DHP (Mehta et al. 2017): train S1 to S8, test TS1 to TS6. Images "
        f"come from the first {1 - source.prior:.0%} of each training sequence, 2D poses of the "
        "prior from the rest. "
        + ("3D at the universal skeleton's size." if source.universal else "3D at true size."),
        licence="MPI-INF-3DHP licence: research only, not to be passed on; "
        "https://vcai.mpi-inf.mpg.de/3dhp-dataset",
        skeleton=replace(config.body, evaluated=COUNTED),
    )
    return build(config, config.data.mpi_inf_3dhp, recordings, about)


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
        if not (folder / "FGmasks").is_dir():
            if clip not in WITHOUT_MASKS:
                raise InputError(f"{folder / 'FGmasks'}: not found; get the masks of this sequence")
            if source.unmasked == "skip":
                print(
                    f"{clip}: skipped: the data set has no masks of it "
                    "(data.mpi_inf_3dhp.unmasked=median cuts the body out without them)",
                    file=sys.stderr,
                )
                continue
        calibration = read_calibration(folder / "camera.calibration")
        of_cameras = split_annotations(file, cache)
        recordings += [
            TrainRecording(
                split="train",
                person=person,
                clip=clip,
                camera=str(camera),
                crop=crop,
                folder=folder,
                annotations=of_cameras[camera],
                calibration=calibration[camera],
                source=source,
                skeleton=skeleton,
            )
            for camera in _cameras(folder / "imageSequence", clip)
        ]
    return recordings


def _cameras(folder: Path, clip: str) -> list[int]:
    """The cameras of which there are images; says which are missing."""
    found = [c for c in CAMERAS if Frames.of_camera(folder, c).files[0].exists()]
    missing = ", ".join(str(camera) for camera in CAMERAS if camera not in found)
    if not found:
        raise InputError(
            f"{folder}: no video of cameras {missing}; get the videos of this sequence"
        )
    if missing:
        print(f"{clip}: no videos of cameras {missing}", file=sys.stderr)
    return found


def find_test(root: Path, source: Mpi3dhpConfig, crop: Crop, skeleton: Skeleton) -> list[Recording]:
    """Test recordings: blocks of the valid frames of TS1 to TS6, or of every n-th of these."""
    recordings: list[Recording] = []
    for file in sorted((root / "mpi_inf_3dhp_test_set").glob("TS[1-6]/annot_data.mat")):
        sequence = file.parent.name
        valid = read_variables(file, "valid_frame")[0].reshape(-1) > 0
        frames = np.flatnonzero(valid).tolist()[:: source.test_every]
        invalid = np.count_nonzero(~valid)
        if invalid:
            print(f"{sequence}: {invalid} frames are not valid in the data set", file=sys.stderr)
        recordings += [
            TestRecording(
                split="test",
                person=sequence,
                clip=sequence,
                crop=crop,
                folder=file.parent,
                frames=tuple(frames[first : first + TEST_BLOCK]),
                source=source,
                skeleton=skeleton,
            )
            for first in range(0, len(frames), TEST_BLOCK)
        ]
    return recordings


@dataclass(frozen=True, kw_only=True)
class _Sequence(Recording):
    """One sequence from one camera."""

    folder: Path  # of the sequence
    source: Mpi3dhpConfig
    skeleton: Skeleton

    def _poses(self, name: str, joints_2d: Floats, joints_3d: Floats, universal: Floats) -> Poses:
        """Poses at the size that is asked for; ``universal`` is 3D at the universal skeleton's."""
        good = finite_frames(name, joints_2d, joints_3d, universal)
        if self.source.universal:
            # A median over all bones: of a sequence with wrong knees and ankles most are right.
            own = bone_lengths(joints_3d[good], self.skeleton).sum(axis=0)
            target = bone_lengths(universal[good], self.skeleton).sum(axis=0)
            joints_3d = joints_3d * float(np.median(target / own))
        return Poses(name, self.skeleton, joints_2d, joints_3d, good)


@dataclass(frozen=True, kw_only=True)
class TrainRecording(_Sequence):
    """One training sequence from one camera."""

    annotations: Path  # the camera's, taken out of annot.mat
    calibration: Camera

    @property
    def files(self) -> tuple[Path, ...]:
        """Annotations and videos (of frames, the first)."""
        return (self.annotations, *(frames.files[0] for frames in self._streams()))

    def shots(self) -> Iterator[Shot | Skipped]:
        """See ``Recording``."""
        name = f"{self.folder / 'annot.mat'} camera {self.camera}"
        poses = self._poses(name, *load_annotations(self.annotations))
        swapped = SIDES_SWAPPED.get(self.clip, slice(0))
        for array in (poses.joints_2d, poses.joints_3d):
            array[swapped] = array[swapped][:, self.skeleton.swap]
        poses.check(self.calibration)
        count, missing = self._usable_frames(len(poses.good))
        yield missing
        images, of_prior = part_frames(count, self.source.every, self.source.prior)
        usable, with_nan = poses.usable((*images, *of_prior))
        yield with_nan
        wanted = {frame for frame in usable if frame in images}
        seen = 0
        size: tuple[int, int] | None = None
        for frame, image, mask in self._masked(wanted):
            seen, size = seen + 1, (image.shape[1], image.shape[0])
            if image[::32, ::32].min() > FLASH:
                yield Skipped(1, "a white flash")
            else:
                box = self.crop.around_joints(poses.joints_2d[frame])
                yield poses.shot(frame, box, self.calibration, image, mask)
        yield Skipped(len(wanted) - seen, "the masks end before the video")
        for frame in usable:
            if frame in of_prior and size is not None:
                box = self.crop.around_joints(poses.joints_2d[frame])
                yield Shot(frame, box, poses.joints_2d[frame], size, camera=self.calibration)

    def _usable_frames(self, annotated: int) -> tuple[int, Skipped]:
        """Number of frames that have both pose and image, and what is known to be missing."""
        video = self._streams()[0]
        if video.is_video:
            check_frame_rate(video.files[0], 50.0 if self.clip in FPS_50 else 25.0)
        count = len(video)
        if annotated == count + 1 and self.clip in LONG_ANNOTATION:
            return count, Skipped(1, "an annotation without a frame (known)")
        if count < fewest_frames(annotated) and (self.clip, self.camera) in SHORT_VIDEO:
            return count, Skipped(annotated - count, "the video ends before the poses (known)")
        check_frame_count(video.files[0], count, annotated)
        return min(count, annotated), Skipped(0, "")

    def _streams(self) -> list[Frames]:
        """Images and, of a sequence with masks, those of the person and of the chair."""
        masks = ("FGmasks", "ChairMasks") if (self.folder / "FGmasks").is_dir() else ()
        kinds = ("imageSequence", *masks)
        return [Frames.of_camera(self.folder / kind, self.camera) for kind in kinds]

    def _masked(self, wanted: set[int]) -> Iterator[tuple[int, ImageArray, Mask]]:
        """Images with their masks: person without, or with, the chair."""
        images, *masks = self._streams()
        if not masks:
            yield from _masked_by_median(images, wanted)
            return
        body, chair = masks
        streams = (images.read(wanted), body.read(wanted), chair.read(wanted))
        for (frame, image), (_, green), (_, seat) in zip(*streams, strict=False):
            check_size(body.files[0], green, image.shape)
            check_size(chair.files[0], seat, image.shape)
            # Red: in front of the green screen; of the chair's mask: dark on the chair.
            front, off_chair = above(green, channel=2), above(seat, channel=2)
            both = front | ~off_chair if self.source.chair else front & off_chair
            yield frame, image, both


@dataclass(frozen=True, kw_only=True)
class TestRecording(_Sequence):
    """A block of frames of a test sequence; the body is cut out by a median over time.

    Images past the last annotation are left alone: TS3 has one and TS4 two of them.
    """

    __test__ = False  # no test, though pytest might think so

    frames: tuple[int, ...]

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
        valid, activity = (
            array.reshape(-1)
            for array in read_variables(file, "valid_frame", "activity_annotation")
        )
        joints_2d, joints_3d, universal = read_test_poses(file)
        joints_2d[valid <= 0] = np.nan
        poses = self._poses(str(file), joints_2d, joints_3d, universal)
        camera = OUTDOORS if self.person in ("TS5", "TS6") else STUDIO
        poses.check(camera)
        wanted, with_nan = poses.usable(self.frames)
        yield with_nan
        images = Frames([self._image(frame) for frame in range(len(valid))])
        for frame, image, mask in _masked_by_median(images, set(wanted)):
            box = self.crop.around_joints(joints_2d[frame])
            shown = ACTIVITIES[int(activity[frame]) - 1]
            yield poses.shot(frame, box, camera, image, mask, activity=shown)

    @property
    def _annotations(self) -> Path:
        return self.folder / "annot_data.mat"

    def _image(self, frame: int) -> Path:
        return self.folder / "imageSequence" / f"img_{frame + 1:06d}.jpg"


def _masked_by_median(frames: Frames, wanted: set[int]) -> Iterator[tuple[int, ImageArray, Mask]]:
    """Wanted frames, with masks against the median of frames spread over the whole sequence."""
    spread = set(np.linspace(0, len(frames) - 1, SAMPLES).round().astype(int).tolist())
    background = MedianBackground(swap_channels(image) for _, image in frames.read(spread))
    for frame, image in frames.read(wanted):
        yield frame, image, background.mask(swap_channels(image))
