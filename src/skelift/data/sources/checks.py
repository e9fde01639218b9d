"""Poses of a clip, checked against what cameras and bodies can do."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skelift.data.anatomy import side_cues
from skelift.data.crop import CropBox
from skelift.data.images import ImageArray, Mask
from skelift.data.sources.recordings import Camera, Floats, Shot, Skipped
from skelift.data.videos import fewest_frames, stated_rate
from skelift.errors import InputError
from skelift.skeleton import Skeleton

LARGEST_MISS = 0.05  # of the body's extent in the image, median over a clip
MOST_FITTED = 2000  # poses that a camera is fitted to


def finite_frames(name: str, *poses: Floats) -> NDArray[np.bool_]:
    """(F,) whether a frame is finite in all of several (F, J, D) arrays of one clip.

    Raises:
        InputError: the arrays differ in length, or no frame is finite; the message begins with
            ``name``.
    """
    counts = [len(array) for array in poses]
    if len(set(counts)) > 1:
        raise InputError(
            f"{name}: annotations of one clip have {' and '.join(map(str, counts))} poses; unpack "
            "their archives again"
        )
    good: NDArray[np.bool_] = np.logical_and.reduce(
        [np.isfinite(array).all(axis=(1, 2)) for array in poses]
    )
    if not good.any():
        raise InputError(f"{name}: no pose is free of NaN; unpack its archive again")
    return good


@dataclass(frozen=True)
class Poses:
    """Poses of one clip from one camera."""

    name: str  # file or clip to name in an error
    skeleton: Skeleton
    joints_2d: Floats  # (F, J, 2) source pixels
    joints_3d: Floats  # (F, J, 3) mm, camera frame
    good: NDArray[np.bool_]  # (F,) of finite_frames

    def fit_camera(self) -> Camera:
        """Least-squares pinhole camera of the clip: x z = fx X + cx z, and the same of y.

        It takes up what it can of the lens's distortion, which the project's camera does not have.

        Raises:
            InputError: joints lie behind the camera.
        """
        joints_2d, joints_3d = self.joints_2d[self.good], self.joints_3d[self.good]
        step = -(-len(joints_2d) // MOST_FITTED)
        pixels, points = joints_2d[::step].reshape(-1, 2), joints_3d[::step].reshape(-1, 3)
        if not (points[:, 2] > 0).all():
            raise InputError(
                f"{self.name}: 3D joints lie behind the camera; give poses in mm in the camera "
                "frame"
            )
        (fx, cx), (fy, cy) = (
            np.linalg.lstsq(points[:, [axis, 2]], pixels[:, axis] * points[:, 2], rcond=None)[0]
            for axis in (0, 1)
        )
        return Camera((float(fx), float(fy)), (float(cx), float(cy)))

    def check(self, camera: Camera) -> None:
        """InputError unless 3D projects onto 2D, and left and right are where they belong."""
        joints_2d, joints_3d = self.joints_2d[self.good], self.joints_3d[self.good]
        rays = joints_3d[..., :2] / joints_3d[..., 2:]
        projected = rays * np.array(camera.focal) + np.array(camera.principal)
        miss = np.linalg.norm(projected - joints_2d, axis=-1).max(axis=1)
        extent = np.ptp(joints_2d, axis=1).max(axis=1)
        if not np.median(miss / extent) <= LARGEST_MISS:
            raise InputError(
                f"{self.name}: its 3D poses do not project onto its 2D poses "
                f"({np.median(miss):.0f} px apart); the joints of one are in another order, or the "
                "files belong to other clips"
            )
        cues = side_cues(joints_3d, self.skeleton)
        if cues is None:
            return
        twisted, bend = cues
        if twisted.mean() > 0.5 or (np.mean(bend) < 0 and (bend < 0).mean() > 0.7):
            where = "arms or legs" if twisted.mean() > 0.5 else "the whole body"
            raise InputError(
                f"{self.name}: left and right are swapped in {where} (shoulders point against the "
                "hips, or knees bend backwards); give the joints in the data set's own order"
            )

    def usable(self, frames: Sequence[int]) -> tuple[list[int], Skipped]:
        """Those of the frames with a finite pose, and how many have none."""
        usable = [frame for frame in frames if self.good[frame]]
        return usable, Skipped(len(frames) - len(usable), "NaN in the poses")

    def shot(
        self,
        frame: int,
        box: CropBox,
        camera: Camera,
        image: ImageArray,
        mask: Mask,
        mask_level: int = 0,
        activity: str = "",
    ) -> Shot:
        """The shot of a BGR image with its pose."""
        size = image.shape[1], image.shape[0]
        pose = self.joints_2d[frame], size, self.joints_3d[frame]
        return Shot(frame, box, *pose, camera, image, mask, mask_level, activity)


def check_frame_rate(video: Path, expected: float) -> None:
    """InputError unless a video has the data set's frame rate, to 5 %."""
    rate = stated_rate(video)
    if abs(rate - expected) > 0.05 * expected:
        raise InputError(
            f"{video}: {rate:g} frames per second, the data set has {expected:g}; use the original "
            "video, since poses belong to its frames by number"
        )


def check_frame_count(video: Path, count: int, poses: int) -> None:
    """InputError where a video of ``count`` frames ends before its poses."""
    if count < fewest_frames(poses):
        raise InputError(
            f"{video}: {count} frames for {poses} poses; it is truncated, unpack its archive again"
        )
