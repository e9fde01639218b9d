"""From an image of any size to the crop that the network sees: who marks the body, and where."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from skelift.data.background import cut_out
from skelift.data.cameras import FOCAL_PX, Camera, View, implausible_focal, view_of_mask
from skelift.data.crop import CropBox
from skelift.data.images import (
    BLACK_BACKGROUND,
    GIVEN,
    binary,
    has_black_border,
    mask_of_black_background,
)
from skelift.data.mask_checks import mask_fault
from skelift.data.person import Corners, Person
from skelift.data.static_camera import PERSON
from skelift.errors import InputError, RequestError
from skelift.numbers import is_real

ImageArray = NDArray[np.uint8]
Box = tuple[float, float, float, float]
Facing = Literal["front", "back"]  # the body's side that the camera sees
FRONT, BACK = get_args(Facing)
FACING_HEADS = ("front_back", "pose_facing", "joint_facing")  # heads that tell it
KEEP, REMOVE = "keep", "remove"
OF_ONE_IMAGE = (KEEP, REMOVE, PERSON)  # what can be done with the background of a single image
NO_MASK = "none"
WHOLE_IMAGE = "whole image"
REMOVED = "removed background"
TYPICAL = "typical"  # focal length, where the camera is unknown
_MASK_FROM = {REMOVED: REMOVE, PERSON: PERSON, BLACK_BACKGROUND: BLACK_BACKGROUND}
_OVERHANG = 2.0  # pixels by which the edge of a box may leave its image, as rounding makes it
_OFF_MIDDLE = 0.2  # of a side, from its middle: farther no lens' axis meets a whole image
_INSET = 0.03  # without a box, the share of the image that is free on each side of the body


@dataclass(frozen=True)
class Query:
    """One encoded image, and what is known of it; see ``prepare_image``."""

    image: bytes
    mask: bytes | None = None
    box: Box | None = None
    focal_px: float | None = None
    background: str = KEEP
    name: str = ""  # comes back in the answer
    facing: Facing | None = None


@dataclass(frozen=True)
class PreparedImage:
    """An image as the network wants it, and how to get back."""

    x: ImageArray  # (S, S, 3) RGB, background black where a mask was known
    crop: CropBox  # the square of the image, or of the view, that ``x`` shows
    crop_from: str  # mask, box, removed background, person, black background or whole image
    mask_from: str  # given, alpha, black background, none, or the name of what searched for it
    focal_px: float  # pixels of the image
    focal_from: str  # given, camera, or typical where the camera is unknown
    size: tuple[int, int]  # width and height of the image
    mask_fault: str = ""  # see ``mask_fault``; empty where the mask is a body's, or none is known
    view: View | None = None  # of a calibrated camera, along the body's line of sight
    facing: Facing | None = None  # where it is known without the image

    @property
    def doubts(self) -> list[str]:
        """Why its pose is not to be trusted; empty where nothing speaks against it."""
        found = []
        if self.mask_fault:
            found.append(f"the mask {self.mask_fault}; it marks the body with white (above 127)")
        elif self.crop_from == WHOLE_IMAGE:
            found.append(
                "nothing marks the body, and the background is not black; give a mask, or "
                "background='person' to cut a person out"
            )
        if self.focal_from != TYPICAL and (doubt := implausible_focal(self.focal_px, *self.size)):
            found.append(doubt)
        return found


def prepare_image(
    card: Mapping[str, Any],
    image: ImageArray,
    mask: NDArray[Any] | None = None,
    box: Box | None = None,
    focal_px: float | None = None,
    background: str = KEEP,
    camera: Camera | None = None,
    mask_from: str = GIVEN,
    facing: Facing | None = None,
) -> PreparedImage:
    """Crop as in training.

    A mask comes first. Without one, ``background="person"`` cuts the person out of the box, or of
    the image, with a small network, and ``background="remove"`` whatever stands out by its
    colours; a box alone is cropped with its background in it, which no model is trained for.
    Without any of these, the body is what is not black where the border is black; else the whole
    image is taken. One image does not tell its camera: without ``focal_px``, the body is taken to
    be as far away as those of the training set typically are.

    Args:
        card: the model's; its ``size``, ``margin`` and ``crop_side`` are used.
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) uint8, above 127 on the body, or bool.
        box: x and y of the upper left corner, width and height around the body, in pixels of the
            upright image.
        focal_px: focal length in pixels of the image.
        background: ``keep``, ``person`` to cut the person out by a small network, or ``remove`` to
            cut the body out by its colours.
        camera: the calibrated camera, in place of ``focal_px``: the crop is what an ideal camera
            sees that looks straight at the body.
        mask_from: what gave ``mask``.
        facing: ``front`` where the body is known to face the camera, ``back`` where it is known
            to face away; None: the model tells.

    Raises:
        InputError: an argument has another form, the mask is empty, the box does not lie on the
            image, or no body is left.
    """
    check_image(image)
    _check_options(focal_px, background, camera)
    _check_facing(facing, card)
    height, width = image.shape[:2]
    corners = None if box is None else corners_of(box, width, height)
    given = mask is not None
    mask, found_by = _find_mask(image, mask, corners, background)
    mask_from = mask_from if given else _MASK_FROM.get(found_by, NO_MASK)
    if mask is not None:
        image = np.asarray(cv2.bitwise_and(image, image, mask=mask), dtype=np.uint8)
    if camera is not None:
        view = _prepare_view(card, image, mask, corners, found_by, mask_from, camera)
        return replace(view, facing=facing)
    if mask is not None:
        crop = CropBox.around_mask(mask, card["margin"])
    elif corners is not None:
        crop = CropBox.around(*corners, card["margin"])
    else:
        crop = CropBox(width / 2, height / 2, float(max(width, height)))
    return PreparedImage(
        x=crop.cut(image, card["size"]),
        crop=crop,
        crop_from=found_by,
        mask_from=mask_from,
        focal_px=crop.side / card["crop_side"] if focal_px is None else focal_px,
        focal_from=TYPICAL if focal_px is None else "given",
        size=(width, height),
        mask_fault="" if mask is None else mask_fault(mask),
        facing=facing,
    )


def _check_options(focal_px: Any, background: str, camera: Any) -> None:
    if focal_px is not None and not (is_real(focal_px) and 1 <= focal_px <= FOCAL_PX[1]):
        raise RequestError(
            400, "bad_focal", f"focal_px={focal_px}: must be a number above 0, in pixels (1 to 1e6)"
        )
    if camera is not None and not isinstance(camera, Camera):
        raise InputError("camera must be one of skelift.data.cameras.read_cameras(FILE)")
    if camera is not None and focal_px is not None:
        raise InputError("a camera and a focal length are given; the camera has its own, give one")
    if background not in OF_ONE_IMAGE:
        choices = ", ".join(OF_ONE_IMAGE)
        raise RequestError(400, "bad_background", f"background must be one of {choices}")


def _check_facing(facing: Any, card: Mapping[str, Any]) -> None:
    if facing is None:
        return
    if facing not in get_args(Facing):
        raise RequestError(400, "bad_facing", f"facing must be {FRONT} or {BACK}")
    if not set(card["heads"]) & set(FACING_HEADS):
        raise RequestError(
            400,
            "bad_facing",
            f"facing: the model {card['name']} does not tell front from back; leave it out",
        )


def _prepare_view(
    card: Mapping[str, Any],
    image: ImageArray,
    mask: ImageArray | None,
    corners: Corners | None,
    found_by: str,
    mask_from: str,
    camera: Camera,
) -> PreparedImage:
    """The same in the view of a calibrated camera; ``image`` is masked already."""
    height, width = image.shape[:2]
    _check_whole(camera, width, height)
    if mask is not None:
        view = view_of_mask(camera, mask)
        crop = view.crop_around_mask(mask, card["margin"])
    else:
        camera.check_size(width, height)
        low, high = corners or (np.zeros(2), np.array([width, height], dtype=np.float64))
        view = camera.look_at((low + high) / 2)
        ends = view.from_image(np.array([low, high, [low[0], high[1]], [high[0], low[1]]]))
        crop = CropBox.around(ends.min(0), ends.max(0), card["margin"] if corners else 0)
    return PreparedImage(
        x=view.cut(image, crop, card["size"]),
        crop=crop,
        crop_from=found_by,
        mask_from=mask_from,
        focal_px=view.focal,
        focal_from="camera",
        size=(width, height),
        mask_fault="" if mask is None else mask_fault(mask),
        view=view,
    )


def _check_whole(camera: Camera, width: int, height: int) -> None:
    """InputError where K, of a calibration that tells no size, is of images of another size.

    Its principal point is then off the middle along both sides, as of an image that was cut.
    """
    x, y = camera.matrix[:2, 2]
    off = min(abs(x / width - 0.5), abs(y / height - 0.5))
    if camera.size is None and off > _OFF_MIDDLE:
        raise InputError(
            f"camera {camera.name}: its principal point {x:g}, {y:g} is far from the middle of "
            f"{width} x {height} pixels, so K is of images of another size; scale K, or say in "
            f"the calibration that they have this one (image_size)"
        )


def _find_mask(
    image: ImageArray,
    mask: NDArray[Any] | None,
    corners: Corners | None,
    background: str,
) -> tuple[ImageArray | None, str]:
    """The body's mask, where there is one, and what the crop is found by."""
    if mask is not None:
        return binary(_checked_mask(mask, image)), "mask"
    if background == REMOVE:
        return without_background(image, corners), REMOVED
    if background == PERSON:
        return person_in(image, corners), PERSON
    if corners is not None:
        return None, "box"
    if has_black_border(image) and (body := mask_of_black_background(image)).any():
        return body, BLACK_BACKGROUND
    return None, WHOLE_IMAGE


