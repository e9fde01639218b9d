"""predict on images, folders and videos: every format says the same; drawings; refusals."""

import csv
import json
import resource
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tiny import draw, load_skeleton, random_pose
from tiny_run import random_model

from skelift.cli import main
from skelift.commands import predict
from skelift.data.images import read_image
from skelift.data.videos import read_video
from skelift.errors import InputError
from skelift.inference.engines import BATCH, Answer, LocalEngine, predict_frames
from skelift.inference.frames import Frame, find_sources
from skelift.inference.pose_files import read_pose_table
from skelift.inference.predictor import Predictor

SKELETON = load_skeleton("h36m17")
SIDE, FRAMES, RATE = 160, 24, 12.0
ImageArray = NDArray[np.uint8]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights."""
    return random_model(tmp_path_factory.mktemp("model") / "model")


def body(seed: int, shift: int = 0) -> tuple[ImageArray, ImageArray]:
    joints = random_pose(SKELETON, np.random.default_rng(seed))[:, :2]
    joints = (joints - joints.min(0)) / np.ptp(joints, axis=0).max() * 0.5 * SIDE + 20
    return draw(SKELETON, joints + np.array([shift, 0]), SIDE, (210, 120, 90))


def write(path: Path, image: ImageArray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)
    return path


def write_video(path: Path, images: Sequence[ImageArray]) -> Path:
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter.fourcc(*"MJPG"), RATE, images[0].shape[1::-1]
    )
    for image in images:
        writer.write(np.ascontiguousarray(image[..., ::-1]))
    writer.release()
    return path


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two images, one below, and a video of a body that leaves at the end."""
    root = tmp_path_factory.mktemp("inputs") / "in"
    write(root / "a.png", body(1)[0])
    write(root / "deep" / "b.png", body(2)[0])
    moving = [body(3, shift)[0] for shift in range(0, FRAMES * 2, 2)]
    write_video(root / "walk.avi", moving)
    return root


