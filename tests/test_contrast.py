"""Bodies of a known contrast: reflections, rest, intruders, and what tells of them afterwards.

The scene is an animal on a floor that mirrors it, before a wall: drawn here, so that its true mask
is known.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from test_folder import configure, save, save_video
from test_validation import failing
from tiny_run import random_model

from skelift.commands import predict
from skelift.config import BodyConfig, Contrast, compose
from skelift.data import static_camera
from skelift.data.background import MedianBackground
from skelift.data.contrast import ContrastBackground
from skelift.data.folder import prepare
from skelift.data.format import CONTACT_SHEET, SAMPLE, Dataset
from skelift.data.measures import measure_dataset
from skelift.data.mirror import mirrored
from skelift.data.takes import jumps, sudden_sides
from skelift.errors import InputError
from skelift.inference.cropping import Box
from skelift.inference.frames import find_sources

HEIGHT, WIDTH = 240, 320
FLOOR = 120  # row from which on the floor is seen
Array = NDArray[np.uint8]
Place = tuple[int, int]
WALK = [(60 + 9 * step, 165 + int(18 * np.sin(step / 3))) for step in range(24)]
REST = [(60, 160)] * 4 + [(80 + 20 * step, 160) for step in range(5)] + [(200, 170)] * 15


def room() -> NDArray[np.float64]:
    """A patterned wall, and a grey floor with a red stripe."""
    rng = np.random.default_rng(5)
    bricks = rng.integers(110, 200, (24, 32, 1)) + rng.integers(0, 12, (24, 32, 3))
    wall = np.kron(bricks, np.ones((10, 10, 1)))
    wall[FLOOR:] = 140 + np.kron(rng.integers(0, 12, (12, 32, 1)), np.ones((10, 10, 1)))
    wall[FLOOR:, 150:156, 1:] -= 40
    return wall.astype(np.float64)


def animal(place: Place, scale: int = 1) -> tuple[Array, Array]:
    """Mask of the whole animal, and of its pale, bare parts: an ear and a paw."""
    x, y = (value * scale for value in place)
    whole, bare = np.zeros((2, HEIGHT * scale, WIDTH * scale), np.uint8)
    cv2.ellipse(whole, (x, y), (26 * scale, 15 * scale), 0, 0, 360, 255, -1)
    for dx, dy in ((18, -13), (10, 14)):
        for mask in (whole, bare):
            cv2.circle(mask, (x + dx * scale, y + dy * scale), 4 * scale, 255, -1)
    return whole, bare


def picture(
    place: Place | None, intruder: Place | None = None, mirror: float = 0.5, seed: int = 0
) -> tuple[Array, Array]:
    """An image of the room and the true mask; ``mirror`` is how much the floor shows of the body.

    ``intruder`` is where the foot of somebody in dark clothes is who walks behind the floor.
    """
    image = room()
    if intruder:
        x, y = intruder
        cv2.rectangle(image, (x - 30, 0), (x + 30, y), (50.0, 45.0, 60.0), -1)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    if place:
        mask, bare = animal(place)
        fur = np.where(bare[..., None] > 0, [170.0, 110.0, 100.0], [24.0, 22.0, 25.0])
        mirrored = np.zeros_like(mask)
        bottom = place[1] + 16
        depth = min(HEIGHT - bottom, bottom)
        mirrored[bottom : bottom + depth] = mask[bottom - depth : bottom][::-1]
        image = np.where(mirrored[..., None] > 0, (1 - mirror) * image + mirror * 23, image)
        image = np.where(mask[..., None] > 0, fur, image)
    noise = np.random.default_rng(seed).normal(0, 1.5, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8), mask


def clip(
    places: Sequence[Place | None], intruders: dict[int, Place] | None = None
) -> tuple[list[Array], list[Array]]:
    pairs = [picture(p, (intruders or {}).get(i), seed=i) for i, p in enumerate(places)]
    images, masks = zip(*pairs, strict=True)
    return list(images), list(masks)


def known(**keys: Any) -> BodyConfig:
    return BodyConfig(**{"contrast": "darker"} | keys)


def find(images: Sequence[Array], body: BodyConfig, **options: Any) -> list[Array]:
    with ThreadPoolExecutor(2) as pool:
        return ContrastBackground(images, body, **options).masks(images, pool)


def overlaps(found: Iterable[Array], true: Iterable[Array]) -> list[float]:
    """Intersection over union of each pair."""
    pairs = [(f > 0, t > 0) for f, t in zip(found, true, strict=True)]
    return [float((f & t).sum() / (f | t).sum()) for f, t in pairs]


def test_what_the_floor_mirrors_is_no_body() -> None:
    images, masks = clip(WALK)
    background = MedianBackground(images)
    area = np.mean([mask > 0 for mask in masks])
    plain = np.mean([background.mask(image) > 0 for image in images])
    assert plain > 1.4 * area, "hard, as it is meant to be"
    found = find(images, known())
    assert min(overlaps(found, masks)) > 0.85
    assert np.mean([mask > 0 for mask in found]) == pytest.approx(area, rel=0.08)


def test_bare_ears_and_paws_belong_to_the_body() -> None:
    images, _ = clip(WALK)
    found = find(images, known())
    shares = []
    for mask, place in zip(found, WALK, strict=True):
        fur = cv2.ellipse(np.zeros_like(mask), place, (27, 16), 0, 0, 360, 255, -1)
        bare = (animal(place)[1] > 0) & (fur == 0)
        shares.append((bare & (mask > 0)).sum() / bare.sum())
    assert np.mean(shares) > 0.6


def test_a_body_that_rests_is_not_background() -> None:
    images, masks = clip(REST)
    assert min(overlaps(find(images, known()), masks)) > 0.8


def test_brighter_is_darker_upside_down() -> None:
    images, _ = clip(WALK[:12])
    darker = find(images, known(opacity=0.7))
    brighter = find([255 - image for image in images], known(contrast="brighter", opacity=0.7))
    # Bare skin is redder in one and bluer in the other.
    assert min(overlaps(brighter, darker)) > 0.85


INTRUDERS = {step: (40 + 30 * (step - 8), FLOOR + 110) for step in range(8, 16)}


def test_somebody_larger_is_not_followed() -> None:
    images, masks = clip(WALK, INTRUDERS)
    found = find(images, known())
    away = [abs(INTRUDERS[s][0] - WALK[s][0]) > 60 if s in INTRUDERS else True for s in range(24)]
    both = [o for o, clear in zip(overlaps(found, masks), away, strict=True) if clear]
    assert min(both) > 0.8
    sizes = [np.count_nonzero(mask) for mask in found]
    assert max(sizes) < 1.5 * np.median(sizes)


def test_of_two_alike_the_nearer_to_the_last_place_is_taken() -> None:
    images, masks = [], []
    for step, place in enumerate(WALK):
        image, mask = picture(place, seed=step)
        if step >= 12:  # a second one appears at the other end
            other, where = picture((40, 190), seed=step)
            image = np.where(where[..., None] > 0, other, image)
        images.append(image)
        masks.append(mask)
    assert min(overlaps(find(images, known()), masks)) > 0.8


def test_nobody_in_sight_is_an_empty_mask() -> None:
    images, _ = clip([*WALK[:16], None, None, None])
    found = find(images, known())
    assert [bool(mask.any()) for mask in found] == [True] * 16 + [False] * 3


def test_only_the_region_is_searched() -> None:
    images, masks = [], []
    for step in range(16):
        image, mask = picture((60 + 4 * step, 160), seed=step)
        other, where = picture((200 + 5 * step, 195), seed=step)
        images.append(np.where(where[..., None] > 0, other, image))
        masks.append(mask)
    left = np.zeros((HEIGHT, WIDTH), np.uint8)
    left[:, :160] = 255
    assert min(overlaps(find(images, known(), region=lambda like: left), masks)) > 0.8


def test_only_its_colours_are_the_body() -> None:
    images, masks = [], []
    for step in range(16):
        image, mask = picture((60 + 4 * step, 160), seed=step)
        where = animal((200 + 5 * step, 195))[0]
        images.append(np.where(where[..., None] > 0, np.uint8([20, 20, 90]), image))
        masks.append(mask)
    body = known(colours=[[0, 0, 0], [60, 60, 60]])
    assert min(overlaps(find(images, body), masks)) > 0.8


def test_outlines_have_full_resolution() -> None:
    """Of an image four times as large, the outline is right to a few of its pixels."""
    images, masks = [], []
    behind = cv2.resize(np.clip(room(), 0, 255).astype(np.uint8), None, fx=4, fy=4)
    for place in WALK[::3]:
        mask, _ = animal(place, scale=4)
        images.append(np.where(mask[..., None] > 0, np.uint8([24, 22, 25]), behind))
        masks.append(mask)
    found = find(images, known())
    assert min(overlaps(found, masks)) > 0.95
    for mask, true in zip(found, masks, strict=True):
        reach = cv2.distanceTransform(255 - cv2.Canny(true, 50, 150), cv2.DIST_L2, 5)
        assert np.quantile(reach[cv2.Canny(mask, 50, 150) > 0], 0.95) < 4


# prepare


def videos(folder: Path, intruders: dict[int, Place] | None = None) -> Path:
    for camera in ("left", "right"):
        images, _ = clip(WALK if camera == "left" else WALK[::-1], intruders)
        save_video(folder / "videos" / "day" / f"{camera}.avi", images)
    return folder / "videos"


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with videos of the animal alone, and the data set of them in ``out``."""
    folder = tmp_path_factory.mktemp("walked")
    videos(folder)
    prepare(configure(folder, **options(folder)))
    return folder


