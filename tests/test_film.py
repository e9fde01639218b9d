"""Poses of films, steadied over time, against loops in float64 and against one another."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import draw, load_skeleton, random_pose
from tiny_run import random_model

from skelift.commands import predict
from skelift.data import takes
from skelift.data.format import SAMPLE, Dataset, DatasetInfo, fill_rows, write_dataset
from skelift.errors import InputError
from skelift.evaluation.predictions import predict_split, steadied
from skelift.film import FARTHEST, REACH_S, Sight, agreed_front, steady_pose, windows
from skelift.inference.cropping import FACING_HEADS, Facing
from skelift.inference.engines import BATCH, Answer, LocalEngine, predict_frames
from skelift.inference.frames import Frame
from skelift.inference.steady import Entry
from skelift.models.heads import HEADS
from skelift.models.heads.head import FacingHead
from skelift.models.heads.pose_facing import PoseFacing
from skelift.models.io import load_model, write_model

SKELETON = load_skeleton("h36m17")
SIDE = 96


def sight(time_s: float = 0.0, front: bool = True, seed: int = 0, **given: Any) -> Sight:
    rng = np.random.default_rng(seed)
    odds = rng.uniform(0.1, 3) * (1 if front else -1)
    y, v = rng.uniform(0, 100, (17, 2)), rng.normal(0, 300, (17, 3))
    return replace(Sight(time_s, np.array([50.0, 60, 80]), odds, front, y, v), **given)


@given(
    st.lists(
        st.one_of(st.floats(0, 0.3), st.sampled_from([0.0, 0.01, 1 / 30, REACH_S])), max_size=70
    ),
    st.sets(st.integers(0, 69)),
)
def test_windows_reach_a_quarter_of_a_second(steps: list[float], alone: set[int]) -> None:
    times = np.cumsum(steps)
    items = [(row, np.nan if row in alone else time) for row, time in enumerate(times)]
    read = 0

    def source() -> Iterator[tuple[int, float]]:
        nonlocal read
        for item in items:
            read += 1
            yield item

    place = 0
    for (row, time), near in windows(source(), lambda item: item[1]):
        assert row == place
        assert read <= row + FARTHEST + 2
        place += 1
        expected = {
            other
            for other, then in items
            if other == row or (abs(other - row) <= FARTHEST and abs(then - time) <= REACH_S)
        }
        found = [other for other, _ in near]
        assert len(found) == len(set(found))
        # One that stands alone may end what is read ahead: a film has none, or nothing else.
        assert set(found) <= expected
        if not alone:
            assert set(found) == expected
    assert place == len(items)


def test_a_front_is_one_by_all_frames_that_show_the_same_body() -> None:
    now = sight(front_log_odds=0.5)
    against = [sight(0.1, front_log_odds=-0.4), sight(-0.1, front_log_odds=-0.3)]
    assert not agreed_front(now, [now, *against])
    assert agreed_front(now, [now, against[0]])
    # After a cut, the body stands elsewhere, or is of another size.
    for crop in ([200.0, 60, 80], [50.0, 60, 20]):
        elsewhere = [replace(other, crop=np.array(crop)) for other in against]
        assert agreed_front(now, [now, *elsewhere])
    walked = [replace(other, crop=np.array([60.0, 60, 90])) for other in against]
    assert not agreed_front(now, [now, *walked])


def test_a_steady_pose_is_the_mean_of_those_around_it() -> None:
    now = sight(1.0, seed=1)
    near = [now, sight(0.9, seed=2), sight(1.2, seed=3), sight(1.25, seed=4)]
    others = [sight(1.05, front=False, seed=5), sight(0.95, seed=6, crop=np.array([500.0, 60, 80]))]
    y, v = steady_pose(now, near + others)
    weights = {1: 1.0, 2: 0.6, 3: 0.2}  # of the seeds; 0 at a quarter of a second
    total = sum(weights.values())
    mean_2d, mean_3d, size = np.zeros((17, 2)), np.zeros((17, 3)), 0.0
    for seed, weight in weights.items():
        shown = sight(seed=seed)
        mean_2d += weight / total * shown.joints_2d_px
        mean_3d += weight / total * shown.joints_3d_mm
        size += weight / total * float(np.sqrt((shown.joints_3d_mm**2).sum()))
    np.testing.assert_allclose(y, mean_2d)
    np.testing.assert_allclose(v, mean_3d * size / np.sqrt((mean_3d**2).sum()))
    np.testing.assert_allclose(steady_pose(now, [now])[1], now.joints_3d_mm)


class Flickering:
    """Test double of an engine: log-odds of frames as told; a pose of a front is all ones."""

    def __init__(self, odds: Sequence[float]) -> None:
        self.odds = odds
        self.asked: list[tuple[int, Facing]] = []

    def __call__(self, frames: Sequence[Frame], focal: float | None = None) -> Answer:
        return {"predictions": [self._entry(frame) for frame in frames]}

    def _entry(self, frame: Frame) -> dict[str, Any]:
        facing = frame.facing
        assert frame.index is not None
        odds = self.odds[frame.index]
        if facing:
            self.asked.append((frame.index, facing))
        value = facing or ("front" if odds > 0 else "back")
        told = {"value": value, "from": "given" if facing else "image", "front_log_odds": odds}
        number = 1.0 if value == "front" else -1.0
        return {
            "facing": told,
            "crop": {"x": 10.0, "y": 10.0, "side": 10.0, "from": "mask"},
            "joints_2d_px": [[number] * 2],
            "joints_3d_mm": [[number] * 3],
        }


def film(count: int, empty: Sequence[int] = ()) -> Iterator[Frame]:
    for index in range(count):
        mask = np.full((4, 4), 0 if index in empty else 255, np.uint8)
        yield Frame(Path("a.mp4"), np.zeros((4, 4, 3), np.uint8), mask, index, index / 25)


def test_frames_that_flicker_are_asked_again() -> None:
    odds = [2.0] * 40
    odds[3], odds[20], odds[21] = -1.0, -3.0, -1.0
    engine = Flickering(odds)
    found = list(predict_frames(engine, film(40, empty=[5, 21])))
    assert engine.asked == [(3, "front"), (20, "front")]
    assert [each.entry is None for each in found] == [index in (5, 21) for index in range(40)]
    for index, (frame, _, entry) in enumerate(found):
        assert frame.index == index
        if entry:
            assert entry["facing"]["value"] == "front"
            assert entry["facing"]["from"] == ("film" if index in (3, 20) else "image")
            assert entry["facing"]["front_log_odds"] == odds[index]
            assert entry["joints_3d_mm"] == [[1.0] * 3]
            assert entry["frame"] == index
    alone = list(predict_frames(engine, film(40), steady=False))
    values = [each.entry["facing"]["value"] for each in alone if each.entry]
    assert values == ["front" if o > 0 else "back" for o in odds]


def test_what_is_known_is_not_voted_on() -> None:
    engine = Flickering([2.0] * 10)
    for each in predict_frames(engine, (replace(frame, facing="back") for frame in film(10))):
        assert each.entry
        assert each.entry["facing"] | {"front_log_odds": 0} == {
            "value": "back", "from": "given", "front_log_odds": 0,
        }  # fmt: skip
        assert each.entry["joints_3d_mm"] == [[-1.0] * 3]
    assert len(engine.asked) == 10


def test_frames_that_show_nothing_do_not_count(model: Path, tmp_path: Path) -> None:
    """Black frames are left out; one in which nothing marks the body has no say."""
    shown = [frame.image for frame in walkers(6)]
    black, bright = np.zeros_like(shown[0]), np.full_like(shown[0], 200)
    found = {}
    for name, between in (("dark", black), ("light", bright)):
        video = str(tmp_path / f"{name}.avi")
        writer = cv2.VideoWriter(video, cv2.VideoWriter.fourcc(*"MJPG"), 20, (SIDE, SIDE))
        for image in [black, *shown[:3], black, between, *shown[3:], black]:
            writer.write(np.ascontiguousarray(image[..., ::-1]))
        writer.release()
        predict.run([Path(video)], model, tmp_path / "p.json", focal=500.0)
        entries = json.loads((tmp_path / "p.json").read_text())["predictions"]
        found[name] = {entry["frame"]: entry | {"image": ""} for entry in entries}
    light = found["light"].pop(5)
    assert light["crop"]["from"] == "whole image"
    assert light["facing"]["from"] == "image"
    assert list(found["dark"]) == [1, 2, 3, 6, 7, 8]
    assert found["light"] == found["dark"]


def test_photos_stand_alone() -> None:
    odds = [1.0, -5.0, -5.0]
    photos = [replace(frame, time_s=None) for frame in film(3)]
    found = [
        each.entry["facing"]["value"]
        for each in predict_frames(Flickering(odds), photos)
        if each.entry
    ]
    assert found == ["front", "back", "back"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights that takes half of the walkers for fronts."""
    folder = random_model(tmp_path_factory.mktemp("film") / "model", heads=["pose_facing"])
    pipeline, card = load_model(folder, torch.device("cpu"))
    last = cast(PoseFacing, pipeline.heads["pose_facing"]).layers[-1]
    last.weight.data *= 1000  # odds that differ by more than their rounding
    last.bias.data *= 0
    write_model(folder, pipeline, card)
    entries = LocalEngine(folder)(walkers(40))["predictions"]
    last.bias.data -= np.median([entry["facing"]["front_log_odds"] for entry in entries])
    write_model(folder, pipeline, card)
    return folder


