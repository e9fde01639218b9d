"""Requests, archives and a real TorchServe: every way a request can be wrong, and right ones."""

import base64
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tiny import load_skeleton
from tiny_run import random_model

from skelift.cli import main
from skelift.data.decoding import Limits
from skelift.errors import InputError, RunError
from skelift.files import locked
from skelift.inference.cropping import Query
from skelift.inference.predictor import GRAPH, Predictor
from skelift.models.heads import HEADS
from skelift.serving import server
from skelift.serving.archive import package
from skelift.serving.client import Client
from skelift.serving.export import export_onnx
from skelift.serving.log import _SILENT, Log
from skelift.serving.manifest import MANIFEST, read_manifest
from skelift.serving.probe import Place, canary, is_ready, read_place
from skelift.serving.rollout import roll_out
from skelift.serving.server import _own_folder, _scratch, check_host, find_java, serving
from skelift.serving.service import Service
from skelift.serving.settings import ServerSettings, write_settings

SKELETON = load_skeleton("h36m17")
PORT = 13200
ImageArray = NDArray[np.uint8]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights, exported beside."""
    folder = random_model(tmp_path_factory.mktemp("serving") / "model")
    export_onnx(folder, folder / GRAPH)
    return folder


@pytest.fixture(scope="module")
def service(model: Path) -> Service:
    return Service(Predictor(model, limits=Limits(bytes=50_000, pixels=40_000, side=400)), "7")


def encoded(image: ImageArray, form: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, form, **options)
    return stream.getvalue()


@pytest.fixture(scope="module")
def person() -> ImageArray:
    """A bright shape on black."""
    image = np.zeros((120, 100, 3), dtype=np.uint8)
    image[20:100, 30:70] = np.random.default_rng(0).integers(60, 255, (80, 40, 3))
    return image


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize("heads", [[], ["front_back"], list(HEADS)])
def test_exported_graph_equals_the_networks(tmp_path: Path, heads: list[str]) -> None:
    model = random_model(tmp_path / "model", heads=heads)
    export_onnx(model, model / GRAPH)
    rng = np.random.default_rng(0)
    here, there = Predictor(model), Predictor(model, runtime="onnx")
    for count in (1, 3):
        images = [rng.integers(0, 255, (50, 40, 3), dtype=np.uint8) for _ in range(count)]
        prepared = [here.prepare(image, focal_px=70.0) for image in images]
        if "front_back" in heads:
            prepared += [replace(p, facing=side) for p in prepared for side in ("front", "back")]
        for ours, theirs in zip(here.predict(prepared), there.predict(prepared), strict=True):
            for name in ("joints_3d_mm", "joints_2d_px", "spread_px"):
                one, other = getattr(ours, name), getattr(theirs, name)
                assert np.abs(one - other).max() <= 1e-4 * np.abs(one).max()
            one, other = ours.front_log_odds, theirs.front_log_odds
            assert one == pytest.approx(other, abs=1e-4, nan_ok=True)
            assert np.isnan(one) == (not heads)


def bad_tensors(image: bytes) -> Iterator[list[dict[str, Any]]]:
    """Inputs of KServe v2 that are no such."""
    good = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [b64(image)]}
    box = {"name": "box", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 9, 9]}
    yield [good, box, box]
    yield [good, good]
    for change in (
        {"datatype": "FP32"},
        {"datatype": ["BYTES"]},
        *({"shape": shape} for shape in ([2], [1, 4], [], [-1, -1], [True], ["1"], 1, [1.0])),
        {"shape": [1] * 99},
    ):
        yield [good | change]
    for change in ({"datatype": "BYTES"}, {"shape": [4, 4]}, {"shape": [1]}):
        yield [good, box | change]


def bad_requests(person: ImageArray) -> dict[str, tuple[dict[str, Any], int, str]]:
    good = encoded(person)
    jpeg = encoded(person, "JPEG")
    wide = encoded(np.zeros((2, 500, 3), dtype=np.uint8))
    many = encoded(np.zeros((201, 200, 3), dtype=np.uint8))

    def body(**content: Any) -> dict[str, Any]:
        return {"body": json.dumps(content).encode()}

    v1 = {"image": b64(good)}
    return {
        "nothing": ({}, 400, "empty_body"),
        "empty": ({"body": b""}, 400, "empty_body"),
        "text": ({"body": b"no image at all"}, 415, "unsupported_format"),
        "gif": ({"body": encoded(person, "GIF")}, 415, "unsupported_format"),
        "truncated": ({"body": jpeg[: len(jpeg) // 2]}, 400, "broken_image"),
        "bytes": ({"body": good + bytes(50_000)}, 413, "too_many_bytes"),
        "pixels": ({"body": many}, 413, "too_many_pixels"),
        "side": ({"body": wide}, 413, "too_many_pixels"),
        "json": ({"body": b'{"instances": ['}, 400, "broken_json"),
        "nan": ({"body": b'{"focal_px": NaN}'}, 400, "broken_json"),
        "deep": ({"body": b"[" * 100_000}, 400, "broken_json"),
        "no image": (body(photo="x"), 400, "malformed_request"),
        "base64": (body(image="***"), 400, "broken_base64"),
        "unknown": (body(**v1, boxes=[]), 400, "unknown_field"),
        "box": (body(**v1, box=[1, 2, 3]), 400, "bad_box"),
        "box off": (body(**v1, box=[500, 500, 9, 9]), 400, "bad_box"),
        "focal": (body(**v1, focal_px=-1), 400, "bad_focal"),
        "huge focal": (
            {"body": b'{"image": "", "focal_px": 1%s}' % (b"0" * 400)},
            400,
            "bad_focal",
        ),
        "background": (body(**v1, background="blur"), 400, "bad_background"),
        "facing": (body(**v1, facing="left"), 400, "bad_facing"),
        "facing is no text": (body(**v1, facing=[1]), 400, "bad_facing"),
        "facing without heads": (body(**v1, facing="front"), 400, "bad_facing"),
        "mask size": (body(**v1, mask=b64(encoded(person[:9, :9]))), 400, "mask_size"),
        "empty mask": (body(**v1, mask=b64(encoded(0 * person))), 400, "no_body"),
        "too many": (body(instances=[b64(good)] * 17), 413, "too_many_images"),
        "none": (body(instances=[]), 400, "malformed_request"),
        "long id": (body(**v1, id="x" * 1000), 400, "malformed_request"),
        "v2 binary": (body(inputs=[{"name": "image"}]), 400, "no_data"),
        "form": ({"image": good, "focal": b"9"}, 400, "unknown_field"),
        "form without image": ({"imag": good}, 400, "unknown_field"),
        "form and body": ({"image": good, "data": good}, 400, "unknown_field"),
        **{
            f"v2 {number}": (body(inputs=tensors), 400, "malformed_request")
            for number, tensors in enumerate(bad_tensors(good))
        },
        "v2 rows": (
            body(inputs=[{"name": "image", "data": [b64(good)]}, {"name": "box", "data": [1, 2]}]),
            400,
            "malformed_request",
        ),
    }


def test_bad_requests_get_typed_errors_and_spare_the_batch(
    service: Service, person: ImageArray
) -> None:
    good = {"body": encoded(person)}
    alone = json.loads(service([good])[0].body)["predictions"]
    cases = bad_requests(person)
    replies = service([good, *(parts for parts, _, _ in cases.values()), good])
    for (name, (_, status, kind)), reply in zip(cases.items(), replies[1:-1], strict=True):
        error = json.loads(reply.body)["error"]
        assert (reply.status, error["code"], error["type"]) == (status, status, kind), name
        assert set(error) == {"code", "type", "message"}
        assert "Error" not in error["message"]
        assert "Traceback" not in error["message"]
    for reply in (replies[0], replies[-1]):
        assert reply.status == 200
        answer = json.loads(reply.body)["predictions"][0]
        np.testing.assert_allclose(answer["joints_3d_mm"], alone[0]["joints_3d_mm"], atol=0.1)


class ContextDouble:
    """Test double of TorchServe's context: only which requests ask for explanations."""

    def __init__(self, *explain: str | None) -> None:
        self._explain = explain

    def get_request_header(self, number: int, name: str) -> str | None:
        return self._explain[number] if name == "explain" else None