def options(folder: Path, **more: Any) -> dict[str, Any]:
    given = {"images": folder / "videos", "layout": "clip/camera", "background": "median"}
    return given | {"body.contrast": "darker"} | more


def sides(data: Dataset) -> NDArray[np.floating]:
    return np.concatenate([data.split(name).samples["crop"][:, 2] for name in data.splits])


def test_prepare_follows_the_animal_and_validate_finds_who_does_not(tmp_path: Path) -> None:
    videos(tmp_path, INTRUDERS)
    good = Dataset(prepare(configure(tmp_path, **options(tmp_path))))
    assert sides(good).max() < 1.5 * np.median(sides(good))
    assert good.info.details["masks"] == {"darker": sum(good.counts[n] for n in good.splits)}
    assert "samples/intruder" not in failing(measure_dataset(good))
    plain = Dataset(prepare(configure(tmp_path, **options(tmp_path, **{"body.contrast": "any"}))))
    assert sides(plain).max() > 3 * np.median(sides(plain)), "hard, as it is meant to be"
    assert "samples/intruder" in failing(measure_dataset(plain))


def test_validate_sees_what_the_floor_mirrors(walked: Path, tmp_path: Path) -> None:
    good = Dataset(walked / "out")
    assert np.mean(measure_dataset(good)["images"]["mirrored"] > 0.65) < 0.05
    plain = Dataset(prepare(configure(tmp_path, **options(walked, **{"body.contrast": "any"}))))
    assert np.mean(measure_dataset(plain)["images"]["mirrored"] > 0.65) > 0.3


