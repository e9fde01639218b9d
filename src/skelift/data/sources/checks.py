"""Checks of annotations against what cameras and bodies can do."""

from pathlib import Path

import numpy as np

from skelift.data.anatomy import side_cues
from skelift.data.images import frame_rate
from skelift.data.sources.recordings import Camera, Floats
from skelift.errors import InputError
from skelift.skeleton import Skeleton

LARGEST_MISS = 0.05  # of the body's extent in the image, median over a clip
MOST_FITTED = 2000  # poses that a camera is fitted to


def fit_camera(name: str, joints_2d: Floats, joints_mm: Floats) -> Camera:
    """Least-squares pinhole camera of a clip: x z = fx X + cx z, and the same of y.

    It takes up what it can of the lens's distortion, which the project's camera does not have.

    Args:
        name: file or clip to name in an error.
        joints_2d: (F, J, 2) source pixels.
        joints_mm: (F, J, 3) mm, camera frame.

    Raises:
        InputError: no camera projects the one onto the other, or joints lie behind it.
    """
    step = -(-len(joints_2d) // MOST_FITTED)
    pixels, points = joints_2d[::step].reshape(-1, 2), joints_mm[::step].reshape(-1, 3)
    if not (points[:, 2] > 0).all():
        raise InputError(
            f"{name}: 3D joints lie behind the camera; give poses in mm in the camera frame"
        )
    fitted = [
        np.linalg.lstsq(points[:, [axis, 2]], pixels[:, axis] * points[:, 2], rcond=None)[0]
        for axis in (0, 1)
    ]
    (fx, cx), (fy, cy) = fitted
    camera = Camera((float(fx), float(fy)), (float(cx), float(cy)))
    check_projection(name, joints_2d, joints_mm, camera)
    return camera


def check_projection(name: str, joints_2d: Floats, joints_mm: Floats, camera: Camera) -> None:
    """InputError unless 3D projects onto 2D: the joints of both are in the same order."""
    rays = joints_mm[..., :2] / joints_mm[..., 2:]
    projected = rays * np.array(camera.focal) + np.array(camera.principal)
    miss = np.linalg.norm(projected - joints_2d, axis=-1).max(axis=1)
    extent = np.ptp(joints_2d, axis=1).max(axis=1)
    if not np.median(miss / extent) <= LARGEST_MISS:
        raise InputError(
            f"{name}: its 3D poses do not project onto its 2D poses ({np.median(miss):.0f} px "
            "apart); the joints of one are in another order, or the files belong to other clips"
        )


def check_sides(name: str, joints_mm: Floats, skeleton: Skeleton) -> None:
    """InputError where left and right are swapped, in part or in whole, in most of a clip.

    Args:
        name: file or clip to name in the error.
        joints_mm: (F, J, 3) mm, camera frame.
        skeleton: of the poses; one without these joints is not checked.
    """
    cues = side_cues(joints_mm, skeleton)
    if cues is None:
        return
    twisted, bend = cues
    if twisted.mean() > 0.5 or (np.mean(bend) < 0 and (bend < 0).mean() > 0.7):
        where = "arms or legs" if twisted.mean() > 0.5 else "the whole body"
        raise InputError(
            f"{name}: left and right are swapped in {where} "
            "(shoulders point against the hips, or knees bend backwards); give the joints in the "
            "data set's own order"
        )


def check_frame_rate(video: Path, expected: float) -> None:
    """InputError unless a video has the data set's frame rate, to 5 %."""
    rate = frame_rate(video)
    if abs(rate - expected) > 0.05 * expected:
        raise InputError(
            f"{video}: {rate:g} frames per second, the data set has {expected:g}; use the original "
            "video, since poses belong to its frames by number"
        )