def test_every_format_holds_the_predictors_poses(
    model: Path, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("p.json", "p.csv", "p.npz"):
        assert predict.run([inputs], model, tmp_path / name) == tmp_path / name
    predictor = Predictor(model)
    images = [(inputs / name, read_image(inputs / name)) for name in ("a.png", "deep/b.png")]
    frames = [image for _, image in read_video(inputs / "walk.avi", range(FRAMES))]
    expected = predictor.predict(
        [predictor.prepare(image) for image in (*(p for _, p in images), *frames)]
    )
    # Sorted by folder: the image at the top, below it, then the video.
    files = [
        str(inputs / "a.png"),
        str(inputs / "deep/b.png"),
        *[str(inputs / "walk.avi")] * FRAMES,
    ]
    for name in ("p.json", "p.npz"):
        poses = read_pose_table(tmp_path / name)
        assert list(poses.images) == files
        assert poses.frames.tolist() == [-1, -1, *range(FRAMES)]
        np.testing.assert_allclose(poses.times[2:], np.arange(FRAMES) / RATE, atol=1e-3)
        truth = np.stack([p.joints_3d_mm for p in expected])
        np.testing.assert_allclose(poses.joints_3d_mm, truth, atol=0.06)
        truth_2d = np.stack([p.joints_2d_px for p in expected])
        np.testing.assert_allclose(poses.joints_2d_px, truth_2d, atol=0.06)
        assert poses.skeleton == SKELETON
    answer = json.loads((tmp_path / "p.json").read_text())
    assert answer["units"] == "mm"
    rows = list(csv.DictReader((tmp_path / "p.csv").open()))
    assert len(rows) == (2 + FRAMES) * 17
    last = answer["predictions"][-1]
    assert [rows[-1]["joint"], rows[-1]["image"]] == [SKELETON.joints[-1], files[-1]]
    assert [float(rows[-1][f"{axis}_mm"]) for axis in "xyz"] == last["joints_3d_mm"][-1]
    assert [float(rows[-1][f"{axis}_px"]) for axis in "xy"] == last["joints_2d_px"][-1]
    assert float(rows[-1]["time_s"]) == pytest.approx((FRAMES - 1) / RATE, abs=1e-3)
    assert "Predicting" not in capsys.readouterr().out  # progress goes to stderr


def test_clips_are_drawn_as_video_and_images_as_images(
    model: Path, inputs: Path, tmp_path: Path
) -> None:
    predict.run([inputs], model, tmp_path / "p.json", draw=tmp_path / "drawn", every=3)
    drawn = tmp_path / "drawn"
    assert {file.relative_to(drawn).as_posix() for file in drawn.rglob("*.*")} == {
        "a.png", "deep/b.png", "walk.mp4",
    }  # fmt: skip
    capture = cv2.VideoCapture(str(drawn / "walk.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == FRAMES / 3
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(RATE / 3)
    # The first 384 x 384 pixels show the frame; bones differ from it.
    frame = capture.read()[1][:384, :384].astype(int)
    plain = cv2.resize(next(read_video(inputs / "walk.avi", [0]))[1][..., ::-1], (384, 384))
    assert np.count_nonzero(np.abs(frame - plain).max(-1) > 100) > 500


def test_static_camera_finds_the_body_that_moves(model: Path, tmp_path: Path) -> None:
    room = np.random.default_rng(0).integers(90, 160, (20, 20, 3), dtype=np.uint8)
    room = cv2.resize(room, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    clip, centres = [], []
    for number in range(FRAMES):
        image, mask = body(4, 2 * number)
        clip.append(np.where(mask[..., None] > 0, image, room))
        centres.append(np.nonzero(mask)[1].mean())
    video = write_video(tmp_path / "room.avi", clip)
    predict.run([video], model, tmp_path / "p.json", background="subtractor")
    entries = json.loads((tmp_path / "p.json").read_text())["predictions"]
    assert {entry["crop"]["from"] for entry in entries} == {"mask"}
    found = {entry["frame"]: entry["crop"]["x"] for entry in entries}
    assert len(found) > FRAMES // 2
    truth = [centres[frame] for frame in found]
    assert np.corrcoef(list(found.values()), truth)[0, 1] > 0.8


class CountingEngine:
    """Test double of an engine: notes how many frames it was shown at once."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, frames: Sequence[Frame], focal: float | None = None) -> Answer:
        self.sizes.append(len(frames))
        return {"units": "mm", "predictions": [{"image": "?", "facing": None} for _ in frames]}


def test_long_videos_are_never_whole_in_memory() -> None:
    read = 0

    def endless() -> object:
        nonlocal read
        while True:
            read += 1
            image = np.zeros((4, 4, 3), np.uint8)
            mask = np.full((4, 4), 255 * (read % 3 > 0), np.uint8)  # every third is empty
            yield Frame(Path("long.mp4"), image, mask, read - 1, read / 10)

    engine = CountingEngine()
    results = predict_frames(engine, endless())
    for index in range(10 * BATCH):
        frame, _, entry = next(results)
        assert read - index <= BATCH + 2 * 4  # a quarter of a second ahead is read, twice
        assert frame.index == index
        assert (entry is None) == frame.empty
        assert entry is None or entry["frame"] == index
    assert max(engine.sizes) <= BATCH


def test_masks_lie_beside_or_in_their_folder(model: Path, tmp_path: Path) -> None:
    image, mask = body(5)
    bright = np.where(mask[..., None] > 0, image, np.uint8(200))
    file = write(tmp_path / "in" / "p.jpg", bright)
    write(tmp_path / "in" / "p.mask.png", mask)
    sources = find_sources([tmp_path / "in"])
    assert [source.clip.files for source in sources] == [(file,)]  # the mask is not an image
    (frame,) = sources[0].frames()
    assert frame.mask is not None
    np.testing.assert_array_equal(frame.mask > 0, mask > 127)
    (answer,) = LocalEngine(model)([frame])["predictions"]
    assert answer["crop"]["from"] == "mask"
    with pytest.raises(InputError, match=r"--masks .*masks: not found; name the folder"):
        find_sources([file], masks=tmp_path / "masks")
    (tmp_path / "masks").mkdir()
    with pytest.raises(InputError, match=r"p\.jpg: has no mask; expected .*masks/p\.png"):
        find_sources([file], masks=tmp_path / "masks")


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda root: (root / "a.png").write_text("text"), r"a\.png: cannot be decoded"),
        (lambda root: (root / "b.mp4").write_bytes(b"no"), r"b\.mp4: cannot be decoded"),
        (lambda root: (root / "a.jpg").write_bytes((root / "a.png").read_bytes()), "rename one"),
    ],
)
def test_nothing_is_written_when_an_input_is_bad(
    model: Path, inputs: Path, tmp_path: Path, break_it: object, message: str
) -> None:
    root = tmp_path / "in"
    write(root / "a.png", body(1)[0])
    write(root / "0.png", body(2)[0])
    break_it(root)
    with pytest.raises(InputError, match=message):
        predict.run([root], model, tmp_path / "o" / "p.json", draw=tmp_path / "o" / "drawn")
    assert not list((tmp_path / "o").glob("*")) if (tmp_path / "o").exists() else True


def test_bad_requests_name_the_fix(model: Path, inputs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"p\.txt: end the name in \.json, \.csv, \.npz"):
        predict.run([inputs], model, tmp_path / "p.txt")
    with pytest.raises(InputError, match="no images"):
        predict.run([tmp_path], model, tmp_path / "p.json")
    with pytest.raises(InputError, match="too short to find its background"):
        predict.run([inputs / "a.png"], model, tmp_path / "p.json", background="median")
    with pytest.raises(InputError, match="--every 0"):
        predict.run([inputs], model, tmp_path / "p.json", every=0)


def test_every_takes_images_too(tmp_path: Path) -> None:
    for name in ("1.png", "2.png", "10.png", "11.png", "b/5.png"):
        write(tmp_path / name, body(1)[0])
    frames = [f for source in find_sources([tmp_path], every=3) for f in source.frames()]
    assert [frame.file.name for frame in frames] == ["1.png", "11.png", "5.png"]


def test_no_option_is_ignored(model: Path, tmp_path: Path) -> None:
    image, mask = body(6)
    beside = write(tmp_path / "beside" / "p.png", image)
    write(tmp_path / "beside" / "p.mask.png", mask)
    see_through = tmp_path / "alpha" / "p.png"
    see_through.parent.mkdir()
    assert cv2.imwrite(str(see_through), np.dstack([image, mask]))
    out, box = tmp_path / "p.json", (0.0, 0.0, 90.0, 90.0)
    contrast = {"background": "median", "contrast": "darker"}
    for given, options, says in (
        (beside, contrast, r"beside/p\.mask\.png: is a mask"),
        (beside, {"background": "remove", "box": box}, r"p\.mask\.png: is a mask.*leave --box"),
        (see_through, {"background": "remove", "box": box}, r"alpha/p\.png: .*alpha.*leave --box"),
    ):
        with pytest.raises(InputError, match=says):
            predict.run([given], model, out, **options)
    assert not out.exists()


def test_a_focal_length_is_of_one_size(model: Path, tmp_path: Path) -> None:
    image = body(6)[0]
    large = write(tmp_path / "b" / "large.png", cv2.resize(image, None, fx=2, fy=2))
    small, same = write(tmp_path / "small.png", image), write(tmp_path / "c" / "same.png", image)
    out = tmp_path / "p.json"
    says = rf"large\.png: is {2 * SIDE} x {2 * SIDE} px, .*small\.png is {SIDE} x {SIDE}; --focal"
    with pytest.raises(InputError, match=says):
        predict.run([small, large], model, out, focal=300)
    assert not out.exists()
    predict.run([small, same], model, out, focal=300)
    predict.run([small, large], model, out)


def test_no_input_is_overwritten(model: Path, inputs: Path, tmp_path: Path) -> None:
    image, mask = body(6)
    photo = write(tmp_path / "in" / "p.png", image)
    write(tmp_path / "masks" / "p.png", mask)
    (tmp_path / "link").symlink_to(tmp_path / "in")
    video = tmp_path / "v" / "w.mp4"
    video.parent.mkdir()
    video.write_bytes((inputs / "walk.avi").read_bytes())
    calibration = tmp_path / "camera.json"
    calibration.write_text(
        json.dumps({"cameras": {"A": {"K": [[200, 0, 80], [0, 200, 80], [0, 0, 1]]}}})
    )
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.*") if file.is_file()}
    out = tmp_path / "p.json"
    for given, options, says in (
        (photo, {"draw": photo.parent}, r"in/p\.png: is an input, .* another --draw folder"),
        (photo, {"draw": tmp_path / "link"}, r"link/p\.png: is an input"),
        (video, {"draw": video.parent}, r"v/w\.mp4: is an input"),
        (photo, {"masks": tmp_path / "masks", "draw": tmp_path / "masks"}, r"masks/p\.png: is an"),
        (photo, {"camera": f"{calibration}:A", "out": calibration}, r"camera\.json: .* --out"),
        (photo.parent, {"draw": photo.parent / "drawn"}, r"drawn: lies in the input folder .*/in"),
        (tmp_path / "link", {"draw": photo.parent / "a" / "b"}, "lies in the input folder"),
    ):
        with pytest.raises(InputError, match=says):
            predict.run([given], model, **{"out": out} | options)
    after = {file: file.read_bytes() for file in tmp_path.rglob("*.*") if file.is_file()}
    assert after == before


OURS = ("p.json", "p.csv", "p.npz")


def test_a_run_replaces_what_an_earlier_one_made(model: Path, inputs: Path, tmp_path: Path) -> None:
    for options in ({}, {"turn": True}):
        for _ in range(2):
            for name in OURS:
                predict.run([inputs], model, tmp_path / name, draw=tmp_path / "drawn", **options)
    drawn = {file.name for file in (tmp_path / "drawn").rglob("*.*")}
    assert drawn == {"a.png", "b.png", "walk.mp4", "a.webp", "b.webp", "walk.webp"}
    assert len(list(read_video(tmp_path / "drawn" / "walk.mp4", range(FRAMES)))) == FRAMES
    with Image.open(tmp_path / "drawn" / "walk.webp") as animated:
        assert animated.n_frames == FRAMES
    with Image.open(tmp_path / "drawn" / "a.png") as still:
        still.load()
        assert still.text == {"Software": "skelift predict"}


FOREIGN = {
    "p.json": '{"images": [], "annotations": [], "info": {"schema_version": 1}}',
    "p.csv": "image,frame,x,y\n",
    "p.npz": "PK",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_no_file_of_others_is_overwritten_by_poses(name: str, model: Path, tmp_path: Path) -> None:
    image, out = write(tmp_path / "a.png", body(1)[0]), tmp_path / name
    out.write_text(FOREIGN[name])
    with pytest.raises(InputError, match=rf"^{out}: was not made by skelift .*, and would be lost"):
        predict.run([image], model, out)
    assert out.read_text() == FOREIGN[name]
    if name == "p.npz":
        np.savez(out, poses=np.zeros(3))
        with pytest.raises(InputError, match="was not made by"):
            predict.run([image], model, out)
    out.write_text("")  # as of mktemp: there is nothing to lose
    predict.run([image], model, out)


@pytest.mark.parametrize("turn", [False, True])
@pytest.mark.parametrize("given", ["a.png", "walk.avi"])
def test_no_file_of_others_is_overwritten_by_drawings(
    given: str, turn: bool, model: Path, inputs: Path, tmp_path: Path
) -> None:
    suffix = ".webp" if turn else ".mp4" if given == "walk.avi" else ".png"
    photo = (tmp_path / "album" / given).with_suffix(suffix)
    photo.parent.mkdir()
    photo.write_bytes((inputs / given).read_bytes())
    with pytest.raises(InputError, match=rf"^{photo}: was not made .* another --draw folder, or"):
        predict.run([inputs / given], model, tmp_path / "p.json", draw=photo.parent, turn=turn)
    assert photo.read_bytes() == (inputs / given).read_bytes()
    assert not (tmp_path / "p.json").exists()


@pytest.mark.parametrize(
    ("name", "turn"), [("p.json", False), ("drawn/a.png", False), ("drawn/a.webp", True)]
)
def test_a_full_disk_names_the_file_that_was_to_be(
    name: str, turn: bool, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The limit of a file's size stands for a full disk."""
    image = write(tmp_path / "a.png", body(1)[0])
    argv = ["predict", str(image), "--model", str(model), "--out", str(tmp_path / "p.json")]
    argv += ["--draw", str(tmp_path / "drawn")] if name != "p.json" else []
    argv += ["--turn"] if turn else []
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512 if name == "p.json" else 4096, before[1]))
    try:
        code = main(argv)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    said = f"skelift predict: error: {tmp_path / name}: File too large\n"
    assert (code, capsys.readouterr().err) == (1, said)
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"cats": 3}')
    (tmp_path / "b.json").write_text("[1, 2")
    np.savez(tmp_path / "c.npz", poses=np.zeros(3))
    (tmp_path / "d.npz").write_bytes(b"PK\x03\x04 cut off")
    for name in ("a.json", "b.json", "c.npz", "d.npz", "missing.npz", "e.csv"):
        with pytest.raises(InputError, match=rf"{name}: .*skelift predict"):
            read_pose_table(tmp_path / name)
