"""Who approaches the camera: read off boxes, found in films, and rendered."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from skelift.config import compose
from skelift.data.crop import CropBox
from skelift.data.format import SAMPLE, Split
from skelift.data.motion_cue import (
    REACH,
    STEADY_TIMES,
    radial_motion,
    radial_motion_of,
    steady_motion,
    steady_motion_of,
)
from skelift.errors import InputError
from skelift.synth.generate import open_studio
from skelift.synth.parts import PARTS
from skelift.synth.people import People
from skelift.synth.poses import mirror
from skelift.synth.scene import Moment

LOOKS_DOWN = np.radians(8)


def box_of(feet: tuple[float, float], height: float = 1.8, reach: float = 0.5) -> NDArray:
    """Crop box of an upright block whose feet stand at (right, away) metres on the floor.

    The camera hangs 1.7 m above the floor and looks down by ``LOOKS_DOWN``.
    """
    right, away = feet
    seen = []
    for x in (right - reach / 2, right + reach / 2):
        for up in (0, height):
            y, z = 1.7 - up, away
            c, s = np.cos(LOOKS_DOWN), np.sin(LOOKS_DOWN)
            y, z = c * y - s * z, s * y + c * z
            seen.append((1145 * x / z + 500, 1145 * y / z + 500))
    corners = np.array(seen)
    return CropBox.around(corners.min(0), corners.max(0), 0.13).as_array().astype(float)


@pytest.mark.parametrize("right", [-1.0, 0.0, 1.0])
def test_coming_nearer_is_above_zero_and_going_away_below(right: float) -> None:
    far, near = box_of((right, 5.0)), box_of((right, 4.5))
    assert radial_motion(far, near) == pytest.approx(-radial_motion(near, far))
    # Pinhole: the body grows by 5.0 / 4.5, and by a little more for looking down on it.
    assert 0.02 < radial_motion(far, near) <= np.log(5 / 4.5) * 1.1


def test_going_sideways_jumping_and_raising_an_arm_are_no_approach() -> None:
    stands = box_of((0, 5.0))
    nearer = radial_motion(stands, box_of((0, 4.5)))
    jumped = stands - [0, 60, 0]
    raised = box_of((0, 5.0), height=2.2)
    for later in (box_of((0.5, 5.0)), jumped, raised):
        assert abs(radial_motion(stands, later)) < 0.2 * nearer


def test_steady_motion_is_what_both_halves_show() -> None:
    far, middle, near = (box_of((0, away)) for away in (6.0, 5.0, 4.2))
    assert steady_motion(far, middle, near) == radial_motion(far, near) > 0.15
    assert steady_motion(near, middle, far) == radial_motion(near, far) < -0.15
    for now in (
        near,
        far,
        box_of((0, 7.0)),
        box_of((0, 4.0)),
    ):  # all in one half, or back
        assert steady_motion(far, now, near) == 0
    assert np.isnan(steady_motion(far, np.full(3, np.nan), near))


def test_steady_motion_of_a_film_reaches_further(tmp_path: Path) -> None:
    samples = np.zeros(40, dtype=SAMPLE)
    samples["frame"] = np.arange(40)
    samples["crop"] = [box_of((0, 8 - 0.1 * frame)) for frame in range(40)]
    found, reach = steady_motion_of(film_split(tmp_path, samples)), STEADY_TIMES * REACH
    boxes = samples["crop"].astype(float)
    for row in range(reach, 40 - reach):
        whole = radial_motion(boxes[row - reach], boxes[row + reach])
        assert found[row] == pytest.approx(whole, rel=1e-5)
    assert found[0] == 0  # nothing is known of before


def film_split(folder: Path, samples: NDArray) -> Split:
    np.save(folder / "samples.npy", samples)
    return Split(folder)


def test_films_are_found_by_person_clip_and_camera(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    samples = np.zeros(240, dtype=SAMPLE)
    samples["person"] = rng.choice(["a", "b"], 240)
    samples["clip"] = rng.choice(["walk", "sit", "run"], 240)
    samples["camera"] = rng.choice(["left", "right"], 240)
    samples["frame"] = rng.permutation(240) * 5
    samples["crop"] = rng.uniform(100, 200, (240, 3))
    samples["crop"][:, 0] += samples["frame"]  # else they would be no film
    samples["person"][7] = "alone"
    samples["person"][8:15], samples["person"][15:23] = "few", "enough"
    samples["clip"][8:23], samples["camera"][8:23] = "walk", "left"
    found = radial_motion_of(film_split(tmp_path, samples))
    for row, sample in enumerate(samples):
        names = ("person", "clip", "camera")
        film = [s for s in samples if all(s[n] == sample[n] for n in names)]
        film.sort(key=lambda s: s["frame"])
        place = [s["frame"] for s in film].index(sample["frame"])
        pair = film[max(place - REACH, 0)], film[min(place + REACH, len(film) - 1)]
        if len(film) < 8:
            assert np.isnan(found[row])
        else:
            expected = radial_motion(*(s["crop"].astype(float) for s in pair))
            assert found[row] == pytest.approx(expected, rel=1e-5)
    assert np.isnan(found[7:15]).all()  # a few photos may be in any order
    assert np.isfinite(found[15:23]).all()


def test_what_was_rendered_with_the_images_comes_first(tmp_path: Path) -> None:
    np.save(tmp_path / "radial_motion.npy", np.array([0.5, np.nan], dtype=np.float32))
    found = radial_motion_of(film_split(tmp_path, np.zeros(2, dtype=SAMPLE)))
    np.testing.assert_array_equal(found, np.array([0.5, np.nan], dtype=np.float32))


def test_images_that_an_older_version_rendered_are_no_film(tmp_path: Path) -> None:
    """Images of one clip from one camera's direction, by chance: their order says nothing."""
    samples = np.zeros(40, dtype=SAMPLE)
    samples["crop"] = [box_of((0, 8 - 0.1 * frame)) for frame in range(40)]
    split = film_split(tmp_path, samples)
    assert np.isfinite(steady_motion_of(split)).all()
    np.save(tmp_path / "radial_motion.npy", np.zeros(40, dtype=np.float32))
    with pytest.raises(InputError, match=r"without steady_motion\.npy.*`skelift prepare`"):
        steady_motion_of(Split(tmp_path))


