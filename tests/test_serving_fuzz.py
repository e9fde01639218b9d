"""Damaged requests and answers: a result, or one line that says what is wrong; nothing else."""

import base64
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_run import random_model

from skelift.data.decoding import Limits
from skelift.errors import InputError
from skelift.http import read_object
from skelift.inference.predictor import Predictor
from skelift.serving.bodies import FIELDS
from skelift.serving.client import Client
from skelift.serving.service import Service

FUZZED = settings(
    max_examples=int(os.environ.get("SKELIFT_FUZZ_EXAMPLES", "40")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    model = random_model(tmp_path_factory.mktemp("fuzz") / "model", heads=["front_back"])
    return Service(Predictor(model, limits=Limits(bytes=50_000, pixels=40_000, side=400)))


@pytest.fixture(scope="module")
def answer(service: Service) -> dict[str, Any]:
    """A right one."""
    content: dict[str, Any] = json.loads(service([{"body": picture()}])[0].body)
    return content


def picture(form: str = "PNG", mode: str = "RGB", side: int = 24) -> bytes:
    """A bright square on black."""
    pixels = np.zeros((side, side, 3), np.uint8)
    pixels[side // 4 : -side // 4, side // 4 : -side // 4] = (200, 120, 90)
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, form)
    return stream.getvalue()


def text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


IMAGES = st.one_of(
    st.sampled_from(FORMATS).map(picture),
    st.sampled_from(("L", "P", "1", "RGBA", "LA", "I;16")).map(lambda mode: picture(mode=mode)),
    st.sampled_from((1, 2, 399, 401)).map(lambda side: picture(side=side)),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(10**300, 10**310),
    st.floats(),
    st.text(max_size=20),
    st.characters(categories=["Cs"]),  # half a surrogate pair
    IMAGES.map(text_of),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(st.one_of(st.sampled_from((*FIELDS, "b64")), st.text(max_size=5)), inner),
    ),
    max_leaves=8,
)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Bytes with pieces replaced, inserted, cut out or doubled."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        stop = min(len(data), start + draw(st.integers(0, 40)))
        kind = draw(st.sampled_from(("flip", "cut", "insert", "double", "end")))
        if kind == "flip" and start < len(data):
            data[start] ^= draw(st.integers(1, 255))
        elif kind == "cut":
            del data[start:stop]
        elif kind == "insert":
            data[start:start] = draw(st.binary(max_size=20))
        elif kind == "double":
            data[start:start] = data[start:stop]
        elif kind == "end":
            del data[start:]
    return bytes(data)


@st.composite
def changed(draw: st.DrawFn, content: Any) -> Any:
    """JSON with some of its values replaced, left out or renamed."""
    if draw(st.integers(0, 7)) == 0:
        return draw(JSON)
    if isinstance(content, dict):
        kept = {k: draw(changed(v)) for k, v in content.items() if draw(st.integers(0, 15))}
        if draw(st.integers(0, 9)) == 0:
            kept[draw(st.one_of(st.sampled_from(FIELDS), st.text(max_size=5)))] = draw(JSON)
        return kept
    if isinstance(content, list) and len(content) < 20:
        return [draw(changed(value)) for value in content if draw(st.integers(0, 15))]
    return content


@st.composite
def questions(draw: st.DrawFn) -> Any:
    """A right question in one of the forms of JSON."""
    image, mask = text_of(draw(IMAGES)), text_of(draw(IMAGES))
    fields = {
        "image": image,
        "mask": mask,
        "box": [4, 4, 16, 16],
        "focal_px": 30.5,
        "background": "remove",
        "name": "a",
        "facing": "front",
    }
    chosen = draw(st.sets(st.sampled_from(FIELDS[1:])))
    one = {name: fields[name] for name in ("image", *sorted(chosen))}
    tensor = {"datatype": "BYTES", "shape": [1]}
    forms: list[Any] = [
        one,
        one | {"id": "b"},
        {"instances": [image, {"b64": image}, one]},
        {"inputs": [tensor | {"name": name, "data": [value]} for name, value in one.items()]},
    ]
    return draw(st.sampled_from(forms))


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """What a server hands over: bytes, JSON that it has parsed, or the parts of a form."""
    kind = draw(st.sampled_from(("image", "text", "json", "parsed", "form", "bytes", "any form")))
    key = draw(st.sampled_from(("body", "data")))
    if kind == "image":
        return {key: draw(damaged(draw(IMAGES)))}
    if kind == "bytes":
        return {key: draw(st.binary(max_size=200))}
    if kind == "form":
        parts = {
            "image": draw(damaged(draw(IMAGES))),
            "mask": draw(damaged(draw(IMAGES))),
            "box": draw(damaged(b"[4, 4, 16, 16]")),
            "focal_px": draw(damaged(b"30.5")),
            "background": draw(damaged(b"remove")),
            "name": draw(damaged(b"a")),
            "facing": draw(damaged(b"front")),
        }
        return {name: parts[name] for name in draw(st.sets(st.sampled_from(FIELDS)))}
    if kind == "any form":
        value = st.one_of(st.binary(max_size=50), st.text(max_size=50), IMAGES, JSON)
        return draw(st.dictionaries(st.sampled_from((*FIELDS, "body", "data", "other")), value))
    content = draw(changed(draw(questions())))
    if kind == "parsed":
        return {key: content}
    text = json.dumps(content).encode()
    return {key: draw(damaged(text)) if kind == "text" else text}


@FUZZED
@given(parts=bodies())
def test_damaged_requests_get_a_pose_or_one_line(service: Service, parts: dict[str, Any]) -> None:
    (reply,) = service([parts])
    content = json.loads(reply.body)
    if reply.status == 200:
        assert "predictions" in content or "outputs" in content
    else:
        assert 400 <= reply.status < 500, content
        assert set(content["error"]) == {"code", "type", "message"}
        assert content["error"]["message"].strip()
        assert "\n" not in content["error"]["message"]


@FUZZED
@given(data=st.data())
def test_damaged_answers_are_taken_or_refused_in_one_line(
    answer: dict[str, Any], data: st.DataObject
) -> None:
    client = Client("http://127.0.0.1:9")
    ways = (
        damaged(json.dumps(answer).encode()),
        changed(answer).map(lambda content: json.dumps(content).encode()),
    )
    body = data.draw(st.one_of(*ways))
    refusal = ""
    try:
        taken = client._checked(read_object(client.url, body, "application/json"), 1)
    except InputError as error:
        refusal = str(error)
    if refusal:
        assert refusal.startswith(client.url)
        assert "\n" not in refusal
    else:
        joints = np.asarray(taken["predictions"][0]["joints_3d_mm"], float)
        assert joints.shape == (len(taken["joint_names"]), 3)
        assert np.isfinite(joints).all()


def test_the_fuzz_can_fail(service: Service, tmp_path: Path) -> None:
    class Breaks(Predictor):
        def prepare_query(self, query: Any) -> Any:
            raise KeyError(query)

    broken = Service(service.predictor)
    broken.predictor = Breaks.__new__(Breaks)
    with pytest.raises(AssertionError):
        test_damaged_requests_get_a_pose_or_one_line.hypothesis.inner_test(
            broken, {"body": picture()}
        )