def test_trousers_are_no_mirror_image() -> None:
    body = np.zeros((64, 64), np.uint8)
    cv2.ellipse(body, (32, 20), (9, 16), 0, 0, 360, 255, -1)
    shirt = body.copy()
    for x in (22, 42):
        cv2.line(body, (32, 34), (x, 62), 255, 5)
    image = np.where(shirt[..., None] > 0, np.uint8(60), np.uint8(180)) * (body[..., None] > 0)
    image = np.repeat(image, 3, axis=-1).astype(np.uint8)
    assert mirrored(image, body) < 0.65
    twice = shirt.copy()
    twice[32:] = shirt[:32][::-1]
    image = np.repeat(np.where(np.arange(64)[:, None] < 32, 60, 130)[..., None], 64, 1)
    image = (np.repeat(image, 3, axis=-1) * (twice[..., None] > 0)).astype(np.uint8)
    assert mirrored(image, twice) > 0.9


def test_killed_run_follows_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    videos(tmp_path, INTRUDERS)
    config = configure(tmp_path, **options(tmp_path))
    whole = Dataset(prepare(config)).checksums
    masks = ContrastBackground.masks
    blocks: list[int] = []

    def counted(self: ContrastBackground, *rest: Any) -> list[Array]:
        blocks.append(len(blocks))
        if len(blocks) == 2:
            raise KeyboardInterrupt
        return masks(self, *rest)

    monkeypatch.setattr(ContrastBackground, "masks", counted)
    with pytest.raises(KeyboardInterrupt):
        prepare(config)
    assert Dataset(prepare(config)).checksums == whole
    assert len(blocks) == 2 + 3  # of 2 x 2 the first is kept
    monkeypatch.setattr(static_camera, "cores", lambda: 4)
    assert Dataset(prepare(config)).checksums == whole


