"""Images and masks from anywhere, decoded or refused with the file's name.

Images are (H, W, 3) uint8 RGB, masks (H, W) uint8 with 255 on the body. There is one decoder, for
data sets, predictions and servers alike.
"""

import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from skelift.errors import InputError

ImageArray = NDArray[np.uint8]
Mask = NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")  # Pillow's names
TWELVE_BITS = 4096  # levels of 16 bits that are all below it are a camera's own, not scaled to 16
BLACK = 16  # channels up to this count as black: compression leaves a little noise in it
GREYS = 64, 191  # of a mask, what lies between is neither black nor white
# Where masks come from, as answers say it.
GIVEN, ALPHA, BLACK_BACKGROUND = "given", "alpha", "black background"
BLACK_BORDER = 0.95  # share of an image's border that is black where the background was removed
TWO_WAYS = (
    "its image is turned by its EXIF orientation, the mask is not, and both ways it has the "
    "image's size; make sure that it is of the image as shown"
)

_ORIENTATION = 0x0112  # EXIF tag
_WHITE_IS_ZERO = 262, 0  # TIFF tag and value: photometric interpretation

# What Pillow finds odd in metadata does not concern the pixels; broken pixels raise.
warnings.filterwarnings("ignore", module=r"PIL\.")


class UnsupportedImage(ValueError):
    """An intact image of a kind that is not read; the message is a part of a sentence."""


def read_image(path: Path) -> ImageArray:
    """Decode an image to RGB, turned upright by its EXIF tag; InputError if it cannot be."""
    return read_masked_image(path)[0]


def read_masked_image(path: Path) -> tuple[ImageArray, Mask | None]:
    """``read_image``, and the mask that its alpha channel is; None where nothing is transparent."""
    from PIL import UnidentifiedImageError

    try:
        return decode(path)
    except FileNotFoundError:
        raise InputError(f"{path}: not found; name an existing image") from None
    except UnsupportedImage as error:
        raise InputError(f"{path}: {error}") from None
    except UnidentifiedImageError:
        raise InputError(
            f"{path}: cannot be decoded (no {', '.join(FORMATS)}); convert, replace or remove it"
        ) from None
    except Exception as error:  # a decoder of broken bytes raises nearly anything
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(
            f"{path}: cannot be decoded ({reason}); replace or remove the file"
        ) from None


def read_mask(path: Path, like: ImageArray) -> Mask:
    """Decode the mask of the image ``like``: see ``mask_of``.

    InputError if it cannot be decoded, is a picture or has another size.
    """
    image, alpha = read_masked_image(path)
    check_size(path, image, like.shape)
    try:
        return mask_of(image, alpha)
    except UnsupportedImage as error:
        raise InputError(f"{path}: {error}") from None


def mask_of(image: ImageArray, alpha: Mask | None) -> Mask:
    """The mask that a decoded file is: its alpha channel, else its grey levels above 127.

    UnsupportedImage if most of what is not black is not white either, as in a picture.
    """
    if alpha is not None:
        return alpha
    black, white = GREYS
    not_black = cv2.bitwise_not(cv2.inRange(image, (0, 0, 0), (black,) * 3))
    whites = cv2.inRange(image, (white,) * 3, (255, 255, 255))
    if 2 * cv2.countNonZero(whites) < (total := cv2.countNonZero(not_black)):
        share = 1 - cv2.countNonZero(whites) / total
        raise UnsupportedImage(
            f"is no mask: {share:.0%} of what is not black in it is grey or in colour; save the "
            "body in white and all else in black"
        )
    return binary(np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8))


def binary(mask: Mask) -> Mask:
    """255 where a mask is above 127, else 0."""
    return cv2.threshold(mask, 127, 255, cv2.THRESH_BINARY)[1]  # type: ignore[return-value]


def has_black_border(image: ImageArray) -> bool:
    """Whether the border of an image is black, as where its background was removed."""
    return bool((border_of(image).max(axis=-1) <= BLACK).mean() >= BLACK_BORDER)


