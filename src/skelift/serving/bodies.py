"""Request bodies in, answer bodies out: raw images, forms, plain JSON, KServe v1 and v2."""

import base64
import binascii
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, get_args

from skelift.errors import RequestError
from skelift.inference.cropping import KEEP, Box, Facing, Query

MOST_IMAGES = 16  # of one request
LONGEST_NAME = 256  # characters that a request may have repeated to it
FIELDS = ("image", "mask", "box", "focal_px", "background", "name", "facing")

_NUMBER_TYPES = ("FP32", "FP64", "INT32", "INT64")  # of KServe v2
_MOST_AXES = 4

Form = Literal["plain", "v2"]
Parts = Mapping[str, Any]


@dataclass(frozen=True)
class Asked:
    """What a request asks for."""

    queries: list[Query]
    form: Form = "plain"  # of the answer; ``plain`` is KServe v1's too
    id: str = ""  # comes back in the answer


@contextmanager
def located(number: int, count: int) -> Iterator[None]:
    """Say in a RequestError which of several images it is about."""
    try:
        yield
    except RequestError as fault:
        if count == 1:
            raise
        raise RequestError(fault.status, fault.kind, f"image {number}: {fault}") from None


def parse(parts: Parts) -> Asked:
    """Read a request; RequestError says what is wrong with it.

    Args:
        parts: the body under ``body`` or ``data``, or the fields of a form. Values are bytes, or
            JSON that the server has parsed already.
    """
    if set(parts) & set(FIELDS):
        return Asked([_from_form(parts)])
    body = parts.get("body", parts.get("data"))
    if parts and body is None:
        _check_fields(parts)
    if isinstance(body, str):
        body = _file(body)
    if body is None or (isinstance(body, bytes | bytearray) and not body.strip()):
        raise RequestError(400, "empty_body", "the body is empty; POST an image or JSON")
    if not isinstance(body, bytes | bytearray):
        return _from_json(body)
    if body.lstrip()[:1] in (b"{", b"["):
        return _from_json(_load(bytes(body)))
    return Asked([Query(bytes(body))])


