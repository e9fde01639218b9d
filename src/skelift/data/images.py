"""Images, masks and videos from anywhere, decoded or refused with the file's name.

Images are (H, W, 3) uint8 RGB, masks (H, W) uint8 with 255 on the body.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from skelift.errors import InputError

ImageArray = NDArray[np.uint8]
Mask = NDArray[np.uint8]

IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm")
UNSTATED_RATE = 25.0  # frames per second
BLACK = 16  # channels up to this count as black: compression leaves a little noise in it


def read_image(path: Path) -> NDArray[np.uint8]:
    """Decode an image to RGB, turned upright by its EXIF tag; InputError if it cannot be."""
    return _read(path, "RGB")


def read_mask(path: Path, like: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Decode the mask of the image ``like``: any grey level above 127 is body.

    InputError if it cannot be decoded or has another size.
    """
    mask = _read(path, "L")
    check_size(path, mask, like.shape)
    return binary(mask)


def binary(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """255 where a mask is above 127, else 0."""
    return cv2.threshold(mask, 127, 255, cv2.THRESH_BINARY)[1]  # type: ignore[return-value]


def mask_of_black_background(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mask of an image whose background is black already; dark holes in the body are filled."""
    black = cv2.inRange(image, (0, 0, 0), (BLACK,) * 3)
    return filled(cv2.bitwise_not(black))  # type: ignore[arg-type]


def filled(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
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
    if (height, width) != (wanted_height, wanted_width):
        raise InputError(
            f"{path}: is {width} x {height} pixels, but {wanted_width} x {wanted_height} are "
            "expected; a mask has its image's size, and a static camera one size throughout"
        )


def fewest_frames(count: int) -> int:
    """Frames from which on a video of ``count`` is whole: some containers round their count."""
    return count - max(2, count // 50)


def frame_count(video: Path) -> int:
    """Number of frames of a video; InputError when it cannot be read."""
    with _opened(video) as capture:
        stated = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if stated > 0:
            return stated
        count = 0  # a stream whose header does not say
        while capture.grab():
            count += 1
        return count


def frame_rate(video: Path) -> float:
    """Frames per second, as the video states them; 0 where it does not."""
    with _opened(video) as capture:
        return float(capture.get(cv2.CAP_PROP_FPS))


def read_video(video: Path, wanted: Collection[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """``read_frames``, turned to RGB."""
    for index, frame in read_frames(video, wanted):
        yield index, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)  # type: ignore[misc]


def read_frames(
    video: Path, wanted: Collection[int], threads: int = 0
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield (index, BGR frame) of the wanted frames, one at a time; later ones are not decoded.

    Args:
        video: the file.
        wanted: indices of the frames.
        threads: threads of the decoder; 0 leaves that to it.

    Raises:
        InputError: the file is missing, not a video, or ends before its stated length.
    """
    count = frame_count(video)
    with _opened(video, threads) as capture:
        for index in range(min(count, max(wanted, default=-1) + 1)):
            if not capture.grab():
                if index >= fewest_frames(count):
                    return
                raise InputError(
                    f"{video}: ends after {index} of {count} frames; it is truncated, restore it"
                )
            if index in wanted:
                decoded, frame = capture.retrieve()
                if not decoded:
                    raise InputError(f"{video}: frame {index} cannot be decoded; restore the file")
                yield index, frame  # type: ignore[misc]


@contextmanager
def _opened(path: Path, threads: int = 0) -> Iterator[cv2.VideoCapture]:
    if not path.exists():
        raise InputError(f"{path}: not found; name an existing video")
    options = [cv2.CAP_PROP_N_THREADS, threads] if threads else []
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG if threads else cv2.CAP_ANY, options)
    if not capture.isOpened():
        raise InputError(f"{path}: cannot be decoded; give a video that OpenCV reads (H.264 .mp4)")
    try:
        yield capture
    finally:
        capture.release()


def decode(
    source: Path | BinaryIO,
    mode: str,
    formats: tuple[str, ...] | None = None,
    check: Callable[[Any], None] = lambda image: None,
) -> NDArray[np.uint8]:
    """(H, W[, 3]) pixels of an encoded image, turned upright by its EXIF tag.

    Args:
        source: file, or its bytes.
        mode: ``RGB`` or ``L``.
        formats: Pillow's names of the formats allowed; None: all.
        check: is called with the opened image before its pixels are decoded.
    """
    # Pillow, not OpenCV: it refuses truncated files, which OpenCV fills up with grey.
    from PIL import Image, ImageOps

    with Image.open(source, formats=formats) as image:
        check(image)
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I"):  # Pillow clips 16-bit grey to white: scale it instead
            upright = Image.fromarray((np.asarray(upright).clip(0, 65535) / 257).astype(np.uint8))
        return np.array(upright.convert(mode))


def _read(path: Path, mode: str) -> NDArray[np.uint8]:
    from PIL.Image import DecompressionBombError

    try:
        return decode(path, mode)
    except FileNotFoundError:
        raise InputError(f"{path}: not found; name an existing image") from None
    except (OSError, SyntaxError, ValueError, DecompressionBombError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(
            f"{path}: cannot be decoded ({reason}); replace or remove the file"
        ) from None
