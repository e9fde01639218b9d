"""Images that come as bytes from anyone: checked before they are decoded."""

from dataclasses import dataclass
from io import BytesIO
from typing import Any

from skelift.data.images import ImageArray, Mask, UnsupportedImage, decode, mask_of
from skelift.errors import RequestError


@dataclass(frozen=True)
class Limits:
    """What one image may cost."""

    bytes: int = 10 * 2**20  # encoded size
    pixels: int = 25_000_000  # width x height, as the header states it
    side: int = 8192  # the longer side; a crop is square
    formats: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "BMP")  # Pillow's names


def decode_image(encoded: bytes, limits: Limits) -> tuple[ImageArray, Mask | None]:
    """(H, W, 3) uint8 RGB, turned upright by its EXIF tag, and the mask that its alpha is.

    RequestError if it is too large, of another format, truncated or broken.
    """
    from PIL import Image, UnidentifiedImageError

    if not encoded:
        raise RequestError(400, "empty_image", "the image is empty; send its bytes")
    if len(encoded) > limits.bytes:
        raise RequestError(
            413, "too_many_bytes", f"the image has more than {limits.bytes} bytes; shrink it"
        )
    too_many_pixels = RequestError(
        413,
        "too_many_pixels",
        f"the image has more than {limits.pixels} pixels or a side over {limits.side}; shrink it",
    )

    def check(image: Any) -> None:
        width, height = image.size
        if width * height > limits.pixels or max(width, height) > limits.side:
            raise too_many_pixels

    try:
        return decode(BytesIO(encoded), limits.formats, check)
    except UnidentifiedImageError:
        formats = ", ".join(limits.formats)
        raise RequestError(
            415, "unsupported_format", f"this is not an image of a known format; send {formats}"
        ) from None
    except UnsupportedImage as error:
        raise RequestError(415, "unsupported_image", f"the image {error}") from None
    except Image.DecompressionBombError:
        raise too_many_pixels from None
    except RequestError:
        raise
    except Exception:  # a decoder of broken bytes raises nearly anything
        raise RequestError(
            400, "broken_image", "the image cannot be decoded: truncated or damaged"
        ) from None


def decode_mask(encoded: bytes, like: ImageArray, limits: Limits) -> Mask:
    """(H, W) uint8 mask of the image ``like``, 255 on the body; see ``mask_of``.

    RequestError as of ``decode_image``, and if it is a picture or of another size than the image.
    """
    try:
        mask = mask_of(*decode_image(encoded, limits))
    except UnsupportedImage as error:
        raise RequestError(400, "no_mask", f"the mask {error}") from None
    (height, width), (wanted_height, wanted_width) = mask.shape, like.shape[:2]
    if (height, width) != (wanted_height, wanted_width):
        raise RequestError(
            400,
            "mask_size",
            f"the mask is {width} x {height} pixels and its image {wanted_width} x "
            f"{wanted_height}; make them equal (images count as their EXIF orientation shows them)",
        )
    return mask
