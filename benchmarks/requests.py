"""Requests of every kind, good, bad and fuzzed, as an endpoint gets them; the seed decides all."""

import base64
import json
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.load import Call
from skelift.data.decoding import Limits
from skelift.inference.cropping import Query
from skelift.serving.settings import DEFAULT_NAME, MAX_REQUEST_BYTES

PLAIN = f"/predictions/{DEFAULT_NAME}"
V1 = f"/v1/models/{DEFAULT_NAME}:predict"
V2 = f"/v2/models/{DEFAULT_NAME}/infer"
RAW = {"Content-Type": "application/octet-stream"}
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}  # what curl says unless told
BOUNDARY = "a-line-of-no-image"
EXIF_ORIENTATION, LYING = 0x0112, 6
FORMATS = ("JPEG", "PNG", "WEBP")

ImageArray = NDArray[np.uint8]


@dataclass(frozen=True)
class Good:
    """A request, and the same questions for a predictor in this process."""

    call: Call
    queries: list[Query]


@dataclass(frozen=True)
class Bad:
    """A request that is to be refused: the way in which it is bad, and the statuses it may get.

    Attributes:
        rare: it is large, and enough if sent now and then.
        typed: whether the refusal says code, type and message.
    """

    way: str
    call: Call
    statuses: tuple[int, ...]
    rare: bool = False
    typed: bool = True


