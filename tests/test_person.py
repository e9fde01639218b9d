"""The person in an ordinary photo: found, cut out, and every answer says by what."""

import json
import subprocess
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from test_folder import configure, save, save_poses
from test_predict_files import model  # noqa: F401  # a fixture

from skelift.cli import main
from skelift.commands import predict
from skelift.data.cameras import Camera
from skelift.data.crop import CropBox
from skelift.data.folder import prepare
from skelift.data.format import Dataset
from skelift.data.masked_frames import masked_frames
from skelift.data.person import Person, StaticPerson, is_static, look_again
from skelift.data.segmenter import SIDE, Confidence, placed
from skelift.data.static_camera import Search
from skelift.errors import InputError, RequestError
from skelift.inference.cropping import Query
from skelift.inference.frames import find_sources
from skelift.inference.pose_files import read_pose_table
from skelift.inference.predictor import Predictor
from skelift.synth.sample import sample_images
from skelift.weights import SEGMENTER

Array = NDArray[np.uint8]
HEIGHT, WIDTH, BODY = 360, 560, 260


@pytest.fixture(scope="module")
def people() -> tuple[list[Array], list[Array]]:
    """Rendered people (BODY, BODY, 3) on black, and their masks."""
    images = [
        cv2.resize(image, (BODY, BODY), interpolation=cv2.INTER_AREA)
        for image in sample_images(3, 320)
    ]
    return images, [(image.max(-1) > 12).astype(np.uint8) * np.uint8(255) for image in images]


@pytest.fixture(scope="module")
def room() -> Array:
    """A wall and a floor with a few things before them."""
    rng = np.random.default_rng(5)
    room = np.full((HEIGHT, WIDTH, 3), (196, 190, 178), np.float32)
    room[250:] = 120, 96, 80
    for _ in range(7):
        x, y = rng.integers(0, WIDTH), rng.integers(0, HEIGHT)
        cv2.rectangle(room, (x, y), (x + 60, y + 40), rng.uniform(60, 200, 3).tolist(), -1)
    room += cv2.GaussianBlur(rng.normal(0, 30, room.shape).astype(np.float32), (0, 0), 2)
    return room.clip(0, 255).astype(np.uint8)


def paste(room: Array, person: Array, mask: Array, x: int, y: int) -> tuple[Array, Array]:
    """A photo with the person's square at x, y, and the mask of the person in it."""
    photo, whole = room.copy(), np.zeros(room.shape[:2], np.uint8)
    place = slice(y, y + BODY), slice(x, x + BODY)
    photo[place] = np.where(mask[..., None] > 0, person, photo[place])
    whole[place] = mask
    return photo, whole


def overlap(found: Array, true: Array) -> float:
    return float(((found > 0) & (true > 0)).sum() / ((found > 0) | (true > 0)).sum())


def write_frames(folder: Path, photos: Sequence[Array]) -> Path:
    folder.mkdir(parents=True)
    for number, photo in enumerate(photos):
        save(folder / f"{number:03d}.png", photo)
    return folder


def test_segmenter_is_the_file_that_its_readme_names() -> None:
    readme = SEGMENTER.with_name("README.md").read_text()
    assert sha256(SEGMENTER.read_bytes()).hexdigest() in readme
    assert "Apache License" in SEGMENTER.with_name("LICENSE").read_text()


def test_squares_are_put_back_where_they_were_cut() -> None:
    """What ``CropBox.cut`` takes out, ``placed`` puts back: both count from pixels' edges."""
    image = np.zeros((90, 120), np.uint8)
    image[30:50, 40:70] = 255
    square = CropBox(57.0, 44.0, 64.0)
    back = placed(square.cut(image, 256), square, CropBox(60, 60, 120), 120, 90)
    np.testing.assert_allclose(back, image, atol=140)  # the edge's pixels are mixed
    assert overlap((back > 127).astype(np.uint8), image) == 1
    half = placed(square.cut(image, 256), square, CropBox(60, 60, 120), 60, 45)
    assert overlap((half > 127).astype(np.uint8), image[::2, ::2]) == 1