def test_contact_sheet_is_no_part_of_the_data(walked: Path) -> None:
    data = Dataset(walked / "out")
    sheet = cv2.imread(str(data.folder / CONTACT_SHEET))
    rows = 2  # cameras
    assert sheet.shape[0] % rows == 0
    assert sheet.std() > 20
    assert CONTACT_SHEET not in data.checksums
    (data.folder / CONTACT_SHEET).unlink()
    Dataset(data.folder).verify()


def region_files(tmp: Path) -> Path:
    for camera in ("left", "right"):
        save(tmp / "regions" / f"{camera}.png", np.full((HEIGHT, WIDTH), 255, np.uint8))
    return tmp / "regions"


def test_regions_are_of_cameras(walked: Path, tmp_path: Path) -> None:
    everywhere = Dataset(walked / "out").checksums
    by_box = options(walked, **{"body.regions": f"{{left: [0, 0, {WIDTH}, {HEIGHT}]}}"})
    assert Dataset(prepare(configure(tmp_path, **by_box))).checksums == everywhere
    by_mask = options(walked, **{"body.region_masks": region_files(tmp_path)})
    data = Dataset(prepare(configure(tmp_path, **by_mask)))
    assert data.checksums == everywhere
    assert data.info.details["folder"]["body"]["region_masks"] == "regions"


def test_frames_that_show_no_body_say_what_may_be_wrong(walked: Path, tmp_path: Path) -> None:
    corner = options(walked, **{"body.regions": "{*: [0, 0, 9, 9]}"})
    with pytest.raises(InputError, match=r"no body in .*=darker and its region, or give"):
        prepare(configure(tmp_path, **corner))
    alone = options(walked, test="['*:0-5']", exclude=999)
    with pytest.raises(InputError, match=r"no train images are left .*; lower exclude"):
        prepare(configure(tmp_path, **alone))