def good_requests(images: list[ImageArray]) -> list[Good]:
    """Every form of a request, for (S, S, 3) images of a body on black."""
    made = []
    for number, image in enumerate(images):
        jpeg, png, webp = (encoded(image, form) for form in FORMATS)
        mask = encoded((image.max(-1) > 16).astype(np.uint8) * np.uint8(255), "PNG")
        side = len(image)
        box = (0.1 * side, 0.05 * side, 0.8 * side, 0.9 * side)
        small = image[:: max(side // 96, 1), :: max(side // 96, 1)]
        lying = Image.Exif()
        lying[EXIF_ORIENTATION] = LYING
        turned = encoded(np.rot90(image).copy(), "JPEG", exif=lying)
        name = f"{number}"
        fields = {"mask": b64(mask), "box": list(box), "focal_px": 500.0, "name": name}
        made += [
            Good(Call(PLAIN, jpeg, headers=RAW), [Query(jpeg)]),
            Good(Call(PLAIN, webp), [Query(webp)]),
            Good(Call(PLAIN, turned, headers=RAW), [Query(turned)]),
            Good(Call(PLAIN, encoded(small, "BMP"), headers=RAW), [Query(encoded(small, "BMP"))]),
            Good(
                json_call(PLAIN, image=b64(png), **fields),
                [Query(png, mask, box, 500.0, name=name)],
            ),
            Good(
                form_call(image=jpeg, mask=mask, focal_px=b"321", name=name.encode()),
                [Query(jpeg, mask, focal_px=321.0, name=name)],
            ),
            Good(
                json_call(V1, instances=[b64(jpeg), {"b64": b64(png)}, {"image": b64(webp)}]),
                [Query(jpeg), Query(png), Query(webp)],
            ),
            Good(
                json_call(
                    V2,
                    inputs=[
                        {"name": "image", "datatype": "BYTES", "shape": [1], "data": [b64(png)]},
                        {"name": "box", "datatype": "FP32", "shape": [1, 4], "data": list(box)},
                    ],
                ),
                [Query(png, box=box)],
            ),
            Good(
                json_call(PLAIN, image=b64(encoded(small, "PNG")), background="remove"),
                [Query(encoded(small, "PNG"), background="remove")],
            ),
        ]
    return made


def bad_requests(image: ImageArray) -> list[Bad]:
    """Every way in which a request can be wrong."""
    jpeg, png = encoded(image, "JPEG"), encoded(image, "PNG")
    whole = b64(png)
    refused = (400,)

    def raw(body: bytes) -> Call:
        return Call(PLAIN, body, headers=RAW)

    def v2(**tensor: Any) -> Call:
        return json_call(V2, inputs=[{"name": "image", "datatype": "BYTES", **tensor}])

    empty_mask = encoded(np.zeros(image.shape[:2], np.uint8), "PNG")
    small_mask = encoded(np.zeros((9, 9), np.uint8), "PNG")
    too_many = [b64(encoded(image[:8, :8], "PNG"))] * 17
    large = bytes(Limits().bytes + 1)
    return [
        Bad("text renamed", raw(b"no image, whatever its name"), (415,)),
        Bad("GIF", raw(encoded(image, "GIF")), (415,)),
        Bad("truncated JPEG", raw(jpeg[: len(jpeg) // 2]), refused),
        Bad("truncated PNG", raw(png[: len(png) // 2]), refused),
        Bad("truncated WebP", raw(encoded(image, "WEBP")[:-200]), refused),
        Bad("121 megapixels", raw(bomb(11_000, 11_000)), (413,)),
        Bad("400 megapixels", raw(bomb(20_000, 20_000)), (413,)),
        Bad("one long row", raw(bomb(9_000, 1)), (413,)),
        Bad("empty body", raw(b""), refused),
        Bad("GET", Call(PLAIN, method="GET"), (400, 405)),
        Bad("PUT", Call(PLAIN, method="PUT"), (400, 405)),
        Bad("DELETE", Call(PLAIN, method="DELETE"), (400, 405)),
        Bad("no model of this name", Call("/predictions/nobody", jpeg, headers=RAW), (404,)),
        Bad("no version of this name", Call(f"{PLAIN}/9.9", jpeg, headers=RAW), (404,)),
        Bad("broken JSON", Call(PLAIN, b'{"image": "', headers=JSON), refused),
        Bad("not a number", Call(PLAIN, b'{"focal_px": NaN}', headers=JSON), refused),
        Bad("deep JSON", Call(PLAIN, b"[" * 100_000, headers=JSON), refused),
        Bad("other JSON", json_call(PLAIN, photo=whole), refused),
        Bad("no base64", json_call(PLAIN, image="***"), refused),
        Bad("unknown field", json_call(PLAIN, image=whole, colour="red"), refused),
        Bad("box of three", json_call(PLAIN, image=whole, box=[1, 2, 3]), refused),
        Bad("box off the image", json_call(PLAIN, image=whole, box=[9e6, 0, 9, 9]), refused),
        Bad("negative focal length", json_call(PLAIN, image=whole, focal_px=-1), refused),
        Bad("unknown background", json_call(PLAIN, image=whole, background="blur"), refused),
        Bad("mask of another size", json_call(PLAIN, image=whole, mask=b64(small_mask)), refused),
        Bad("empty mask", json_call(PLAIN, image=whole, mask=b64(empty_mask)), refused),
        Bad("form without an image", form_call(name=b"nobody"), refused),
        Bad("v1: no image", json_call(V1, instances=[]), refused),
        Bad("v1: one of two broken", json_call(V1, instances=[whole, b64(jpeg[:200])]), refused),
        Bad("v1: 17 images", json_call(V1, instances=too_many), (413,)),
        Bad("v2: binary tensor", v2(shape=[1]), refused),
        Bad("v2: no image", json_call(V2, inputs=[{"name": "x", "data": [1]}]), refused),
        Bad("v2: no list", v2(shape=[1], data=whole), refused),
        Bad("explanations", Call(f"/explanations/{DEFAULT_NAME}", jpeg, headers=RAW), (501,)),
        Bad("over 10 MiB", raw(large), (413,), rare=True),
        # TorchServe refuses these before any handler sees them; docs/serving.md says so.
        Bad(
            "over the server's limit",
            raw(bytes(MAX_REQUEST_BYTES + 1)),
            (413,),
            rare=True,
            typed=False,
        ),
        Bad("bytes as a form", Call(PLAIN, png, headers=FORM), (400, 500), typed=False),
    ]


def fuzzed_request(images: list[ImageArray], rng: np.random.Generator) -> Call:
    """An image cut off or with flipped bits, a bomb, or JSON of the same kind."""
    image = images[rng.integers(len(images))]
    body = encoded_once(image.tobytes(), len(image), FORMATS[rng.integers(len(FORMATS))])
    ways: list[Callable[[bytes, np.random.Generator], bytes]] = [cut_off, flip_bits]
    kind = rng.integers(4)
    if kind < 2:
        return Call(PLAIN, ways[kind](body, rng), headers=RAW)
    if kind == 2:
        return Call(PLAIN, bomb(*map(int, rng.integers(8193, 2**31, 2))), headers=RAW)
    fields = json.dumps({"instances": [{"image": b64(body), "box": [0, 0, 50, 50]}]}).encode()
    return Call(PLAIN, ways[rng.integers(2)](fields, rng), headers=JSON)


def cut_off(body: bytes, rng: np.random.Generator) -> bytes:
    """The first part of a body, at least a byte."""
    return body[: rng.integers(1, len(body))]


def flip_bits(body: bytes, rng: np.random.Generator) -> bytes:
    """A body with 1 to 64 flipped bits; half of the time in its first 200 bytes."""
    changed = np.frombuffer(body, np.uint8).copy()
    reach = min(len(body), 200) if rng.random() < 0.5 else len(body)
    places = rng.integers(reach, size=rng.integers(1, 65))
    np.bitwise_xor.at(changed, places, np.uint8(1) << rng.integers(8, size=len(places), dtype="u1"))
    return changed.tobytes()


@cache
def bomb(width: int, height: int) -> bytes:
    """A PNG of few bytes that says to have so many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(10_000))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def json_call(path: str, **fields: Any) -> Call:
    """Fields as JSON."""
    return Call(path, json.dumps(fields).encode(), headers=JSON)


def form_call(**fields: bytes) -> Call:
    """Fields as a multipart form, images as files."""
    parts = []
    for name, value in fields.items():
        file = '; filename="x"' if name in ("image", "mask") else ""
        header = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        parts.append(header.encode() + value + b"\r\n")
    body = b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
    headers: Mapping[str, str] = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return Call(PLAIN, body, headers=headers)


def encoded(image: ImageArray, form: str, **options: Any) -> bytes:
    """An image as a file of one of Pillow's formats."""
    stream = BytesIO()
    Image.fromarray(image).save(stream, form, **options)
    return stream.getvalue()


@cache
def encoded_once(pixels: bytes, side: int, form: str) -> bytes:
    """``encoded``, remembered."""
    return encoded(np.frombuffer(pixels, np.uint8).reshape(side, side, 3), form)


def b64(data: bytes) -> str:
    """Base64 text."""
    return base64.b64encode(data).decode()