@pytest.mark.parametrize(("number", "x", "y"), [(0, 30, 60), (1, 270, 80), (2, 150, 40)])
def test_person_is_found_in_a_photo(
    people: tuple[list[Array], list[Array]], room: Array, number: int, x: int, y: int
) -> None:
    photo, true = paste(room, people[0][number], people[1][number], x, y)
    assert overlap(Person().mask(photo), true) > 0.6


def test_outlines_of_narrow_people_are_close(
    people: tuple[list[Array], list[Array]], room: Array
) -> None:
    """Against exact masks."""
    photos = [paste(room, people[0][n], people[1][n], 30 + 120 * n, 60) for n in range(3)]
    assert np.mean([overlap(Person().mask(photo), true) for photo, true in photos]) > 0.94


@pytest.mark.parametrize("halves", [False, True])
@pytest.mark.parametrize(
    ("half_axes", "ratio"), [((70, 70), 1.0), ((60, 75), 1.0), ((75, 60), 1.0), ((25, 80), 0.5)]
)
def test_the_body_fills_the_square_that_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, half_axes: tuple[int, int], ratio: float, halves: bool
) -> None:
    """With a network that sees what is red: what is stretched comes back where it was."""
    photo, around = np.zeros((240, 320, 3), np.uint8), np.zeros((240, 320), np.uint8)
    cv2.ellipse(photo, (130, 125), half_axes, 0, 0, 360, (255, 0, 0), -1)
    x, y = half_axes
    around[125 - y : 126 + y, 130 - x : 131 + x] = 255
    ratios = []

    def sees_red(image: Array, square: CropBox, mirrored: bool = False) -> Confidence:
        red = square.cut(image, SIDE)[..., 0]
        _, _, width, height = cv2.boundingRect((red > 127).astype(np.uint8))
        ratios.append(width / height)
        return red.astype(np.float32) / 255

    monkeypatch.setattr("skelift.data.person.confidence", sees_red)
    assert overlap(look_again(photo, around, halves), photo[..., 0]) > 0.97
    assert ratios[0] == pytest.approx(ratio, abs=0.03)  # width to height in the first square


def test_box_chooses_the_person(people: tuple[list[Array], list[Array]], room: Array) -> None:
    photo, left = paste(room, people[0][0], people[1][0], 10, 70)
    photo, right = paste(photo, people[0][1], people[1][1], 290, 70)
    for true, other in ((left, right), (right, left)):
        x, y, width, height = cv2.boundingRect(true)
        corners = np.array([x, y], float), np.array([x + width, y + height], float)
        found = Person(corners).mask(photo)
        assert overlap(found, true) > 0.6
        assert not found[other > 0].any()


def test_nobody_is_found_where_nobody_is(room: Array) -> None:
    assert not Person().mask(room).any()


def test_static_camera_is_told_from_photos(
    people: tuple[list[Array], list[Array]], room: Array
) -> None:
    walk = [paste(room, people[0][0], people[1][0], x, 70)[0] for x in range(0, 300, 30)]
    assert is_static(walk)
    assert not is_static([np.roll(photo, 45 * n, axis=1) for n, photo in enumerate(walk)])
    assert not is_static([*walk, walk[0][:-2]])
    assert not is_static([*walk, cv2.resize(walk[0], None, fx=0.5, fy=0.5)])


