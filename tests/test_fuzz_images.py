"""Damaged images, masks and videos give a result or one line that names the file.

The environment variable SKELIFT_FUZZ is the number of examples per test.
"""

import os
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from test_images import CASES, HEIGHT, WIDTH, colour, encoded, exif
from test_videos import frames, matroska, written

from skelift.data.decoding import Limits, decode_image, decode_mask
from skelift.data.images import read_mask, read_masked_image
from skelift.data.mask_checks import mask_fault
from skelift.data.videos import frame_times, read_video
from skelift.errors import InputError, RequestError

some = settings(
    max_examples=int(os.environ.get("SKELIFT_FUZZ", "40")),
    deadline=None,
    derandomize="SKELIFT_FUZZ" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
photo = Image.fromarray(colour())
IMAGES = {
    **{name: case[0] for name, case in CASES.items()},
    "JPEG": encoded(photo, "JPEG", exif=exif(6)),
    "CMYK": encoded(photo.convert("CMYK"), "JPEG"),
    "BMP": encoded(photo, "BMP"),
    "LZW": encoded(photo, "TIFF", compression="tiff_lzw"),
}


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """A file cut off, with bytes changed, left out or put in; mostly in its header."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 6))):
        limit = min(len(content), draw(st.sampled_from([64, 512, len(whole)])))
        at = draw(st.integers(0, max(limit - 1, 0)))
        new = draw(st.binary(max_size=8))
        replaced = draw(st.sampled_from([0, 1, len(new), 4, 40]))
        content[at : at + replaced] = new
    return bytes(content[: draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))])


_HELD = tempfile.TemporaryDirectory(prefix="skelift-fuzz-")  # removed when the tests end
FOLDER = Path(_HELD.name)
NUMBERS = count()


def read_or_named(content: bytes, suffix: str, read: Callable[[Path], Any]) -> Any:
    """What is read of a file of that content; None where it is refused by its name."""
    file = FOLDER / f"file-{next(NUMBERS)}{suffix}"
    file.write_bytes(content)
    said = f"{file}: "
    try:
        return read(file)
    except InputError as error:
        said = str(error)
    finally:
        file.unlink()
        assert said.startswith(f"{file}: ")
        assert "\n" not in said


def answered(decode: Callable[[], Any]) -> Any:
    """What a server decodes; None where it refuses."""
    status = 400
    try:
        return decode()
    except RequestError as error:
        status = error.status
    finally:
        assert 400 <= status < 500


@some
@given(st.sampled_from(sorted(IMAGES)).flatmap(lambda kind: damaged(IMAGES[kind])))
def test_damaged_image(content: bytes) -> None:
    result = read_or_named(content, ".png", read_masked_image)
    limits = Limits(formats=(*Limits().formats, "TIFF"))
    answer = answered(lambda: decode_image(content, limits))
    if result is None:
        assert answer is None
        return
    image, mask = result
    assert image.dtype == np.uint8
    assert image.shape[2:] == (3,)
    assert mask is None or (mask.shape == image.shape[:2] and set(np.unique(mask)) <= {0, 255})
    if answer is not None:  # and not too large for a server
        np.testing.assert_array_equal(answer[0], image)


@some
@given(st.sampled_from(sorted(IMAGES)).flatmap(lambda kind: damaged(IMAGES[kind])))
def test_damaged_mask(content: bytes) -> None:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    mask = read_or_named(content, ".png", lambda file: read_mask(file, like=image))
    if mask is not None:
        assert mask.shape == (HEIGHT, WIDTH)
        assert isinstance(mask_fault(mask), str)
    answered(lambda: decode_mask(content, image, Limits()))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("videos")
    made = [
        written(folder / "a.avi", frames(6)),
        written(folder / "a.mp4", frames(6), "mp4v"),
        written(folder / "a.webm", frames(6), "VP80"),
        written(folder / "a.ts", frames(6), "mp4v"),
        matroska(folder / "a.mkv", frames(6), range(0, 300, 50), 0.3),
    ]
    return {file.suffix: file.read_bytes() for file in made}


@some
@given(st.data())
def test_damaged_video(videos: dict[str, bytes], data: st.DataObject) -> None:
    suffix = data.draw(st.sampled_from(sorted(videos)))
    content = data.draw(damaged(videos[suffix]))

    def read(file: Path) -> list[float]:
        times = frame_times(file)
        assert len(list(read_video(file, range(len(times))))) == len(times)
        return list(times)

    times = read_or_named(content, suffix, read)
    assert times is None or (np.isfinite(times).all() and (np.diff(times) > 0).all())
