"""Every kind of image and mask file is decoded alike, for data sets, predictions and servers."""

import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from skelift.data.decoding import Limits, decode_image, decode_mask
from skelift.data.images import read_image, read_mask, read_masked_image
from skelift.errors import InputError, RequestError

HEIGHT, WIDTH = 24, 36
Pixels = NDArray[np.uint8]


def grey() -> Pixels:
    """(24, 36) levels from 0 to 255 that no turn or mirror image leaves alone."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return ((7 * x + 53 * y) % 256).astype(np.uint8)


def colour() -> Pixels:
    return np.stack([grey(), np.roll(grey(), 5, 1), 255 - grey()], axis=-1)


def alpha() -> Pixels:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[4:20, 6:18] = 255
    mask[4, 6:18] = 127  # counts as background, and 128 as body
    mask[5, 6:18] = 128
    return mask


def body() -> Pixels:
    return (alpha() > 127) * np.uint8(255)


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    stream = BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def grey_16(levels: NDArray[np.uint16], form: str = "PNG") -> bytes:
    return encoded(Image.fromarray(levels), form)


def png_16(channels: NDArray[np.uint16], colour_type: int) -> bytes:
    """A PNG of 16 bits per channel, which Pillow cannot write but for grey."""
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in channels)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, colour_type, 0, 0, 0)
    chunks = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def wide(levels: Pixels) -> NDArray[np.uint16]:
    """The same levels in 16 bits, with other lower bits."""
    return (levels.astype(np.uint16) << 8) + (levels // 3)


def palette() -> bytes:
    """Entry 0 is transparent, though not black."""
    image = Image.fromarray((body() > 0).astype(np.uint8), "P")
    image.putpalette([200, 10, 10, 10, 220, 30])
    return encoded(image, transparency=bytes([0, 255]))


def two_colours(low: tuple[int, int, int], high: tuple[int, int, int]) -> Pixels:
    return np.where(body()[..., None] > 0, np.uint8(high), np.uint8(low))


def white_is_zero() -> bytes:
    return encoded(Image.fromarray(65535 - wide(grey())), "TIFF", tiffinfo={262: 0})


rgba = np.dstack([colour(), alpha()])
Case = tuple[bytes, Pixels, Pixels | None]  # file, RGB, mask of its alpha
CASES: dict[str, Case] = {
    "grey": (encoded(Image.fromarray(grey())), np.dstack([grey()] * 3), None),
    "grey of 16 bits": (grey_16(wide(grey())), np.dstack([grey()] * 3), None),
    "TIFF of 16 bits": (grey_16(wide(grey()), "TIFF"), np.dstack([grey()] * 3), None),
    "TIFF of 16 bits, white is 0": (white_is_zero(), np.dstack([grey()] * 3), None),
    "TIFF": (encoded(Image.fromarray(colour()), "TIFF"), colour(), None),
    "RGB of 16 bits": (png_16(wide(colour()).reshape(HEIGHT, -1), 2), colour(), None),
    "RGBA of 16 bits": (png_16(wide(rgba).reshape(HEIGHT, -1), 6), colour(), body()),
    "grey and alpha": (
        encoded(Image.fromarray(np.dstack([grey(), alpha()]), "LA")),
        np.dstack([grey()] * 3),
        body(),
    ),
    "RGBA": (encoded(Image.fromarray(rgba)), colour(), body()),
    "RGBA as TIFF": (encoded(Image.fromarray(rgba), "TIFF"), colour(), body()),
    "RGBA as WebP": (
        encoded(Image.fromarray(rgba), "WEBP", lossless=True, exact=True), colour(), body()
    ),
    "opaque RGBA": (
        encoded(Image.fromarray(np.dstack([colour(), np.full_like(grey(), 255)]))), colour(), None
    ),
    "palette": (palette(), two_colours((200, 10, 10), (10, 220, 30)), body()),
    "one bit": (
        encoded(Image.fromarray(body()).convert("1")), two_colours((0,) * 3, (255,) * 3), None
    ),
    "colour key": (
        encoded(Image.fromarray(two_colours((1, 2, 3), (9, 9, 9))), transparency=(1, 2, 3)),
        two_colours((1, 2, 3), (9, 9, 9)),
        body(),
    ),
    "grey key of 16 bits": (
        encoded(Image.fromarray(wide(body() // 2 + 5)), transparency=int(wide(np.uint8([5]))[0])),
        two_colours((5,) * 3, (132,) * 3),
        body(),
    ),
    "colour profile": (
        encoded(Image.fromarray(colour()), icc_profile=b"unread" * 30), colour(), None
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_images_of_any_kind_are_read_alike(case: str, tmp_path: Path) -> None:
    content, pixels, mask = CASES[case]
    file = tmp_path / ("a.tif" if "TIFF" in case else "a.png")
    file.write_bytes(content)
    formats = (*Limits().formats, "TIFF")
    for image, own in (read_masked_image(file), decode_image(content, Limits(formats=formats))):
        np.testing.assert_array_equal(image, pixels)
        assert (own is None) == (mask is None)
        assert own is None or np.array_equal(own, mask)
    np.testing.assert_array_equal(read_image(file), pixels)


def test_cmyk_is_read_as_colours(tmp_path: Path) -> None:
    image = Image.fromarray(np.full((16, 16, 3), (250, 40, 40), np.uint8)).convert("CMYK")
    content = encoded(image, "JPEG", quality=95)
    (tmp_path / "a.jpg").write_bytes(content)
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg")[8, 8], (250, 40, 40), atol=8)
    np.testing.assert_array_equal(
        decode_image(content, Limits())[0], read_image(tmp_path / "a.jpg")
    )


@pytest.mark.parametrize(
    "content",
    [
        encoded(Image.fromarray(alpha())),
        grey_16(wide(alpha())),
        encoded(Image.fromarray(np.dstack([np.full_like(alpha(), 255), alpha()]), "LA")),
        encoded(Image.fromarray(np.dstack([colour(), alpha()]))),
        encoded(Image.fromarray(body()).convert("1")),
        encoded(Image.fromarray(alpha()), "TIFF"),
    ],
    ids=["grey", "16 bits", "grey and alpha", "RGBA", "one bit", "TIFF"],
)
def test_mask_is_alpha_or_bright(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.png").write_bytes(content)
    limits = Limits(formats=(*Limits().formats, "TIFF"))
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", like=colour()), body())
    np.testing.assert_array_equal(decode_mask(content, colour(), limits), body())


@pytest.mark.parametrize("kind", ["photo", "cut-out", "coloured"])
def test_a_picture_is_no_mask(kind: str, tmp_path: Path) -> None:
    inside = body()[..., None] > 0
    picture = {
        "photo": colour(),
        "cut-out": np.where(inside, colour(), 0).astype(np.uint8),  # on black
        "coloured": np.where(inside, np.uint8([0, 255, 0]), 0).astype(np.uint8),
    }[kind]
    content = encoded(Image.fromarray(picture))
    (tmp_path / "m.png").write_bytes(content)
    with pytest.raises(InputError, match=r"m\.png: is no mask: .* white and all else in black"):
        read_mask(tmp_path / "m.png", like=colour())
    with pytest.raises(RequestError, match="the mask is no mask") as error:
        decode_mask(content, colour(), Limits())
    assert error.value.status == 400


def test_soft_edges_and_compression_leave_a_mask_one(tmp_path: Path) -> None:
    sharp = np.zeros((200, 160), np.uint8)
    sharp[40:160, 60:100] = 255
    soft = Image.fromarray(sharp).resize((40, 50), Image.Resampling.BICUBIC)
    for name, content in {
        "soft.png": encoded(soft),
        "soft.jpg": encoded(soft.convert("RGB"), "JPEG", quality=40),
    }.items():
        (tmp_path / name).write_bytes(content)
        mask = read_mask(tmp_path / name, like=np.zeros((50, 40, 3), np.uint8))
        assert abs(np.count_nonzero(mask) - 30 * 10) < 30


# EXIF.

TURNS: dict[int, Callable[[Pixels], Pixels]] = {  # EXIF 2.32, 4.6.4, tag 274
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: np.rot90,
}


def exif(orientation: int, *odd: bytes) -> bytes:
    """A TIFF directory with an orientation, and further 12-byte entries as they are."""
    entries = [struct.pack("<HHII", 0x0112, 3, 1, orientation), *odd]
    body = (
        struct.pack("<H", len(entries))
        + b"".join(sorted(entries, key=lambda entry: entry[1::-1]))
        + bytes(4)
    )
    return b"Exif\0\0II*\0\x08\0\0\0" + body


@pytest.mark.parametrize("form", ["PNG", "TIFF", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", TURNS)
def test_images_are_turned_upright(orientation: int, form: str, tmp_path: Path) -> None:
    tag = Image.Exif()
    tag[0x0112] = orientation
    options = {"quality": 100} if form == "JPEG" else {"lossless": True} if form == "WEBP" else {}
    plain = encoded(Image.fromarray(colour()), form, **options)
    turned = encoded(Image.fromarray(colour()), form, exif=tag, **options)
    (tmp_path / "a").write_bytes(plain)
    (tmp_path / "b").write_bytes(turned)
    expected = TURNS[orientation](read_image(tmp_path / "a"))
    np.testing.assert_array_equal(read_image(tmp_path / "b"), expected)


def test_alpha_turns_with_its_image(tmp_path: Path) -> None:
    tag = Image.Exif()
    tag[0x0112] = 6
    Image.fromarray(np.dstack([colour(), alpha()])).save(tmp_path / "a.png", exif=tag)
    _, mask = read_masked_image(tmp_path / "a.png")
    np.testing.assert_array_equal(mask, np.rot90(body(), -1))


ODD = {
    "fraction over 0": struct.pack("<HHII", 0x011A, 5, 1, 0xFFFF),
    "offset beyond the file": struct.pack("<HHII", 0x829A, 5, 1, 0x7FFFFFFF),
    "text for a number": struct.pack("<HHI4s", 0x0100, 2, 4, b"abc\0"),
    "unknown type": struct.pack("<HHII", 0x9000, 77, 3, 1),
    "directory that is none": struct.pack("<HHII", 0x8769, 2, 4, 5),
    "directory of itself": struct.pack("<HHII", 0x8769, 4, 1, 8),
    "broken tag before it": struct.pack("<HHII", 0x010E, 2, 0x40000000, 0xFFFFFF),
    "many values": struct.pack("<HHII", 0x9004, 4, 0x40000000, 4),
}


@pytest.mark.parametrize("odd", ODD)
def test_odd_tags_do_not_matter(odd: str, tmp_path: Path) -> None:
    image = Image.fromarray(colour())
    plain = encoded(image, "JPEG", quality=100)
    marked = encoded(image, "JPEG", quality=100, exif=exif(6, ODD[odd]))
    (tmp_path / "a.jpg").write_bytes(plain)
    (tmp_path / "b.jpg").write_bytes(marked)
    expected = np.rot90(read_image(tmp_path / "a.jpg"), -1)
    np.testing.assert_array_equal(read_image(tmp_path / "b.jpg"), expected)
    np.testing.assert_array_equal(decode_image(marked, Limits())[0], expected)


def test_broken_exif_turns_nothing(tmp_path: Path) -> None:
    image = Image.fromarray(colour())
    image.save(tmp_path / "a.jpg", quality=100)
    for number, broken in enumerate((b"Exif\0\0", b"Exif\0\0MM", b"Exif\0\0II*\0\xff\0\0\0", b"x")):
        file = tmp_path / f"{number}.jpg"
        image.save(file, quality=100, exif=broken)
        np.testing.assert_array_equal(read_image(file), read_image(tmp_path / "a.jpg"))


# What is not read.


def test_several_images_in_one_file_are_refused(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.roll(colour(), i, 0)) for i in range(3)]
    for name in ("a.tif", "a.png", "a.webp"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
        with pytest.raises(InputError, match=rf"{name}: holds 3 images; save them as"):
            read_image(tmp_path / name)
    with pytest.raises(RequestError, match="the image holds 3 images") as error:
        decode_image((tmp_path / "a.png").read_bytes(), Limits())
    assert error.value.status == 415


def test_first_image_of_a_phones_jpeg_is_the_photo(tmp_path: Path) -> None:
    preview = Image.fromarray(colour()[::2, ::2])
    Image.fromarray(colour()).save(
        tmp_path / "a.jpg", "MPO", save_all=True, append_images=[preview], quality=100
    )
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg").shape, colour().shape)
    image, _ = decode_image((tmp_path / "a.jpg").read_bytes(), Limits())
    np.testing.assert_array_equal(image, read_image(tmp_path / "a.jpg"))


def test_levels_without_a_known_range_are_refused(tmp_path: Path) -> None:
    for number, kind in enumerate((np.float32, np.int32)):
        Image.fromarray(grey().astype(kind)).save(tmp_path / f"{number}.tif")
        with pytest.raises(InputError, match=rf"{number}\.tif: has 32 bits per channel; save it"):
            read_image(tmp_path / f"{number}.tif")


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_twelve_bits_in_sixteen_are_refused(form: str, tmp_path: Path) -> None:
    levels = np.zeros((9, 9), np.uint16)
    for brightest, refused in ((0, False), (1, True), (4095, True), (4096, False)):
        levels[4, 4] = brightest
        file = tmp_path / f"{brightest}.{form.lower()}"
        file.write_bytes(grey_16(levels, form))
        if not refused:
            assert read_image(file).max() == brightest >> 8
            continue
        with pytest.raises(InputError, match=rf"{file.name}: .* above {brightest} of 65535.* with"):
            read_image(file)
        with pytest.raises(RequestError, match=f"no level above {brightest}"):
            decode_image(file.read_bytes(), Limits(formats=("PNG", "TIFF")))


def test_program_that_draws_an_image_is_never_started(tmp_path: Path) -> None:
    """Pillow hands PostScript to Ghostscript."""
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n")
    with pytest.raises(InputError, match=r"a\.png: cannot be decoded"):
        read_image(tmp_path / "a.png")
