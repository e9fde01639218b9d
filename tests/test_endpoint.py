"""An endpoint answers as the model does here; busy servers are asked again, others are not."""

import json
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, get_args

import cv2
import numpy as np
import pytest
from tiny import draw, load_skeleton, random_pose
from tiny_run import random_model

from skelift.data.images import read_image
from skelift.errors import InputError, RunError
from skelift.inference import engines
from skelift.inference.cropping import Facing
from skelift.inference.engines import TOKEN, Answer, LocalEngine, RemoteEngine
from skelift.inference.frames import Frame
from skelift.inference.predictor import Predictor
from skelift.serving import client
from skelift.serving.bodies import parse

SKELETON = load_skeleton("h36m17")
DIED = {"code": 500, "type": "InternalServerException", "message": "Worker died."}
REFUSAL = {"error": {"code": 400, "type": "no_body", "message": "nobody is there"}}


class ServerDouble(ThreadingHTTPServer):
    """Test double of the server: fails as it is told to, then answers with the predictor."""

    def __init__(self, model: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.predictor = Predictor(model)
        self.failures: list[tuple[int, Any]] = []  # a status of 0 cuts the connection
        self.asked: list[dict[str, str]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: ServerDouble

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append({"path": self.path, **self.headers})
        if self.server.failures:
            status, answer = self.server.failures.pop(0)
            if status == 0:
                self.connection.close()
                return
        else:
            status, answer = 200, self.pose(question)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(answer if isinstance(answer, bytes) else json.dumps(answer).encode())

    def pose(self, question: dict[str, Any]) -> dict[str, Any]:
        queries = parse({"body": json.dumps(question).encode()}).queries
        predictor = self.server.predictor
        poses = predictor.predict([predictor.prepare_query(query) for query in queries])
        return predictor.answer([("", pose) for pose in poses])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights, which tells front from back."""
    return random_model(tmp_path_factory.mktemp("model") / "model", heads=["front_back"])


@pytest.fixture
def server(model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServerDouble]:
    monkeypatch.setattr(client, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(engines, "PATIENCE", 5.0)
    with ServerDouble(model) as double:
        thread = Thread(target=double.serve_forever, args=(0.01,))
        thread.start()
        yield double
        double.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[Frame]:
    """An image file, a masked image and frames of a video."""
    folder = tmp_path_factory.mktemp("frames")
    made = []
    for seed in range(6):
        joints = random_pose(SKELETON, np.random.default_rng(seed))[:, :2]
        joints = (joints - joints.min(0)) / np.ptp(joints, axis=0).max() * 100 + 20
        made.append(draw(SKELETON, joints, 140, (210, 120, 90)))
    file = folder / "a.jpg"
    cv2.imwrite(str(file), made[0][0][..., ::-1])
    bright = np.where(made[1][1][..., None] > 0, made[1][0], np.uint8(200))
    moving = [Frame(Path("v.mp4"), image, None, n, n / 10) for n, (image, _) in enumerate(made[2:])]
    return [Frame(file, read_image(file)), Frame(file, bright, made[1][1]), *moving]


def test_answers_are_those_of_the_model_here(
    server: ServerDouble, model: Path, frames: list[Frame]
) -> None:
    there, here = RemoteEngine(server.url)(frames, 700.0), LocalEngine(model)(frames, 700.0)
    assert there.keys() == here.keys()
    assert there["skeleton"] == here["skeleton"]
    assert [a["path"] for a in server.asked] == ["/predictions/skelift"] * len(frames)
    for ours, theirs in zip(here["predictions"], there["predictions"], strict=True):
        assert theirs.keys() == ours.keys()
        for name in ("crop", "focal_px", "image_size"):
            assert theirs[name] == ours[name]
        for name in ("joints_3d_mm", "joints_2d_px"):  # rounded to 0.01
            np.testing.assert_allclose(theirs[name], ours[name], atol=0.02)


def test_a_server_is_told_which_way_bodies_face(
    server: ServerDouble, model: Path, frames: list[Frame]
) -> None:
    told: dict[Facing, Answer] = {}
    for facing in get_args(Facing):
        known = [replace(frame, facing=facing) for frame in frames[:2]]
        there = RemoteEngine(server.url)(known, 700.0)
        here = LocalEngine(model)(known, 700.0)
        for ours, theirs in zip(here["predictions"], there["predictions"], strict=True):
            assert theirs["facing"] == ours["facing"]
            assert theirs["facing"]["value"] == facing
            np.testing.assert_allclose(theirs["joints_3d_mm"], ours["joints_3d_mm"], atol=0.02)
        told[facing] = there["predictions"][0]
    assert told["front"]["joints_2d_px"] != told["back"]["joints_2d_px"]


@pytest.mark.parametrize("failure", [(503, REFUSAL), (507, REFUSAL), (500, DIED), (0, None)])
def test_a_busy_server_is_asked_again(
    server: ServerDouble, frames: list[Frame], failure: tuple[int, Any]
) -> None:
    server.failures = [failure] * 4
    assert len(RemoteEngine(server.url)(frames[:1])["predictions"]) == 1
    assert len(server.asked) == 5


@pytest.mark.parametrize("status", [400, 500])
def test_refusals_are_not_asked_again_and_name_the_frame(
    server: ServerDouble, frames: list[Frame], status: int
) -> None:
    server.failures = [(status, REFUSAL)]
    with pytest.raises(InputError, match=r"v\.mp4, frame 3: refused .* nobody is there"):
        RemoteEngine(server.url)([frames[-1]])
    assert len(server.asked) == 1


def other_answers(server: ServerDouble, frames: list[Frame]) -> dict[str, Any]:
    """Answers with status 200 that are no answers of skelift, by what is wrong with them."""
    good = RemoteEngine(server.url)(frames[:1])
    pose = good["predictions"][0]
    server.asked.clear()

    def changed(**fields: Any) -> dict[str, Any]:
        return good | {"predictions": [pose | fields]}

    return {
        "a page": b"<html>",
        "half of it": json.dumps(good).encode()[:-20],
        "cats": {"cats": 3},
        "a list": [good],
        "no pose": good | {"predictions": []},
        "two poses": good | {"predictions": [pose, pose]},
        "labels": good | {"predictions": [{"class": "cat"}]},
        "text": good | {"predictions": "a"},
        "a joint less": changed(joints_3d_mm=pose["joints_3d_mm"][1:]),
        "nothing": changed(joints_2d_px=None),
        "words": changed(joints_2d_px=[["a", "b"]] * len(pose["joints_2d_px"])),
        "not finite": changed(focal_px={"value": float("nan"), "from": "given"}),
        "no crop": changed(crop=7),
        "no names": {key: good[key] for key in good if key != "joint_names"},
        "no skeleton": good | {"skeleton": {"joints": 3}},
    }


def test_a_server_of_something_else_is_named(server: ServerDouble, frames: list[Frame]) -> None:
    answers = other_answers(server, frames)
    for wrong, answer in answers.items():
        server.failures = [(200, answer)]
        with pytest.raises(InputError, match=r"check (the )?address") as refusal:
            RemoteEngine(server.url)(frames[:1])
        assert str(refusal.value).startswith(f"{server.url}/predictions/skelift: "), wrong
    assert len(server.asked) == len(answers)  # none was asked again


def test_a_server_that_stays_away_ends_the_run(
    server: ServerDouble, frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "PATIENCE", 0.2)
    server.failures = [(503, REFUSAL)] * 9999
    with pytest.raises(RunError, match="answers 503, for"):
        RemoteEngine(server.url)(frames[:1])


def test_token_comes_from_the_environment(
    server: ServerDouble, frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN, "secret")
    RemoteEngine(f"{server.url}/v1/models/other:predict")(frames[:1])
    assert server.asked[0]["Authorization"] == "Bearer secret"
    assert server.asked[0]["path"] == "/v1/models/other:predict"


def test_an_address_is_needed() -> None:
    with pytest.raises(InputError, match="not an HTTP URL"):
        RemoteEngine("file:///etc/passwd")
