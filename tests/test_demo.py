"""The page, in a real browser: upload, drawn pose, a clip, and what it says of a bad file."""

import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tiny import draw, load_skeleton, random_pose
from tiny_run import random_model

from skelift.demo.figure import pose_figure

SKELETON = load_skeleton("h36m17")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
SOFTWARE_RENDERING = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
PATIENCE = 240_000  # ms; a busy machine takes a minute to import Gradio
CLIP = 8  # frames
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"
)


def test_figure_is_upright_and_to_scale() -> None:
    pytest.importorskip("plotly", reason="pip install 'skelift[demo]'")
    joints = random_pose(SKELETON, np.random.default_rng(0))
    figure = pose_figure(joints, SKELETON)
    markers = next(trace for trace in figure.data if trace.mode == "markers")
    np.testing.assert_allclose(markers.x, joints[:, 0])  # right
    np.testing.assert_allclose(markers.y, joints[:, 2])  # away from the camera
    np.testing.assert_allclose(markers.z, -joints[:, 1])  # up
    assert figure.layout.scene.aspectmode == "cube"
    ranges = {figure.layout.scene[axis].range for axis in ("xaxis", "yaxis", "zaxis")}
    assert len(ranges) == 1


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights, an image, a clip, and a text file named .jpg."""
    folder = tmp_path_factory.mktemp("page")
    random_model(folder / "model", heads=["front_back"])
    joints = random_pose(SKELETON, np.random.default_rng(1))[:, :2]
    joints = (joints - joints.min(0)) / np.ptp(joints, axis=0).max() * 120 + 20
    image = draw(SKELETON, joints, 160, (210, 120, 90))[0][..., ::-1]
    cv2.imwrite(str(folder / "person.png"), image)
    writer = cv2.VideoWriter(
        str(folder / "clip.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 8, (160, 160)
    )
    for shift in range(CLIP):
        writer.write(np.roll(image, shift, axis=1))
    writer.release()
    (folder / "notes.jpg").write_text("this is not an image\n")
    return folder


@pytest.fixture(scope="module")
def address(files: Path) -> Iterator[str]:
    """The page as the command line serves it, on a free port."""
    pytest.importorskip("gradio", reason="pip install 'skelift[demo]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "skelift", "demo", "--model", files / "model", "--port", port]
    server = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)
    assert server.stderr
    lines = []
    try:
        for line in server.stderr:
            lines.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                yield found[0]
                break
        else:
            pytest.fail(f"the page did not come up: {''.join(lines)}")
    finally:
        server.terminate()
        server.wait(30)
        server.stderr.close()


@pytest.fixture
def page(address: str) -> Iterator[Any]:
    """The page in a headless browser; it may ask nobody but the server itself."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SOFTWARE_RENDERING)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(PATIENCE)
        foreign: list[str] = []
        page.on("request", lambda r: None if own(r.url, address) else foreign.append(r.url))
        page.goto(address)
        page.wait_for_selector("#file input[type=file]", state="attached")
        # The images here are drawn figures on black, no photos of people.
        page.locator("input[type=radio][value=keep]").check()
        yield page
        browser.close()
        assert foreign == []


def own(url: str, address: str) -> bool:
    return url.startswith((address, "data:", "blob:"))


@pytest.mark.slow
@needs_browser
def test_image_is_drawn_turns_and_can_be_taken_away(page: Any, files: Path) -> None:
    page.set_input_files("#file input[type=file]", files / "person.png")
    page.wait_for_selector("#pose-2d img")
    page.wait_for_selector("#pose-3d canvas", state="attached")
    eye = "document.querySelector('#pose-3d .js-plotly-plot')._fullLayout.scene._scene"
    page.wait_for_function(f"Boolean({eye})")
    before = page.evaluate(f"{eye}.getCamera().eye")
    page.wait_for_function(f"Math.abs({eye}.getCamera().eye.x - {before['x']}) > 0.01")
    with page.expect_download() as download:
        page.click("#json")
    answer = json.loads(Path(download.value.path()).read_text())
    assert len(answer["predictions"]) == 1
    drawn = page.evaluate(
        "document.querySelector('#pose-3d .js-plotly-plot').data.find(t => t.mode == 'markers').x"
    )
    expected = [x for x, _, _ in answer["predictions"][0]["joints_3d_mm"]]
    assert list(drawn) == pytest.approx(expected)
    assert "black background" in page.inner_text("#facts")


@pytest.mark.slow
@needs_browser
def test_front_or_back_can_be_told(page: Any, files: Path) -> None:
    page.set_input_files("#file input[type=file]", files / "person.png")
    page.wait_for_selector("#pose-2d img")
    for facing in ("back", "front"):
        before = page.get_attribute("#pose-2d img", "src")
        page.locator(f"#facing input[type=radio][value={facing}]").check()
        page.click("#go")
        page.wait_for_function(f"document.querySelector('#pose-2d img')?.src != '{before}'")
        with page.expect_download() as download:
            page.click("#json")
        (entry,) = json.loads(Path(download.value.path()).read_text())["predictions"]
        assert entry["facing"]["from"] == "given"
        assert entry["facing"]["value"] == facing


@pytest.mark.slow
@needs_browser
def test_clip_is_shown_frame_by_frame(page: Any, files: Path) -> None:
    page.set_input_files("#file input[type=file]", files / "clip.mp4")
    page.wait_for_selector("#frame input[type=range]")
    slider = page.locator("#frame input[type=range]")
    assert slider.get_attribute("max") == str(CLIP - 1)
    page.wait_for_selector("#pose-2d img")
    first = page.get_attribute("#pose-2d img", "src")
    slider.fill(str(CLIP - 1))
    page.wait_for_function(f"document.querySelector('#pose-2d img')?.src != '{first}'")
    page.wait_for_function("document.querySelector('#clip video')?.readyState >= 2")


@pytest.mark.slow
@needs_browser
def test_text_file_named_jpg_is_explained(page: Any, files: Path) -> None:
    page.set_input_files("#file input[type=file]", files / "notes.jpg")
    page.wait_for_selector("#problem")
    problem = page.inner_text("#problem")
    assert "This file cannot be used" in problem
    assert "notes.jpg" in problem
    assert str(files) not in problem
    assert "Traceback" not in page.content()
    assert page.locator("#pose-2d img").count() == 0