def test_light_that_changes_is_named(tmp_path: Path) -> None:
    images = [image // 2 if step > 11 else image for step, image in enumerate(clip(WALK)[0])]
    save_video(tmp_path / "videos/a/one.avi", images)
    with pytest.raises(InputError, match=r"covers all of the image; .* needs .* steady light; cut"):
        prepare(configure(tmp_path, **options(tmp_path)))


def wrong_camera(tmp: Path) -> dict[str, Any]:
    return {"body.regions": "{lef: [0, 0, 9, 9]}"}


def outside(tmp: Path) -> dict[str, Any]:
    return {"body.regions": "{left: [900, 900, 999, 999]}"}


def no_file(tmp: Path) -> dict[str, Any]:
    (region_files(tmp) / "right.png").unlink()
    return {"body.region_masks": tmp / "regions"}


def small_file(tmp: Path) -> dict[str, Any]:
    save(region_files(tmp) / "left.png", np.full((9, 9), 255, np.uint8))
    return {"body.region_masks": tmp / "regions"}


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (wrong_camera, r"regions: no camera is called lef; there are left, right"),
        (outside, r"regions: of camera left: nothing of it lies in the image"),
        (no_file, r"regions/right\.png: not found; draw"),
        (small_file, r"regions/left\.png: is 9 x 9 pixels, but 320 x 240"),
    ],
)
def test_bad_regions_are_one_clear_line(
    walked: Path, tmp_path: Path, fault: Callable[[Path], dict[str, Any]], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        prepare(configure(tmp_path, **options(walked, **fault(tmp_path))))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["body.opacity=0.5"], "body.opacity has no effect with data.folder.body.contrast=any"),
        (["body.contrast=darker"], "has no effect with data.folder.background=keep; set"),
        (
            ["background=median", "body.contrast=darker", "body.regions={a: [1, 2, 3]}"],
            "regions: of a are no corners",
        ),
        (
            [
                "background=median",
                "body.contrast=darker",
                "body.regions={a: [1, 2, 3, 99999999999]}",
            ],
            r"regions\.a\[3\]=99999999999: must be 1000000000 or less",
        ),
        (
            ["background=median", "body.contrast=darker", "body.colours=[[9,0,0],[8,9,9]]"],
            "colours=.*: must be the lowest, then the highest",
        ),
        (["body.contrast=dark"], "did you mean darker"),
        (["body.colours=[[0,0,0],[256,9,9]]"], "must be 255 or less"),
    ],
)
def test_keys_that_do_not_fit_are_refused(overrides: list[str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        compose(["data=folder", *(f"data.folder.{override}" for override in overrides)])


# Crops over time.


def samples(crops: Iterable[tuple[float, float, float]], camera: str = "a") -> NDArray[np.void]:
    rows = [tuple(crop) for crop in crops]
    table = np.zeros(len(rows), SAMPLE)
    table["crop"], table["camera"], table["frame"] = rows, camera, np.arange(len(rows))
    return table


def test_sudden_sides_are_those_of_somebody_else() -> None:
    side = 100 + 10 * np.sin(np.arange(30))
    side[[12, 13, 14]] = 800, 850, 300  # he leaves the image bit by bit
    side[20] = 20
    table = samples((50.0, 50.0, s) for s in side)
    found = sudden_sides(table)
    assert np.flatnonzero(found > 3).tolist() == [12, 13]
    assert np.flatnonzero(found < 1 / 3).tolist() == [20]
    shuffled = np.random.default_rng(0).permutation(len(table))
    np.testing.assert_array_equal(sudden_sides(table[shuffled]), found[shuffled])


def test_who_comes_nearer_is_no_intruder() -> None:
    side = np.geomspace(60, 900, 60)
    assert (sudden_sides(samples((50.0, 50.0, s) for s in side)) == 1).all()
    far = samples(((50.0, 50.0, s) for s in side[:20]), "far")
    near = samples(((50.0, 50.0, s) for s in side[-20:]), "near")
    assert (sudden_sides(np.concatenate([far, near])) == 1).all(), "of cameras of their own"


def test_jumps_are_farther_than_the_take_moves() -> None:
    walk = [(10.0 * step, 50.0, 100.0) for step in range(40)]
    assert not jumps(samples(walk)).any()
    walk[20] = (900.0, 50.0, 100.0)
    assert np.flatnonzero(jumps(samples(walk))).tolist() == [20, 21]
    fast = [(500.0 * (step % 2), 50.0, 100.0) for step in range(40)]
    assert not jumps(samples(fast)).any(), "images far apart in time"


def test_predict_searches_by_contrast(tmp_path: Path) -> None:
    images, masks = clip(WALK)
    for step, image in enumerate(images):
        save(tmp_path / f"walk/{step:02d}.png", image)
    (source,) = find_sources([tmp_path / "walk"])

    def area(contrast: Contrast, by: str) -> float:
        found = list(source.frames("median", contrast=contrast))
        assert {frame.mask_from for frame in found} == {by}
        return float(np.mean([frame.mask > 0 for frame in found if frame.mask is not None]))

    true = np.mean([mask > 0 for mask in masks])
    assert area("darker", "darker") == pytest.approx(true, rel=0.08)
    assert area("any", "median") > 1.4 * true, "with what the floor mirrors"


def test_predict_searches_in_the_box_alone(tmp_path: Path) -> None:
    """Somebody larger walks behind the arena."""
    for step in range(30):
        image = np.random.default_rng(step).normal(140, 3, (HEIGHT, WIDTH, 3))
        for place, axes in (
            ((90 + round(60 * np.sin(step / 5)), HEIGHT - 50), (24, 12)),
            ((WIDTH // 2 + round(80 * np.cos(step / 5)), 45), (60, 30)),
        ):
            cv2.ellipse(image, place, axes, 0, 0, 360, (30.0,) * 3, -1)
        save(tmp_path / f"walk/{step:02d}.png", image.clip(0, 255).astype(np.uint8))
    (source,) = find_sources([tmp_path / "walk"])
    arena = (0, HEIGHT - 80, WIDTH, 80)

    def rows_of_bodies(**box: Any) -> set[int]:
        frames = source.frames("median", contrast="darker", **box)
        return {int(y) for f in frames if f.mask is not None for y in np.nonzero(f.mask)[0]}

    assert min(rows_of_bodies(box=arena)) >= HEIGHT - 80
    assert min(rows_of_bodies()) < 45, "the larger one"


@pytest.mark.parametrize(
    ("box", "fix"),
    [
        (None, "check --contrast darker, or give masks"),
        ((0, 0, 30, 30), "check --contrast darker and --box, or give masks"),
    ],
)
def test_nobody_found_by_contrast_names_the_options(
    tmp_path: Path, box: Box | None, fix: str
) -> None:
    """The body is there, outside the box; without one the arena is empty."""
    for step in range(10):
        image = np.random.default_rng(step).normal(140, 3, (HEIGHT, WIDTH, 3))
        if box:
            place = (90 + round(60 * np.sin(step)), HEIGHT - 50)
            cv2.ellipse(image, place, (24, 12), 0, 0, 360, (30.0,) * 3, -1)
        save(tmp_path / f"walk/{step:02d}.png", image.clip(0, 255).astype(np.uint8))
    model, out = random_model(tmp_path / "model"), tmp_path / "p.json"
    with pytest.raises(InputError, match=f"no body in any of 10 images; {fix}$"):
        predict.run(
            [tmp_path / "walk"], model, out, background="median", contrast="darker", box=box
        )
    assert not out.exists()


@pytest.mark.parametrize("contrast", ["darker", "brighter"])
def test_the_wrong_contrast_is_refused(tmp_path: Path, contrast: Contrast) -> None:
    """Where the body often is it becomes background, and the bare floor was taken for a body."""
    body = 24.0 if contrast == "brighter" else 250.0
    for step in range(30):
        image = np.random.default_rng(step).normal(140, 3, (HEIGHT, WIDTH, 3))
        place = (160 + round(70 * np.sin(step / 5)), 120)
        cv2.ellipse(image, place, (40, 20), 0, 0, 360, (body,) * 3, -1)
        save(tmp_path / f"walk/{step:02d}.png", image.clip(0, 255).astype(np.uint8))
    (source,) = find_sources([tmp_path / "walk"])
    with pytest.raises(InputError, match=rf"00\.png: contrast={contrast}, .* set the contrast"):
        list(source.frames("median", contrast=contrast))
    other: Contrast = "darker" if contrast == "brighter" else "brighter"
    assert all(frame.mask is not None for frame in source.frames("median", contrast=other))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "--contrast: .* give --background median"),
        ({"background": "median", "masks": Path("masks")}, "--contrast and --masks: .* give one"),
    ],
)
def test_predict_refuses_contrast_without_a_search(
    tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        predict.run([tmp_path], None, tmp_path / "p.json", contrast="darker", **options)
