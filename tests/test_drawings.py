"""What drawings show of an image: all of it, or the surroundings of a small body; turning poses."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tiny import draw, load_skeleton, random_pose
from tiny_run import random_model

from skelift.commands import predict
from skelift.errors import InputError
from skelift.inference import drawings
from skelift.inference.drawings import HEIGHT, TURNING_HEIGHT, Closeup, draw_frame
from skelift.inference.frames import Frame

BODY = load_skeleton("h36m17")
WIDE, TALL = 640, 480


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights."""
    return random_model(tmp_path_factory.mktemp("model") / "model")


def scene(x: int, y: int, side: int) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """A white square on black, and a pose at its corners."""
    image = np.zeros((TALL, WIDE, 3), np.uint8)
    image[y : y + side, x : x + side] = 255
    corners = [[x, y], [x + side, y + side]] * len(BODY)
    crop = {"x": x + side / 2, "y": y + side / 2, "side": float(side)}
    return image, {"joints_2d_px": corners[: len(BODY)], "crop": crop}


def white_box(image: NDArray[np.uint8]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    rows, columns = np.nonzero(image[..., 0] > 127)
    return np.array([columns.min(), rows.min()]), np.array([columns.max(), rows.max()]) + 1


@pytest.mark.parametrize(("x", "y"), [(300, 200), (0, 0), (590, 430)])
def test_a_small_body_is_shown_from_nearby(x: int, y: int) -> None:
    image, entry = scene(x, y, 50)
    part, joints = Closeup().show(image, entry, HEIGHT)
    assert part.shape == (HEIGHT, HEIGHT * WIDE // TALL, 3)
    low, high = white_box(part)
    np.testing.assert_allclose(joints[:2], [low, high], atol=2.5)
    np.testing.assert_allclose(high - low, HEIGHT / drawings.ROOM, rtol=0.03)


def test_a_large_body_is_shown_with_all_of_its_image() -> None:
    image, entry = scene(100, 50, 200)
    part, joints = Closeup().show(image, entry, TALL)
    np.testing.assert_array_equal(part, image)
    np.testing.assert_allclose(joints, entry["joints_2d_px"])


def test_what_a_video_shows_moves_only_when_it_must() -> None:
    closeup, shown = Closeup(), []
    for step in range(0, 500, 5):
        image, entry = scene(20 + step, 200, 60)
        part, joints = closeup.show(image, entry, HEIGHT)
        assert part.shape == (HEIGHT, HEIGHT * WIDE // TALL, 3)
        low, high = white_box(part)
        np.testing.assert_allclose(joints[:2], [low, high], atol=2.5)
        np.testing.assert_allclose(high - low, HEIGHT / drawings.ROOM, rtol=0.03)
        shown.append(closeup.corner)
    assert 3 < len(set(shown)) < 15
    before = closeup.corner
    part, joints = closeup.show(image, None, HEIGHT)
    assert closeup.corner == before
    assert len(joints) == 0


def test_nobody_yet_is_the_whole_image() -> None:
    image, _ = scene(100, 50, 40)
    drawn = draw_frame(Frame(Path("a.png"), image), None, {})
    assert drawn.shape == (HEIGHT, HEIGHT * WIDE // TALL + 2 * HEIGHT, 3)


# Animated pictures.


def clip(folder: Path, frames: int) -> Path:
    video = folder / "walk.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 10, (160, 160))
    joints = random_pose(BODY, np.random.default_rng(0))[:, :2]
    joints = (joints - joints.min(0)) / np.ptp(joints, axis=0).max() * 80 + 20
    for shift in range(frames):
        writer.write(draw(BODY, joints + np.array([2 * shift, 0]), 160, (210, 120, 90))[0])
    writer.release()
    image = folder / "still/a.png"
    image.parent.mkdir()
    cv2.imwrite(str(image), draw(BODY, joints, 160, (210, 120, 90))[0])
    return folder


def frames_of(file: Path) -> tuple[list[NDArray[np.uint8]], int]:
    with Image.open(file) as image:
        found = []
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            found.append(np.array(image.convert("RGB")))
        return found, image.info["duration"]


def test_poses_turn_in_animated_pictures(model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    inputs = clip(tmp_path / "in", 8)
    drawn = tmp_path / "drawn"
    predict.run([inputs], model, tmp_path / "p.json", draw=drawn, turn=True, every=2)
    names = {file.relative_to(drawn).as_posix() for file in drawn.rglob("*.*")}
    assert names == {"still/a.webp", "walk.webp"}
    video, duration = frames_of(drawn / "walk.webp")
    assert (len(video), duration) == (4, 200)
    still, _ = frames_of(drawn / "still/a.webp")
    assert len(still) == round(drawings.TURN_S * drawings.STILL_RATE)
    assert {frame.shape for frame in video + still} == {(TURNING_HEIGHT, 2 * TURNING_HEIGHT, 3)}
    # The image stays, the pose turns: half way round it is its own mirror image.
    first, quarter, half = (still[n].astype(int) for n in (0, len(still) // 4, len(still) // 2))
    side = TURNING_HEIGHT
    assert np.abs(first[:, :side] - half[:, :side]).mean() < 2
    lit = [frame[:, side:].max(axis=-1) > 60 for frame in (first, quarter, half)]
    assert (lit[0] ^ lit[1]).sum() > 200
    assert (lit[0][:, ::-1] ^ lit[2]).mean() < 0.25 * (lit[0][:, ::-1] ^ lit[1]).mean()


def test_animated_pictures_have_their_limits(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = clip(tmp_path, 8) / "walk.avi"
    with pytest.raises(InputError, match="--turn: says how to draw; give --draw DIR too"):
        predict.run([inputs], model, tmp_path / "p.json", turn=True)
    monkeypatch.setattr(drawings, "MOST_FRAMES", 7)
    with pytest.raises(InputError, match=r"walk\.avi: 8 frames are too many .* with --every"):
        predict.run([inputs], model, tmp_path / "p.json", draw=tmp_path / "d", turn=True)
    assert not (tmp_path / "d").exists()