def test_explanations_are_refused_one_by_one(service: Service, person: ImageArray) -> None:
    from skelift.serving.skelift_handler import SkeliftHandler

    handler = SkeliftHandler()
    handler.service = service
    data = [{"body": encoded(person)}] * 3
    replies = handler.replies(data, ContextDouble(None, "True", "False"))
    assert [reply.status for reply in replies] == [200, 501, 200]
    assert json.loads(replies[1].body)["error"]["type"] == "no_explanations"


def test_every_form_of_a_request_gives_the_same_pose(service: Service, person: ImageArray) -> None:
    image = encoded(person)
    forms: list[dict[str, Any]] = [
        {"body": image},
        {"data": image},
        {"image": image, "background": b"keep"},
        {"body": json.dumps({"image": b64(image), "id": "a"}).encode()},
        {"body": {"instances": [{"b64": b64(image)}]}},
    ]
    answers = [json.loads(reply.body) for reply in service(forms)]
    poses = [answer["predictions"][0]["joints_3d_mm"] for answer in answers]
    assert all(np.allclose(pose, poses[0], atol=0.05) for pose in poses)
    assert answers[0]["model"] == {"name": "tiny", "version": "7"}
    assert answers[3]["id"] == "a"
    tensor = {"name": "image", "datatype": "BYTES", "shape": [2], "data": [b64(image)] * 2}
    v2 = json.loads(service([{"body": json.dumps({"inputs": [tensor]}).encode()}])[0].body)
    boxes = {"name": "box", "datatype": "FP64", "shape": [2, 4], "data": [0, 0, 20, 20] * 2}
    for inputs in ([tensor, boxes], [tensor | {"shape": [2, 1]}]):
        assert service([{"body": json.dumps({"inputs": inputs}).encode()}])[0].status == 200
    first = v2["outputs"][0]
    assert (first["name"], first["shape"]) == ("joints_3d_mm", [2, 17, 3])
    np.testing.assert_allclose(np.reshape(first["data"], (2, 17, 3))[1], poses[0], atol=0.05)