def v2_answer(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The plain answer as KServe v2 has it: numbers as flat tensors, the rest as parameters."""
    entries = answer["predictions"]
    tensors = ("joints_3d_mm", "joints_2d_px", "joints_2d_spread_px")
    others = [{k: v for k, v in entry.items() if k not in tensors} for entry in entries]
    header = {k: v for k, v in answer.items() if k not in ("predictions", "id")}
    return {
        "model_name": answer["model"]["name"],
        "model_version": answer["model"]["version"],
        "id": answer["id"],
        # The protocol's parameters are strings, numbers or booleans.
        "parameters": {"answer": json.dumps(header | {"predictions": others}, allow_nan=False)},
        "outputs": [_tensor(name, [entry[name] for entry in entries]) for name in tensors],
    }


def _tensor(name: str, nested: list[Any]) -> dict[str, Any]:
    shape, flat = [len(nested)], nested
    while isinstance(flat[0], list):
        shape.append(len(flat[0]))
        flat = [value for row in flat for value in row]
    return {"name": name, "datatype": "FP32", "shape": shape, "data": flat}


def _load(body: bytes) -> Any:
    try:
        return json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise RequestError(400, "broken_json", "the body is not valid JSON") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _from_json(body: Any) -> Asked:
    if not isinstance(body, dict):
        raise _malformed("the body is one JSON object")
    name = _text(body.get("id", ""), "id")
    if "inputs" in body:
        return Asked(_from_rows(_rows(body["inputs"])), "v2", name)
    if "instances" in body:
        return Asked(_from_rows(_listed(body["instances"], "instances")), id=name)
    return Asked(_from_rows([{key: value for key, value in body.items() if key != "id"}]), id=name)


def _from_rows(rows: list[Any]) -> list[Query]:
    queries = []
    for number, fields in enumerate(rows):
        with located(number, len(rows)):
            queries.append(_from_fields(fields))
    return queries


def _from_fields(fields: Any) -> Query:
    """A query from an object with ``FIELDS``, or the image alone."""
    if isinstance(fields, str) or (isinstance(fields, dict) and set(fields) == {"b64"}):
        fields = {"image": fields}
    if not isinstance(fields, dict) or "image" not in fields:
        raise _malformed("an image stands in base64 under `image`")
    _check_fields(fields)
    mask = fields.get("mask")
    return Query(
        image=_bytes(fields["image"], "image"),
        mask=None if mask is None else _bytes(mask, "mask"),
        box=_box(fields.get("box")),
        focal_px=_focal(fields.get("focal_px")),
        background=_text(fields.get("background", KEEP), "background"),
        name=_text(fields.get("name", ""), "name"),
        facing=_facing(fields.get("facing")),
    )


def _check_fields(names: Iterable[str]) -> None:
    if set(names) - set(FIELDS):
        raise RequestError(400, "unknown_field", f"fields are {', '.join(FIELDS)}")


def _from_form(form: Mapping[str, Any]) -> Query:
    """A query from the fields of a multipart form: images as files, the rest as text."""
    _check_fields(form)
    if not form.get("image"):
        raise RequestError(400, "empty_image", "the form has no image under `image`")
    read: dict[str, Callable[[Any], Any]] = dict.fromkeys(FIELDS, _text_field)
    read |= {"image": _file, "mask": _file, "box": _json_field, "focal_px": _json_field}
    return _from_fields({key: read[key](value) for key, value in form.items()})


def _rows(inputs: Any) -> list[dict[str, Any]]:
    """The fields of each image from KServe v2's inputs: one tensor per field."""
    tensors: dict[str, Sequence[Any]] = {}
    for tensor in _listed(inputs, "inputs"):
        if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
            raise _malformed("inputs are objects with name, datatype, shape and data")
        if "data" not in tensor:
            raise RequestError(
                400, "no_data", "inputs carry `data` in JSON; binary tensors are not supported"
            )
        name = tensor["name"][:LONGEST_NAME]
        if name in tensors:
            raise _malformed(f"{name} is there twice in inputs")
        tensors[name] = _listed(tensor["data"], name)
        _check_tensor(name, tensor)
    if "image" not in tensors:
        raise _malformed("one input is named image, datatype BYTES, in base64")
    count = len(tensors["image"])
    if "box" in tensors and len(tensors["box"]) == 4 * count:
        flat = tensors["box"]
        tensors["box"] = [flat[4 * row : 4 * row + 4] for row in range(count)]
    if any(len(data) != count for data in tensors.values()):
        raise _malformed("all inputs have as many rows as there are images")
    return [{name: data[row] for name, data in tensors.items()} for row in range(count)]


def _check_tensor(name: str, tensor: Mapping[str, Any]) -> None:
    """RequestError where a tensor says of its data what is not so."""
    kinds = _NUMBER_TYPES if name in ("box", "focal_px") else ("BYTES",)
    if tensor.get("datatype", kinds[0]) not in kinds:
        raise _malformed(f"{name} has datatype {' or '.join(kinds)}")
    size = sum(len(row) if isinstance(row, list) else 1 for row in tensor["data"])
    shape = tensor.get("shape", [size])
    whole = isinstance(shape, list) and all(type(n) is int and 0 < n <= size for n in shape)
    if not (whole and 0 < len(shape) <= _MOST_AXES and math.prod(shape) == size):
        raise _malformed(f"{name} has a shape of {size} values, as in its data")


def _listed(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise _malformed(f"{name} is a list with at least one entry")
    if len(value) > 4 * MOST_IMAGES or (name != "box" and len(value) > MOST_IMAGES):
        raise RequestError(413, "too_many_images", f"a request has at most {MOST_IMAGES} images")
    return value


def _bytes(value: Any, name: str) -> bytes:
    if isinstance(value, bytes):
        return value  # a file of a form
    if isinstance(value, dict) and set(value) == {"b64"}:
        value = value["b64"]
    if not isinstance(value, str):
        raise _malformed(f"{name} is an image in base64")
    if value.startswith("data:"):
        value = value.partition(",")[2]
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise RequestError(400, "broken_base64", f"{name} is not valid base64") from None


def _file(value: Any) -> bytes:
    """What a server hands over as bytes, or as the text that it took them for."""
    if isinstance(value, str):
        return value.encode(errors="replace")
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    raise _malformed("the fields of a form are files and text")


def _text_field(value: Any) -> str:
    try:
        return value if isinstance(value, str) else _file(value).decode()
    except UnicodeDecodeError:
        raise _malformed("the text fields of a form are UTF-8") from None


def _json_field(value: Any) -> Any:
    return _load(_file(_text_field(value)))


def _box(value: Any) -> Box | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 4 or not all(map(_is_number, value)):
        raise RequestError(400, "bad_box", "box must be [x, y, width, height] in pixels")
    x, y, width, height = map(float, value)
    return x, y, width, height


def _focal(value: Any) -> float | None:
    if value is not None and not _is_number(value):
        raise RequestError(400, "bad_focal", "focal_px is a number of pixels")
    return None if value is None else float(value)


def _facing(value: Any) -> Facing | None:
    if value is not None and value not in get_args(Facing):
        raise RequestError(400, "bad_facing", f"facing must be {' or '.join(get_args(Facing))}")
    return value


def _is_number(value: Any) -> bool:
    # Whole numbers of hundreds of digits are JSON too, and no floats.
    return type(value) in (int, float) and abs(value) < 1e9


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_NAME:
        raise _malformed(f"{name} is a text of at most {LONGEST_NAME} characters")
    return value


def _malformed(message: str) -> RequestError:
    return RequestError(400, "malformed_request", message)