def without_background(image: ImageArray, corners: Corners | None = None) -> ImageArray:
    """Mask of what stands out by its colours in a box, or the image; InputError where none does.

    ``corners`` are opposite corners of the box, (2,) pixels each.
    """
    size = np.array(image.shape[1::-1], dtype=np.float64)
    low, high = corners or (_INSET * size, (1 - _INSET) * size)
    mask = cut_out(image, tuple(low), tuple(high))
    if not mask.any():
        raise InputError("nothing stands out from its background; give a mask or a tighter box")
    return mask


def person_in(image: ImageArray, corners: Corners | None = None) -> ImageArray:
    """Mask of the largest person in a box, or the image; InputError where nobody is found.

    ``corners`` are opposite corners of the box, (2,) pixels each.
    """
    mask = Person(corners).mask(image)
    if not mask.any():
        raise InputError("no person is found in it; give a mask or a box")
    return mask


def check_image(image: Any) -> None:
    """InputError unless it is an (H, W, 3) uint8 array of at least one pixel."""
    if getattr(image, "dtype", None) != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(f"image must be a file or an (H, W, 3) uint8 array, not {_form(image)}")
    if not image.size:
        raise InputError("the image has no pixels")


def _checked_mask(mask: NDArray[Any], image: ImageArray) -> ImageArray:
    height, width = image.shape[:2]
    if getattr(mask, "dtype", None) not in (np.uint8, bool) or mask.shape != (height, width):
        raise InputError(
            f"mask must be a file or a ({height}, {width}) uint8 or bool array, as its image, "
            f"not {_form(mask)}"
        )
    return mask if mask.dtype == np.uint8 else mask * np.uint8(255)


def _form(value: Any) -> str:
    return f"{value.shape} {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__


def corners_of(box: Box, width: int, height: int) -> Corners:
    """Opposite corners of a box, (2,) pixels each.

    RequestError unless it is four numbers and lies on the image, but for a rounded edge.
    """
    try:
        numbers = [float(number) if is_real(number) else math.nan for number in box]
        x, y, box_width, box_height = numbers
    except (TypeError, ValueError):
        x = y = box_width = box_height = math.nan
    size = np.array([width, height])
    low, high = np.array([x, y]), np.array([x + box_width, y + box_height])
    inside = (low >= -_OVERHANG).all() and (high <= size + _OVERHANG).all()  # False of a NaN
    low, high = np.clip(low, 0, size), np.clip(high, 0, size)
    if not (inside and (high - low >= 1).all()):
        raise RequestError(
            400,
            "bad_box",
            f"the box must be X Y WIDTH HEIGHT in pixels, and lie on the image of {width} x "
            f"{height} pixels; of two corners, give the first and their difference",
        )
    return low, high