def test_rendered_people_who_walk_come_nearer_or_go_away() -> None:
    """Everyone slides over the floor in an unchanging pose; the camera's depth says which way."""
    config = compose(["data=quickstart", "data.synth.mix=0", "data.synth.wobble_deg=0"])
    synth = config.data.synth
    assert synth is not None
    studio, _ = open_studio(config, replace(synth, mirror=0))
    cast = studio.cast
    assert isinstance(cast, People)
    cast.motion = replace(cast.motion, hips=None)  # nobody is known to come nearer
    assert np.isnan(studio._radial_motion(cast.scenes("train", range(8)))).all()

    rng = np.random.default_rng(0)
    frames, reach = len(cast.motion.rotations), 10  # a third of a second at 30 frames
    upright = np.broadcast_to(np.eye(3), (frames, len(PARTS), 3, 3))
    heading = rng.uniform(-np.pi, np.pi, len(cast.motion.lengths))[cast.motion.clip_of_frame]
    speed = 0.1 * np.arange(frames)[:, None]  # hips-to-head distances a frame
    floor = speed * np.stack([np.cos(heading), np.sin(heading), 0 * heading], 1)
    cast.motion = replace(cast.motion, rotations=upright, hips=floor.astype(np.float32))

    scenes = cast.scenes("train", range(60))
    found = studio._radial_motion(scenes)
    assert scenes.film is not None
    earlier, later = scenes.film
    inner = reach <= scenes.samples["frame"]
    towards = ((later.moved - earlier.moved)[:, None] @ scenes.view.transpose(0, 2, 1))[:, 0, 2]
    fast = inner & (np.abs(towards) > 0.1)
    assert fast.sum() > 20
    np.testing.assert_array_equal(found[fast] > 0, towards[fast] < 0)
    assert scenes.long_film is not None
    before, after = scenes.long_film
    crops = studio._crops(scenes, studio._before_camera(scenes, scenes.rotations))
    steady = studio._steady_motion(scenes, crops)
    long = 3 * reach <= scenes.samples["frame"]
    inside = long & np.isfinite(steady) & (np.abs(steady) > 0.15)
    way = ((after.moved - before.moved)[:, None] @ scenes.view.transpose(0, 2, 1))[:, 0, 2]
    assert inside.sum() >= 3
    np.testing.assert_array_equal(steady[inside] > 0, way[inside] < 0)
    still = replace(cast.motion, hips=np.zeros_like(cast.motion.hips))
    cast.motion = still
    np.testing.assert_array_equal(studio._radial_motion(cast.scenes("train", range(8))), 0)


def test_what_is_mirrored_is_mirrored_before_and_after() -> None:
    synth = compose(["data=quickstart", "data.synth.wobble_deg=0"]).data.synth
    assert synth is not None

    def film(**varied: float) -> list[Moment]:
        config = compose(["data=quickstart"])
        studio, _ = open_studio(config, replace(synth, **varied))
        scenes = studio.cast.scenes("train", range(40))
        assert scenes.film is not None
        now = Moment(scenes.rotations, np.zeros((40, 3)))
        return [scenes.film[0], now, scenes.film[1]]

    as_captured, mirrored = film(mix=0.5, mirror=0.0), film(mix=0.5, mirror=1.0)
    mixed, plain = film(mix=1.0, mirror=0.0), film(mix=0.0, mirror=0.0)
    legs = [PARTS.index(part) for part in ("hips", "l_thigh", "r_foot")]
    for was, became in zip(as_captured, mirrored, strict=True):
        np.testing.assert_array_equal(became.rotations, mirror(was.rotations))
        np.testing.assert_array_equal(became.moved, was.moved * [-1, 1, 1])
    for was, became in zip(plain, mixed, strict=True):  # goes where its legs go
        np.testing.assert_array_equal(became.rotations[:, legs], was.rotations[:, legs])
        np.testing.assert_array_equal(became.moved, was.moved)
    assert np.abs(as_captured[2].moved - as_captured[0].moved).max() > 0.3  # metres