def walkers(count: int) -> list[Frame]:
    """Frames of one body, 20 per second, each of another pose."""
    frames = []
    for index in range(count):
        joints = random_pose(SKELETON, np.random.default_rng(index))[:, :2]
        joints = (joints - joints.min(0)) / np.ptp(joints, axis=0).max() * 60 + 18
        image, mask = draw(SKELETON, joints, SIDE, (210, 120, 90))
        frames.append(Frame(Path("a.mp4"), image, mask, index, index / 20))
    return frames


def test_evaluate_steadies_as_predict_does(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, frames = LocalEngine(model), walkers(3 * BATCH)
    prepare = engine._predictor.prepare
    prepared = [prepare(frame.image, frame.mask, focal_px=500.0) for frame in frames]
    info = DatasetInfo("film", SKELETON, 32, 0.13, True, "drawn for tests", "Apache-2.0")
    with write_dataset(tmp_path / "data", info) as writer:
        writer.allocate_split("test", 2 * len(frames), with_2d=False, with_3d=False)
        samples = np.zeros(2 * len(frames), SAMPLE)
        # Two clips, shuffled into one another.
        samples["clip"] = np.tile(["a", "b"], len(frames))
        samples["frame"] = 3 * np.repeat(np.arange(len(frames))[::-1], 2)
        source = np.repeat(np.arange(len(frames))[::-1], 2)
        samples["crop"] = [prepared[row].crop.as_array() for row in source]
        samples["focal"] = 500.0
        images = np.stack([prepared[row].x for row in source])
        fill_rows(writer.folder / "test", 0, images=images, masks=images[..., 0], samples=samples)
    split = Dataset(tmp_path / "data").split("test")
    pipeline, _ = load_model(model, torch.device("cpu"))
    alone = predict_split(pipeline, split, torch.device("cpu"), 7)
    with pytest.raises(InputError, match=r"film_fps: the images of .*test are photos"):
        steadied(pipeline, split, alone, torch.device("cpu"), 60.0)
    monkeypatch.setattr(takes, "UNRELATED", 2.0)  # poses at random make no film
    steady = steadied(pipeline, split, alone, torch.device("cpu"), 60.0)
    crop = samples["crop"][:, None]
    in_image = (steady.joints_2d / 32 - 0.5) * crop[..., 2:] + crop[..., :2]
    found = [each.entry for each in predict_frames(engine, frames, 500.0)]
    changed = 0
    for row, number in enumerate(source):
        entry = found[number]
        assert entry
        changed += entry["facing"]["from"] == "film"
        np.testing.assert_allclose(steady.joints_3d_mm[row], entry["joints_3d_mm"], atol=0.1)
        np.testing.assert_allclose(in_image[row], entry["joints_2d_px"], atol=0.05)
    assert 0 < changed < len(source)
    moved = np.abs(steady.joints_3d_mm - alone.joints_3d_mm).max(axis=(1, 2))
    assert (moved > 1).mean() > 0.9


def test_images_of_a_folder_are_a_film_where_their_rate_is_given(
    model: Path, tmp_path: Path
) -> None:
    frames = walkers(30)
    for frame in frames:
        file = tmp_path / "in" / f"{frame.index:03d}.png"
        file.parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(file), frame.image[..., ::-1])
        assert frame.mask is not None
        assert cv2.imwrite(str(file.with_suffix(".mask.png")), frame.mask)
    out = tmp_path / "p.json"

    def predicted(**options: Any) -> list[Entry]:
        predict.run([tmp_path / "in"], model, out, focal=500.0, **options)
        entries: list[Entry] = json.loads(out.read_text())["predictions"]
        return entries

    for every in (1, 3):
        engine = LocalEngine(model)
        expected = [each.entry for each in predict_frames(engine, frames[::every], 500.0)]
        found = predicted(fps=20.0, every=every)
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=True):
            assert theirs
            assert "frame" not in ours
            for key in ("time_s", "facing", "joints_3d_mm", "joints_2d_px"):
                assert ours[key] == theirs[key]
        if every == 1:
            assert "film" in {entry["facing"]["from"] for entry in found}
    photos = predicted()
    assert {entry["facing"]["from"] for entry in photos} == {"image"}
    assert "time_s" not in photos[0]
    with pytest.raises(InputError, match="--fps and --each-frame: the rate says"):
        predicted(fps=20.0, each_frame=True)


