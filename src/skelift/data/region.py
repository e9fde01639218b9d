"""Where in the images of a static camera the body can be."""

from collections.abc import Collection
from fnmatch import fnmatchcase
from pathlib import Path

import cv2
import numpy as np

from skelift.config import BodyConfig
from skelift.data.images import ImageArray, Mask, read_mask
from skelift.errors import InputError


def anywhere(like: ImageArray) -> Mask:
    """(H, W) mask, 255 everywhere, for images like this one."""
    return np.full(like.shape[:2], 255, np.uint8)


def read_region(body: BodyConfig, camera: str, like: ImageArray) -> Mask:
    """(H, W) mask of where the body can be before a camera, for images like this one.

    InputError where a mask image is missing or of another size, or nothing of a region is inside.
    """
    if body.region_masks:
        file = mask_file(body, camera)
        region, named = read_mask(file, like), str(file)
    else:
        corners = next(
            (corners for name, corners in body.regions.items() if fnmatchcase(camera, name)), None
        )
        if corners is None:
            return anywhere(like)
        region, named = _polygon(corners, like), f"data.folder.body.regions: of camera {camera}"
    if not region.any():
        raise InputError(f"{named}: nothing of it lies in the image; give where the body can be")
    return region


def check_regions(body: BodyConfig, cameras: Collection[str]) -> None:
    """InputError where a region is of no camera, or a camera's mask image is missing."""
    for name in body.regions:
        if not any(fnmatchcase(camera, name) for camera in cameras):
            known = ", ".join(sorted({camera for camera in cameras if camera}))
            fix = f"there are {known}" if known else "name cameras by data.folder.layout, or use *"
            raise InputError(f"data.folder.body.regions: no camera is called {name}; {fix}")
    if body.region_masks:
        for camera in cameras:
            if not (file := mask_file(body, camera)).is_file():
                raise InputError(f"{file}: not found; draw where the body can be in white")


def mask_file(body: BodyConfig, camera: str) -> Path:
    """The mask image of a camera's region."""
    path = Path(body.region_masks)
    return path / f"{camera}.png" if path.is_dir() else path


def _polygon(corners: list[int], like: ImageArray) -> Mask:
    points = np.array(corners, np.int32).reshape(-1, 2)
    if len(points) == 2:
        (left, top), (right, bottom) = points
        points = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.int32)
    region = np.zeros(like.shape[:2], np.uint8)
    cv2.fillPoly(region, [points], (255,))
    return region