def test_crop_says_what_it_was_found_by(service: Service, person: ImageArray) -> None:
    scene = np.where(person > 0, person, np.uint8([20, 90, 40]))
    mask = encoded((person.max(-1) > 0).astype(np.uint8) * np.uint8(255))
    asked = [
        ({"image": b64(encoded(scene))}, "whole image"),
        ({"image": b64(encoded(scene)), "box": [25, 15, 50, 90]}, "box"),
        ({"image": b64(encoded(scene)), "mask": b64(mask)}, "mask"),
        (
            {"image": b64(encoded(scene)), "box": [20, 10, 60, 100], "background": "remove"},
            "removed background",
        ),
    ]
    replies = service([{"body": json.dumps(fields).encode()} for fields, _ in asked])
    crops = [json.loads(reply.body)["predictions"][0]["crop"] for reply in replies]
    assert [crop["from"] for crop in crops] == [found for _, found in asked]
    assert (crops[2]["x"], crops[2]["y"]) == (50, 60)
    assert crops[3]["x"] == pytest.approx(50, abs=6)
    assert crops[3]["y"] == pytest.approx(60, abs=6)


def test_answers_warn_of_masks_that_cannot_be_a_bodys(service: Service, person: ImageArray) -> None:
    mask = (person.max(-1) > 0).astype(np.uint8) * np.uint8(255)
    masks = mask, np.uint8(255) - mask
    bodies = [{"image": b64(encoded(person)), "mask": b64(encoded(each))} for each in masks]
    good, inverted = (
        json.loads(reply.body)["predictions"][0]["warnings"]
        for reply in service([{"body": json.dumps(body).encode()} for body in bodies])
    )
    assert good == []
    assert len(inverted) == 1
    assert "looks inverted" in inverted[0]