def test_a_model_that_does_not_tell_front_from_back_leaves_frames_alone(tmp_path: Path) -> None:
    plain = random_model(tmp_path / "plain")
    engine, frames = LocalEngine(plain), walkers(5)
    expected = engine(frames)["predictions"]
    for each, entry in zip(predict_frames(engine, frames), expected, strict=True):
        assert each.entry
        assert each.entry["joints_3d_mm"] == entry["joints_3d_mm"]
        assert each.entry["facing"] is None


def test_facing_is_refused_where_nothing_tells_it(model: Path, tmp_path: Path) -> None:
    plain = random_model(tmp_path / "plain")
    image = tmp_path / "p.png"
    assert cv2.imwrite(str(image), walkers(1)[0].image)
    with pytest.raises(InputError, match=r"p\.png: facing: the model tiny does not tell front"):
        predict.run([image], plain, tmp_path / "p.json", facing="front")
    assert not (tmp_path / "p.json").exists()
    entries = {}
    for facing in ("front", "back"):
        predict.run([image], model, tmp_path / "p.json", facing=facing)
        (entries[facing],) = json.loads((tmp_path / "p.json").read_text())["predictions"]
        assert entries[facing]["facing"]["value"] == facing
        assert entries[facing]["facing"]["from"] == "given"
    front, back = (np.array(entry["joints_2d_px"]) for entry in entries.values())
    np.testing.assert_array_equal(front, back[list(SKELETON.swap)])


def test_heads_that_tell_facing_are_known_by_name() -> None:
    assert set(FACING_HEADS) == {n for n, head in HEADS.items() if issubclass(head, FacingHead)}