def test_predict_says_which_mask_it_used(
    tmp_path: Path,
    model: Path,  # noqa: F811
    people: tuple[list[Array], list[Array]],
    room: Array,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pairs = [paste(room, people[0][0], people[1][0], 20 + 40 * n, 70) for n in range(6)]
    folder = write_frames(tmp_path / "walk", [photo for photo, _ in pairs])
    save(folder / "002.mask.png", pairs[2][1])
    out = tmp_path / "poses.json"
    predict.run([folder], model, out, background="person")
    entries = json.loads(out.read_text())["predictions"]
    static = "person and static background"
    assert [entry["mask"] for entry in entries] == [static, static, "given", *[static] * 3]
    assert f"masks used: {static} (5), given (1)" in capsys.readouterr().err
    one = folder / "000.png"
    predict.run([one], model, tmp_path / "one.npz", background="person")
    with np.load(tmp_path / "one.npz") as poses:
        assert poses["mask_from"].tolist() == ["person"]
    assert read_pose_table(tmp_path / "one.npz").images == (str(one),)
    x, y, width, height = cv2.boundingRect(pairs[0][1])
    for background in ("person", "remove"):
        boxed = (float(x), float(y), float(width), float(height))
        predict.run([one], model, out, background=background, box=boxed)
        assert json.loads(out.read_text())["predictions"][0]["mask"] == background
    predict.run([one], model, out)
    assert json.loads(out.read_text())["predictions"][0]["mask"] == "none"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--box", "1", "2", "30", "40"], "--box: needs --background person or remove"),
        (
            ["--background", "person", "--box", "900", "2", "3", "4"],
            "/room.png: the box must be X Y WIDTH HEIGHT in pixels, and lie on the image of "
            "{width} x {height} pixels",
        ),
        (["--background", "person"], "no body in any of 1 images"),
    ],
)
def test_predict_refuses(
    tmp_path: Path,
    model: Path,  # noqa: F811
    room: Array,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    save(tmp_path / "room.png", room)
    out = tmp_path / "pose.json"
    told = ["predict", str(tmp_path / "room.png"), "--model", str(model), "--out", str(out)]
    assert main([*told, *options]) == 2
    height, width = room.shape[:2]
    assert message.format(width=width, height=height) in capsys.readouterr().err
    assert not out.exists()


def test_predictor_and_requests_take_it(
    model: Path,  # noqa: F811
    people: tuple[list[Array], list[Array]],
    room: Array,
) -> None:
    photo, true = paste(room, people[0][0], people[1][0], 150, 70)
    predictor = Predictor(model, background="person")
    prepared = predictor(photo).prepared
    assert (prepared.crop_from, prepared.mask_from) == ("person", "person")
    x, y, width, height = cv2.boundingRect(true)
    assert abs(prepared.crop.x - x - width / 2) < 0.1 * BODY
    assert abs(prepared.crop.y - y - height / 2) < 0.1 * BODY
    given = predictor(photo, mask=true).as_json()
    assert (given["mask"], given["crop"]["from"]) == ("given", "mask")
    encoded = cv2.imencode(".png", photo[..., ::-1])[1].tobytes()
    asked = Predictor(model).prepare_query(Query(encoded, background="person"))
    np.testing.assert_array_equal(asked.x, prepared.x)
    see_through = np.dstack([photo[..., ::-1], true])
    alpha = cv2.imencode(".png", see_through)[1].tobytes()
    assert predictor.prepare_query(Query(alpha)).mask_from == "alpha"
    with pytest.raises(InputError, match="no person is found"):
        predictor(room)
    with pytest.raises(InputError, match="background nothing: choose one of"):
        Predictor(model, background="nothing")
    nobody = cv2.imencode(".png", room[..., ::-1])[1].tobytes()
    with pytest.raises(RequestError, match="no person is found"):
        predictor.prepare_query(Query(nobody, background="person"))


def test_a_calibrated_camera_keeps_the_masks_origin(
    model: Path,  # noqa: F811
    people: tuple[list[Array], list[Array]],
    room: Array,
) -> None:
    photo, true = paste(room, people[0][0], people[1][0], 270, 70)
    matrix = np.array([[900.0, 0, WIDTH / 2], [0, 900.0, HEIGHT / 2], [0, 0, 1]])
    camera = Camera("c", matrix, size=(WIDTH, HEIGHT))
    predictor = Predictor(model)
    found = predictor(photo, camera=camera, background="person")
    assert found.as_json()["mask"] == "person"
    given = predictor(photo, mask=true, camera=camera)
    assert given.as_json()["mask"] == "given"
    centres = []
    for prepared in (found.prepared, given.prepared):
        assert prepared.view is not None
        centres.append(prepared.view.to_image(prepared.crop.as_array()[None, :2]))
    np.testing.assert_allclose(*centres, atol=0.1 * BODY)  # both look at the same person
    with pytest.warns(UserWarning, match="background='person' to cut a person out"):
        assert predictor(photo, camera=camera).as_json()["mask"] == "none"


def test_prepare_cuts_people_out(
    tmp_path: Path,
    people: tuple[list[Array], list[Array]],
    room: Array,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos = [
        paste(np.roll(room, 50 * n, 1), people[0][n % 3], people[1][n % 3], 60 * n, 70)
        for n in range(4)
    ]
    folder = write_frames(tmp_path / "photos", [room, *(photo for photo, _ in photos)])
    config = configure(
        tmp_path, images=folder, poses=save_poses(tmp_path / "poses.npz"), background="person"
    )
    data = Dataset(prepare(config))
    assert data.counts["train"] + data.counts["test"] == 4
    assert "skipped 1 frames without a body" in capsys.readouterr().err
    assert json.loads((data.folder / "dataset.json").read_text())["details"]["masks"] == {
        "person": 4
    }


def test_a_person_of_whom_only_a_hand_moves_is_no_background(
    people: tuple[list[Array], list[Array]], room: Array
) -> None:
    """What moves is small: the body that rests is neither overlooked nor learned as background."""
    pasted = paste(room, people[0][0], people[1][0], 150, 60)
    photo, true = (image[:, 100:460] for image in pasted)  # smaller: sooner searched
    rng = np.random.default_rng(0)
    frames = []
    for number in range(5):
        noisy = photo + rng.normal(0, 2, photo.shape)
        frame = noisy.clip(0, 255).astype(np.uint8)
        x, y, width, _ = cv2.boundingRect(true)
        hand = x + width + 4, y + 30 + 8 * number
        cv2.ellipse(frame, (hand, (18, 10), 0), (205, 150, 125), -1)
        frames.append(frame)
    assert is_static(frames)
    person = StaticPerson(frames)
    assert overlap(person.mask(frames[0]), true) > 0.6


@pytest.mark.parametrize("shape", [(404, 1280), (1041, 1920)])
def test_large_static_images_of_any_size(shape: tuple[int, int]) -> None:
    """Shrinking twice rounds differently from shrinking once."""
    rng = np.random.default_rng(0)
    room = cv2.GaussianBlur(rng.integers(0, 256, (*shape, 3), dtype=np.uint8), (0, 0), 4)
    assert StaticPerson([room] * 5).mask(room).shape == shape


def test_a_box_is_of_images_of_one_size(tmp_path: Path) -> None:
    for name, side in (("a", 120), ("b", 90)):
        save(tmp_path / f"{name}.png", np.full((side, side, 3), 80, np.uint8))
    (source,) = find_sources([tmp_path])
    with pytest.raises(InputError, match=r"b\.png: is 90 x 90 px, and the box is of .* 120 x 120"):
        list(source.frames("remove", (10, 10, 50, 60)))


def test_masks_of_photos_of_several_sizes_are_kept(tmp_path: Path) -> None:
    """An ordinary folder of photos: found once, and read from there the second time."""
    photos = tmp_path / "photos"
    for number, image in enumerate(sample_images(3, 240)):
        side = 240 + 40 * number
        save(photos / f"{number}.png", cv2.resize(image, (side, side)))
    (source,) = find_sources([photos])
    once, again = (
        [mask for _, _, mask, _ in masked_frames(source.clip, Search("person", tmp_path / "kept"))]
        for _ in range(2)
    )
    assert [mask.shape for mask in once] == [(240, 240), (280, 280), (320, 320)]
    for first, second in zip(once, again, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.slow
def test_threads_that_begin_together_all_get_the_network() -> None:
    """OpenCV's reader shares a state; it failed in every fourth process without a lock."""
    program = """
import threading
import numpy as np
from skelift.data.crop import CropBox
from skelift.data.segmenter import confidence
begin, seen = threading.Barrier(8), []
def look():
    begin.wait()
    seen.append(confidence(np.zeros((64, 64, 3), np.uint8), CropBox(32, 32, 64)).shape)
threads = [threading.Thread(target=look) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert seen == [(256, 256)] * 8, seen
"""
    for _ in range(12):
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