def test_exif_turns_the_image_upright(service: Service, person: ImageArray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    lying = encoded(np.rot90(person).copy(), exif=exif)
    upright, turned = (
        json.loads(reply.body)["predictions"][0]
        for reply in service([{"body": encoded(person)}, {"body": lying}])
    )
    assert turned["image_size"] == [100, 120]
    np.testing.assert_allclose(turned["joints_2d_px"], upright["joints_2d_px"], atol=0.05)


def test_model_without_finite_numbers_fails_typed(model: Path, person: ImageArray) -> None:
    predictor = Predictor(model)
    run = predictor._run
    predictor._run = lambda *given: run(*given)._replace(spread_px=np.full((1, 17), np.nan))
    reply = Service(predictor)([{"body": encoded(person)}])[0]
    assert (reply.status, json.loads(reply.body)["error"]["type"]) == (500, "not_finite")


def test_archive_has_no_pickle_and_equal_models_make_equal_bytes(
    model: Path, tmp_path: Path
) -> None:
    scores = tmp_path / "metrics.json"
    row = {"p_mpjpe_mm": 98.76, "mpjpe_mm": 120.0, "pck_150": 50.0, "error_2d_px": None}
    data = {"test_images": 5, "synthetic": True, "name": "tiny"}
    scores.write_text(json.dumps({"data": data, "rows": {"tiny": {"overall": row}}}))
    one = package(model, tmp_path / "one", scores=scores)
    two = package(model, tmp_path / "two", scores=scores)
    assert one.read_bytes() == two.read_bytes()
    with zipfile.ZipFile(one) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    suffixes = {Path(name).suffix for name in members}
    assert suffixes == {"", ".json", ".py", ".yaml", ".md", ".safetensors", ".onnx"}
    assert not any(content.startswith((b"\x80\x02", b"\x80\x04")) for content in members.values())
    assert b"98.8" in members["MODEL_CARD.md"]
    assert b"drawn for tests" in members["MODEL_CARD.md"]
    assert members["skelift_handler.py"].count(b"\nclass ") == 1
    assert main(["package", str(tmp_path), "--out", str(tmp_path)]) == 2


def test_open_address_needs_a_word_on_tokens() -> None:
    assert check_host("127.0.0.1", None) is False
    assert check_host("0.0.0.0", True) is True  # noqa: S104
    with pytest.raises(InputError, match="--tokens"):
        check_host("0.0.0.0", None)  # noqa: S104
    for host in ("::1", "[::1]", "fe80::1"):
        with pytest.raises(InputError, match=r"--host .*: TorchServe listens on IPv4"):
            check_host(host, True)


def test_missing_java_is_named_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skelift.serving.server.find_spec", lambda name: None)
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    with pytest.raises(InputError, match="Java is missing"):
        find_java()


def rewritten(archive: Path, out: Path, member: str, change: Callable[[bytes], bytes]) -> Path:
    """A copy of an archive with one member changed."""
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(out, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, change(content) if name == member else content)
    return out


def test_archives_that_are_none_are_named_before_anything_starts(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = package(model, tmp_path, version="3.1")
    assert read_manifest(good) == ("skelift", "3.1")
    content = good.read_bytes()
    middle = len(content) // 2
    wrong = {
        "text": b"no archive",
        "cut": content[:middle],
        "bit": content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :],
    }
    for name, data in wrong.items():
        (tmp_path / f"{name}.mar").write_bytes(data)
    rewritten(good, tmp_path / "list.mar", MANIFEST, lambda _: b"[]")
    rewritten(good, tmp_path / "path.mar", MANIFEST, lambda c: c.replace(b'"skelift"', b'"../a"'))
    for name in (*wrong, "list", "path", "missing"):
        archive, state = tmp_path / f"{name}.mar", tmp_path / "state"
        assert main(["serve", str(archive), "--port", str(PORT), "--state", str(state)]) == 2
        error = capsys.readouterr().err
        assert f"error: {archive}: " in error
        assert error.count("\n") == 1
        assert not state.exists()


def test_folders_and_ports_that_cannot_be_used_are_named(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = package(model, tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    cases = {
        tmp_path / "file": "cannot be made",
        tmp_path / "file" / "below": "cannot be made",
        tmp_path / ("x" * 300): "cannot be made",
        tmp_path / os.fsdecode(b"b\xe4d"): "is not UTF-8",
        tmp_path / "full": "not empty",
    }
    for state, message in cases.items():
        call = ["serve", str(archive), "--port", str(PORT), "--state", str(state)]
        assert main(call) == 2
        error = capsys.readouterr().err
        assert message in error
        assert "name another --state" in error
        assert error.count("\n") == 1
    assert (tmp_path / "full" / "mine.txt").exists()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        for number in (port, 65534):  # the five ports do not fit below 65536
            assert main(["serve", str(archive), "--port", str(number)]) == 2
            assert f"--port {number}: " in capsys.readouterr().err


def test_a_folder_has_one_server(tmp_path: Path) -> None:
    state = _own_folder(tmp_path / "state")
    place = Place(state, "http://127.0.0.1:1", "http://127.0.0.1:2", tokens=False, name="skelift")
    with locked(state / "lock"):
        place.write()
        with pytest.raises(InputError, match="a running server has it"):
            _own_folder(state)
        assert read_place(state) == place
    (state / "left").touch()
    assert list(_own_folder(state).iterdir()) == []  # of one that was killed


def test_sockets_lie_where_their_paths_are_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, far = tmp_path / "a", tmp_path / ("ä" * 60)  # two bytes each
    near.mkdir()
    far.mkdir()
    monkeypatch.setattr(server, "_SHORT_PLACES", (str(tmp_path / "none"), str(near)))
    monkeypatch.setattr(server, "_LONGEST_SCRATCH", len(os.fsencode(near)) + 30)
    with ExitStack() as stack:
        assert _scratch(near, stack) == near / "tmp"
        made = _scratch(far, stack)
        assert made.parent == near
        assert made.stat().st_mode & 0o777 == 0o700
    assert not made.exists()
    monkeypatch.setattr(server, "_SHORT_PLACES", ())
    with ExitStack() as stack, pytest.raises(InputError, match="name a shorter --state"):
        _scratch(far, stack)


def test_paths_in_javas_properties_are_escaped(tmp_path: Path) -> None:
    folder = tmp_path / "stä te\\日\U0001f600=:"
    folder.mkdir()
    text = write_settings(folder, ServerSettings(), "a.mar").read_text(encoding="ascii")
    values = dict(line.split("=", 1) for line in text.splitlines() if line and line[0] != "#")
    stored = values["model_store"]
    # As java.util.Properties reads it, to UTF-16 and from there.
    units = re.sub(r"\\u(....)", lambda unit: chr(int(unit[1], 16)), stored)
    read = units.encode("utf-16-be", "surrogatepass").decode("utf-16-be")
    assert read == str(folder / "model-store")
    assert values["model_store"].startswith("/")


def log_of(*lines: str) -> tuple[Log, list[str]]:
    """A log that has read lines of workers, and the failures that it told."""
    told: list[str] = []
    log = Log(io.BytesIO("".join(f"{line}\n" for line in lines).encode()), told.append)
    log._thread.join()
    return log, told


def worker(*texts: str) -> list[str]:
    return [f"2030-01-01T00:00:00,000 INFO  MODEL_LOG {text}" for text in texts]


def test_log_finds_the_exception_that_tells_most() -> None:
    trace = ["Traceback (most recent call last):", '  File "x.py", line 3, in load']
    died = "Backend worker process died."
    own = "RuntimeError: 507 - System out of memory"
    _, told = log_of(*worker("Listening on port: 3", died, *trace, "OSError: path too long"))
    assert told == ["OSError: path too long"]
    _, told = log_of(*worker(*trace, "MemoryError", died, *trace, own))
    assert told == ["MemoryError"]
    missing = "ModuleNotFoundError: No module named 'ts.torch_handler.skelift_handler'"
    chained = ["ModuleNotFoundError: No module named 'cv2'", "", "During handling", missing]
    _, told = log_of(*worker(died, *trace, *chained))
    assert told[-1] == "ModuleNotFoundError: No module named 'cv2'"
    # A request's exception is not the reason of a later worker.
    _, told = log_of(*worker(*trace, "KeyError: 'a'", "Torch worker started.", "Ready."))
    assert told == []


def test_log_finds_workers_that_are_killed_and_javas_own_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lost = "2030-01-01T00:00:00,000 WARN  BatchAggregator Load model failed: a, error: Worker died."
    assert log_of(lost, lost)[1] == []  # both are tried once more
    assert log_of(*[lost] * 3)[1] == [_SILENT]
    log, _ = log_of("Exception in thread main java.net.BindException: Address in use", "\tat a.b")
    assert log.end() == "java.net.BindException: Address in use"
    kept = Path(log.keep())
    assert kept.read_text().endswith("\tat a.b\n")
    kept.unlink()
    assert log_of()[0].end() == "it says nothing"
    log, _ = log_of(lost, *worker("Ready."))
    assert capsys.readouterr().err == ""
    log.release()
    assert capsys.readouterr().err == f"{lost}\n"


def post(url: str, body: bytes, token: str = "") -> tuple[int, dict[str, Any]]:
    headers = {"Content-Type": "application/octet-stream"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        with urlopen(Request(url, body, headers), timeout=60) as reply:  # noqa: S310
            return reply.status, json.loads(reply.read())
    except HTTPError as error:
        return error.code, json.loads(error.read() or b"{}")


@pytest.mark.slow
def test_torchserve_answers_survives_and_rolls_over(
    model: Path, person: ImageArray, tmp_path: Path
) -> None:
    v1 = package(model, tmp_path / "v1", version="1.0")
    v2 = package(model, tmp_path / "v2", version="2.0")
    other = package(model, tmp_path / "v3", version="3.0")
    broken = rewritten(other, tmp_path / "broken.mar", GRAPH, lambda _: b"rubbish")
    image = encoded(person)
    with serving(v1, ServerSettings(port=PORT, updates=True), tmp_path / "state") as running:
        running.wait_ready()
        url = running.place.predictions
        cases = bad_requests(person)
        # Without those of 413: the caps of this server are not the small ones of those cases.
        raw = [case for case in cases.values() if isinstance(case[0].get("body"), bytes)]
        raw = [case for case in raw if case[1] != 413]
        with ThreadPoolExecutor(8) as pool:
            good = [pool.submit(post, url, image) for _ in range(40)]
            bad = [
                (pool.submit(post, url, p["body"]), s) for p, s, _ in raw if len(p["body"]) < 9e4
            ]
            assert [future.result()[0] for future in good] == [200] * 40
            assert [future.result()[0] for future, _ in bad] == [status for _, status in bad]
        assert post(url.replace("predictions", "explanations"), image)[0] == 501
        with urlopen(f"http://127.0.0.1:{PORT + 2}/metrics", timeout=30) as metrics:
            text = metrics.read().decode()
        counted = re.search(r'request_duration_seconds_bucket{.*le="10.0",?} (\d+)', text)
        total = re.search(r"request_duration_seconds_sum{.*} ([\d.]+)", text)
        assert counted
        assert total
        assert int(counted[1]) > 40
        assert 0 < float(total[1]) / int(counted[1]) < 10  # seconds, not milliseconds
        client = Client(running.place.inference)
        with pytest.raises(RunError, match=r"model\.onnx: not found or broken .* goes on serving"):
            roll_out(broken, running.place)
        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(client.predict, [Query(image)]) for _ in range(60)]
            assert roll_out(v2, running.place) == "skelift 1.0 -> 2.0"
            asked += [pool.submit(client.predict, [Query(image)]) for _ in range(10)]
            versions = [future.result()["model"]["version"] for future in asked]
        assert versions[0] == "1.0"
        assert versions[-1] == "2.0"
        with ThreadPoolExecutor(16) as pool:
            last = [pool.submit(post, url, image) for _ in range(32)]
            while not any(future.running() for future in last):
                pass
            assert running.drain(grace=0.3)
            assert not is_ready(running.place)
            assert [future.result()[0] for future in last] == [200] * 32


@pytest.mark.slow
def test_torchserve_starts_in_folders_with_long_and_other_names(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    archive = package(model, tmp_path).rename(tmp_path / "größe, neu.mar")
    state = tmp_path / "stä te" / ("日" * 40) / "=x"
    with serving(archive, ServerSettings(port=PORT + 40, tokens=True), state) as running:
        running.wait_ready()
        # In its own folder, not in the short one of its sockets.
        assert read_place(state).tokens
        assert (state / "key_file.json").exists()
    assert not state.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("member", "change", "fault", "message"),
    [
        (GRAPH, lambda _: b"rubbish", InputError, r"bad\.mar: model\.onnx: not found or broken"),
        (
            "skelift_handler.py",
            lambda code: b"import nosuch\n" + code,
            RunError,
            "workers cannot start: ModuleNotFoundError: No module named 'nosuch'",
        ),
        (
            "skelift_handler.py",
            lambda code: b"import os\nos.kill(os.getpid(), 9)\n" + code,
            RunError,
            _SILENT,
        ),
    ],
)
def test_workers_that_cannot_start_say_why(
    model: Path,
    tmp_path: Path,
    member: str,
    change: Callable[[bytes], bytes],
    fault: type[Exception],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # of the log that is kept
    broken = rewritten(package(model, tmp_path), tmp_path / "bad.mar", member, change)
    with serving(broken, ServerSettings(port=PORT + 50), tmp_path / "state") as running:
        with pytest.raises(fault, match=message):
            running.wait_ready()
        assert not running.process.poll()


@pytest.mark.slow
def test_serve_draws_asks_for_a_token_and_stops_cleanly(
    model: Path, person: ImageArray, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    archive = package(model, tmp_path)
    Image.fromarray(person).save(tmp_path / "person.png")
    options = ["--port", str(PORT + 10), "--state", str(state), "--tokens"]
    options += ["--sample", str(tmp_path / "person.png")]
    command = [sys.executable, "-m", "skelift", "serve", str(archive), *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr
        line = next(line for line in process.stderr if line.startswith("try:"))
        token = line.partition("Bearer ")[2].partition("'")[0]
        url = f"http://127.0.0.1:{PORT + 10}/predictions/skelift"
        with Image.open(tmp_path / "person.pose.png") as drawn:
            assert drawn.width > 2 * drawn.height
        assert post(url, canary())[0] == 400
        assert post(url, canary(), "wrong")[0] == 400
        assert post(url, canary(), token)[0] == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert not state.exists()
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGTERM)
            process.wait(60)


def benchmark(name: str, model: Path, out: Path, *options: str) -> dict[str, Any]:
    """What a benchmark of the endpoint reports; its goals are for the tests to judge."""
    command = [sys.executable, "-m", f"benchmarks.{name}", "--model", str(model), "--out", str(out)]
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    assert out.exists(), done.stderr[-2000:]
    measured: dict[str, Any] = json.loads(out.read_text())
    return measured


@pytest.mark.slow
@pytest.mark.load
def test_every_request_of_a_short_soak_is_answered_as_it_has_to_be(
    model: Path, tmp_path: Path
) -> None:
    options = ["--requests", "2000", "--seed", "1", "--port", str(PORT + 20)]
    soak = benchmark("soak", model, tmp_path / "soak.json", *options)
    assert soak["sent"] == {"good": 1800, "bad": 200, "fuzzed": 100}
    # Memory is still growing into its place after so few.
    failures = [soak[f"{kind}_failed"] for kind in ("good", "bad", "fuzzed")]
    assert failures == [0, 0, 0], soak["examples_of_failures"]
    assert soak["workers_lost"] == 0


@pytest.mark.slow
@pytest.mark.load
def test_workers_killed_under_load_lose_nothing(model: Path, tmp_path: Path) -> None:
    from benchmarks.deaths import READY_SECONDS

    options = ["--seconds", "60", "--port", str(PORT + 30)]
    deaths = benchmark("deaths", model, tmp_path / "deaths.json", *options)
    assert deaths["kills"] == 12
    assert deaths["lost"] == 0, deaths["examples_of_losses"]
    assert deaths["answered"] > 100
    assert deaths["longest_not_whole_s"] < READY_SECONDS  # the worker was replaced each time