def border_of(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The (N[, C]) outermost pixels of an (H, W[, C]) image."""
    return np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])


def mask_of_black_background(image: ImageArray) -> Mask:
    """Mask of an image whose background is black already; dark holes in the body are filled."""
    black = cv2.inRange(image, (0, 0, 0), (BLACK,) * 3)
    return filled(cv2.bitwise_not(black))  # type: ignore[arg-type]


def filled(mask: Mask) -> Mask:
    """The mask with its enclosed holes, up to a hundredth of its area each, filled."""
    # Holes lie within the body's box, which is often a small part of the image.
    x, y, width, height = cv2.boundingRect(mask)
    body = mask[y : y + height, x : x + width]
    # The frame makes all of the background one part, with label 1.
    outside = np.pad(body == 0, 1, constant_values=True).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(outside, connectivity=4)
    hole = stats[:, cv2.CC_STAT_AREA] <= 0.01 * np.count_nonzero(body)
    hole[:2] = False
    if not hole.any():
        return mask
    whole = mask.copy()
    whole[y : y + height, x : x + width][hole[labels[1:-1, 1:-1]]] = 255
    return whole


def check_size(path: Path, image: NDArray[np.uint8], shape: tuple[int, ...]) -> None:
    """InputError unless ``image`` (from ``path``) has the height and width of ``shape``."""
    (height, width), (wanted_height, wanted_width) = image.shape[:2], shape[:2]
    if (height, width) == (wanted_height, wanted_width):
        return
    fix = "a mask has its image's size, and a static camera one size throughout"
    if (height, width) == (wanted_width, wanted_height):
        fix = "turn it by 90 degrees: images count as their EXIF orientation shows them"
    raise InputError(
        f"{path}: is {width} x {height} pixels, but {wanted_width} x {wanted_height} are "
        f"expected; {fix}"
    )


def fits_two_ways(image: Path, mask: Path) -> bool:
    """Whether a mask may be of the image as stored as well as of the image as shown.

    So it is where EXIF turns the image alone, and the size remains.
    """
    from PIL import Image

    with Image.open(image, formats=FORMATS) as shown, Image.open(mask, formats=FORMATS) as plain:
        turned, square = _orientation(shown), shown.width == shown.height
        return turned != 1 and _orientation(plain) == 1 and (turned < 5 or square)


def decode(
    source: Path | BinaryIO,
    formats: tuple[str, ...] = FORMATS,
    check: Callable[[Any], None] = lambda image: None,
) -> tuple[ImageArray, Mask | None]:
    """An encoded image, turned upright by its EXIF tag, and the mask that its alpha channel is.

    Of 16 bits per channel the upper eight are taken. Colour profiles are left alone.

    Args:
        source: file, or its bytes.
        formats: Pillow's names of the formats allowed.
        check: is called with the opened image before its pixels are decoded.

    Returns:
        (H, W, 3) RGB, and an (H, W) mask, 255 where alpha is above 127; None without alpha, or
        where all of it is.

    Raises:
        UnsupportedImage: several images in one file, 32 bits per channel, or 16 bits of which a
            grey image uses 12 or fewer.
        Exception: nearly any, for broken bytes.
    """
    # Pillow, not OpenCV: it refuses truncated files, which OpenCV fills up with grey.
    from PIL import Image

    with Image.open(source, formats=formats) as image:
        check(image)
        # Of a phone's JPEG, further images are previews and depth.
        count = getattr(image, "n_frames", 1)
        if count > 1 and image.format not in ("JPEG", "MPO"):
            raise UnsupportedImage(
                f"holds {count} images; save them as single files, or as a video"
            )
        image.load()
        orientation = _orientation(image)
        pixels, alpha = _grey_16(image) if image.mode.startswith("I;16") else _channels(image)
    mask = None if alpha is None or (alpha > 127).all() else _upright(binary(alpha), orientation)
    return _upright(pixels, orientation), mask


def _channels(image: Any) -> tuple[ImageArray, NDArray[np.uint8] | None]:
    """RGB and alpha of a loaded image of up to 8 bits per channel, as Pillow sees it."""
    if image.mode in ("I", "F"):
        raise UnsupportedImage("has 32 bits per channel; save it with 8 or 16")
    if not image.has_transparency_data:
        return np.array(image.convert("RGB")), None
    key = image.info.get("transparency")
    if isinstance(key, tuple) and max(key) > 255:  # of 16 bits, unlike the pixels
        image.info["transparency"] = tuple(level >> 8 for level in key)
    channels = np.array(image.convert("RGBA"))
    return np.ascontiguousarray(channels[..., :3]), np.ascontiguousarray(channels[..., 3])


def _grey_16(image: Any) -> tuple[ImageArray, NDArray[np.uint8] | None]:
    """RGB and alpha of a loaded image of 16-bit grey levels."""
    levels = np.asarray(image)
    key = image.info.get("transparency")
    alpha = (levels != key).astype(np.uint8) * np.uint8(255) if isinstance(key, int) else None
    tag, value = _WHITE_IS_ZERO
    if image.format == "TIFF" and image.tag_v2.get(tag) == value:
        levels = 65535 - levels
    if 0 < (brightest := int(levels.max())) < TWELVE_BITS:
        raise UnsupportedImage(
            f"has 16 bits per pixel, but no level above {brightest} of 65535, as of a camera of 12 "
            "bits or fewer; scale its levels to 16 bits, or save it with 8"
        )
    grey = (levels >> 8).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1), alpha


def _orientation(image: Any) -> int:
    """EXIF orientation of a loaded image, 1 to 8; 1 where EXIF is too broken to be read."""
    try:
        # Pillow gives up at the first odd tag. A TIFF it turns itself, and then drops the tag.
        value = _find_orientation(image.info.get("exif", b"").removeprefix(b"Exif\0\0"))
        value = value or image.getexif().get(_ORIENTATION)
    except Exception:  # of any kind; the pixels are intact
        return 1
    return value if value in range(1, 9) else 1


def _find_orientation(exif: bytes) -> int:
    """The orientation in the first directory of EXIF (TIFF 6.0, section 2); 0 without one."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if not order:
        return 0
    (start,) = struct.unpack_from(f"{order}I", exif, 4)
    (count,) = struct.unpack_from(f"{order}H", exif, start)
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(f"{order}HH", exif, entry)
        if tag == _ORIENTATION:
            form = order + {1: "B", 4: "I"}.get(kind, "H")
            return int(struct.unpack_from(form, exif, entry + 8)[0])
    return 0


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """(H, W[, C]) pixels turned and mirrored as an EXIF orientation says."""
    if orientation >= 5:
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
