"""Data sets on disk: whole or not at all, checked, and read as plain NumPy reads them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny import load_skeleton, tiny_dataset

from skelift.data import format as data_format
from skelift.data.crop import CropBox, to_crop, to_source
from skelift.data.format import SAMPLE, Dataset, DatasetInfo, fill_rows, write_dataset
from skelift.errors import InputError
from skelift.files import atomic_file, atomic_folder, write_json


def describe(size: int = 8) -> DatasetInfo:
    return DatasetInfo("t", load_skeleton("h36m17"), size, 0.1, True, "made in a test", "none")


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


# A data set whose writer never ends by itself: it says when it is half way.
ENDLESS_WRITER = """
import sys, time
from pathlib import Path
import numpy as np
sys.path.insert(0, {tests!r})
from test_format import describe
from skelift.data.format import write_dataset
with write_dataset(Path({out!r}), describe()) as writer:
    writer.allocate_split("train", 4, with_2d=False, with_3d=False)
    print("half way", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("existing", [False, True])
def test_killed_writer_leaves_nothing_that_looks_whole(tmp_path: Path, existing: bool) -> None:
    out = tmp_path / "set"
    if existing:
        tiny_dataset(out, train=4, test=2, prior=4, size=8)
    before = files_below(out) if existing else set()
    code = ENDLESS_WRITER.format(tests=str(Path(__file__).parent), out=str(out))
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "half way\n"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()

    if existing:
        assert files_below(out) == before
        Dataset(out).verify()
    else:
        assert not out.exists()
    assert [path for path in tmp_path.iterdir() if not path.name.startswith(".")] == (
        [out] if existing else []
    )
    tiny_dataset(out, train=4, test=2, prior=4, size=8)
    assert list(tmp_path.iterdir()) == [out], "the next writer clears the remains"


def fail_half_way(out: Path) -> None:
    with write_dataset(out, describe()) as writer:
        writer.allocate_split("train", 2, with_2d=False, with_3d=False)
        raise RuntimeError


def fail_half_way_in_file(path: Path) -> None:
    with atomic_file(path) as unfinished:
        unfinished.write_text("half")
        raise RuntimeError


def test_failing_writer_keeps_what_was_there(tmp_path: Path) -> None:
    out = tiny_dataset(tmp_path / "set", train=4, test=2, prior=4, size=8)
    with pytest.raises(RuntimeError):
        fail_half_way(out)
    Dataset(out).verify()
    assert Dataset(out).counts == {"train": 4, "test": 2, "prior": 4}
    assert list(tmp_path.iterdir()) == [out]


def test_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.json"
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"loss": float("nan")})
    with pytest.raises(RuntimeError):
        fail_half_way_in_file(path)
    assert list(path.parent.iterdir()) == []
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError):
        fail_half_way_in_file(path)
    assert json.loads(path.read_text()) == {"a": 1}
    assert path.stat().st_mode & 0o777 == 0o644


def test_folder_is_replaced_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in ("old", "new"):
        with atomic_folder(out, "mark", "old") as folder:
            (folder / "mark").touch()
            (folder / name).touch()
    assert files_below(tmp_path) == {"out", "out/mark", "out/new"}


@pytest.fixture
def several_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(data_format, "SHARD_IMAGES", 5)
    return tiny_dataset(tmp_path / "set", train=13, test=5, prior=3, size=8)


@pytest.mark.parametrize(
    "rows",
    [
        np.array([12, 0, 4, 5, 5, 9, 10]),
        np.array([], dtype=int),
        np.arange(13),
        slice(3, 11, 2),
        slice(None),
        slice(-4, None),
        7,
        np.int64(12),
    ],
)
def test_shards_gather_like_one_array(several_shards: Path, rows: Any) -> None:
    split = Dataset(several_shards).split("train")
    paths = sorted((several_shards / "train").glob("images-*.npy"))
    assert len(paths) == 3
    whole = np.concatenate([np.load(path) for path in paths])
    assert split.images.shape == whole.shape
    np.testing.assert_array_equal(split.images[rows], whole[rows])


def test_shards_hold_what_was_put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_format, "SHARD_IMAGES", 4)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (10, 8, 8, 3), dtype=np.uint8)
    masks = rng.integers(0, 256, (10, 8, 8), dtype=np.uint8)
    joints = rng.normal(size=(10, 17, 2)).astype(np.float32)
    with write_dataset(tmp_path / "set", describe()) as writer:
        writer.allocate_split("train", 10, with_2d=True, with_3d=False)
        records = np.zeros(10, SAMPLE)
        records["frame"] = np.arange(10)
        columns = {"images": images, "masks": masks, "samples": records, "joints_2d": joints}
        for first, last in ((9, 10), (2, 9), (1, 2), (0, 1)):  # in any order, over shard borders
            block = {name: rows[first:last] for name, rows in columns.items()}
            fill_rows(writer.folder / "train", first, **block)
    split = Dataset(tmp_path / "set").split("train")
    np.testing.assert_array_equal(split.images[:], images)
    np.testing.assert_array_equal(split.masks[:], masks)
    np.testing.assert_array_equal(split.joints_2d, joints)
    np.testing.assert_array_equal(split.samples["frame"], np.arange(10))
    assert split.joints_3d_mm is None


@pytest.mark.parametrize("kept", [1, 4, 5, 8, 10])
def test_trimmed_split_keeps_its_first_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    monkeypatch.setattr(data_format, "SHARD_IMAGES", 4)
    with write_dataset(tmp_path / "set", describe()) as writer:
        writer.allocate_split("train", 10, with_2d=False, with_3d=False)
        images = np.full((10, 8, 8, 3), np.arange(10)[:, None, None, None], np.uint8)
        fill_rows(writer.folder / "train", 0, images=images, masks=images[..., 0])
        writer.trim_split("train", kept)
    data = Dataset(tmp_path / "set")
    data.verify()
    split = data.split("train")
    assert data.counts["train"] == len(split) == len(split.images) == len(split.masks) == kept
    np.testing.assert_array_equal(split.images[:][:, 0, 0, 0], np.arange(kept))


@pytest.mark.parametrize(("first", "joints"), [(0, 16), (1, 17)])
def test_rows_that_do_not_fit_are_refused(tmp_path: Path, first: int, joints: int) -> None:
    with write_dataset(tmp_path / "set", describe()) as writer:
        writer.allocate_split("train", 2, with_2d=True, with_3d=False)
        with pytest.raises(ValueError, match="joints_2d"):
            fill_rows(writer.folder / "train", first, joints_2d=np.zeros((2, joints, 2)))


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    first, second = (Dataset(tiny_dataset(tmp_path / name, size=16)) for name in "ab")
    assert first.checksums == second.checksums


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_changed_file_fails_its_checksum(tmp_path: Path) -> None:
    folder = tiny_dataset(tmp_path / "set", train=4, test=2, prior=4, size=8)
    data = Dataset(folder)
    for name in data.checksums:
        data.verify()
        flip_a_byte(folder / name)
        with pytest.raises(InputError, match=name):
            data.verify()
        flip_a_byte(folder / name)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: (f / "train" / "samples.npy").unlink(), "train/samples.npy: missing"),
        (lambda f: (f / "dataset.json").unlink(), "dataset.json: not found"),
        (lambda f: (f / "dataset.json").write_text("{"), "dataset.json: cannot be read"),
        (lambda f: (f / "dataset.json").write_text("[]"), "dataset.json: format None"),
        (lambda f: (f / "dataset.json").write_text('{"format_version": 2}'), "lacks checksums"),
        (lambda f: os.truncate(f / "train" / "images-00000.npy", 300), "images-00000.npy: cannot"),
        (lambda f: os.truncate(f / "train" / "images-00000.npy", 0), "images-00000.npy: cannot"),
    ],
)
def test_broken_set_is_named(tmp_path: Path, spoil: Any, says: str) -> None:
    folder = tiny_dataset(tmp_path / "set", train=4, test=2, prior=4, size=8)
    spoil(folder)
    with pytest.raises(InputError, match=says) as caught:
        _ = Dataset(folder).split("train").images
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_unknown_split_is_named(tmp_path: Path) -> None:
    data = Dataset(tiny_dataset(tmp_path / "set", train=4, test=2, prior=4, size=8))
    with pytest.raises(InputError, match="has no val images, only prior, test, train"):
        data.split("val")


def test_arrays_are_mapped_not_loaded(tmp_path: Path) -> None:
    data = Dataset(tiny_dataset(tmp_path / "set", train=4, test=2, prior=4, size=8))
    assert isinstance(data.prior.poses_2d, np.memmap)
    assert isinstance(data.split("train").joints_3d_mm, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        data.prior.poses_2d[0] = 0


# The crop, against sums over pixels.


def box_average(image: NDArray[np.uint8], box: CropBox, size: int) -> NDArray[np.float64]:
    """The crop by brute force: mean over a fine grid of points in each pixel of the crop."""
    fine = 16
    at = (np.arange(size * fine) + 0.5) / (size * fine)
    x = np.floor(box.x + (at - 0.5) * box.side).astype(int)
    y = np.floor(box.y + (at - 0.5) * box.side).astype(int)
    height, width = image.shape[:2]
    inside = ((y >= 0) & (y < height))[:, None] & ((x >= 0) & (x < width))[None]
    grid = image[np.clip(y, 0, height - 1)[:, None], np.clip(x, 0, width - 1)[None]]
    grid = np.where(inside[..., None], grid, 0).astype(np.float64)
    return grid.reshape(size, fine, size, fine, -1).mean(axis=(1, 3))


@pytest.mark.parametrize("box", [CropBox(40.0, 33.0, 48.0), CropBox(6.0, 60.0, 64.0)])
def test_shrinking_crop_averages_the_area(box: CropBox) -> None:
    rng = np.random.default_rng(0)
    # Smooth, so that the interpolation between pixels matters little.
    image = np.kron(rng.integers(0, 256, (9, 10, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    cut = box.cut(image, 16).astype(np.float64)
    assert np.abs(cut - box_average(image, box, 16)).mean() < 4
    shifted = CropBox(box.x + 2, box.y, box.side).cut(image, 16).astype(np.float64)
    assert np.abs(cut - shifted).mean() > 8, "the check would see a shift of 2 pixels"


def test_enlarging_crop_keeps_pixel_centres() -> None:
    image = np.zeros((20, 30), np.uint8)
    image[12, 7] = 255
    box = CropBox(8.0, 11.0, 8.0)
    cut = box.cut(image, 64).astype(np.float64)
    y, x = np.indices(cut.shape) + 0.5
    centre = np.array([(x * cut).sum(), (y * cut).sum()]) / cut.sum()
    expected = to_crop(np.array([[7.5, 12.5]]), box.as_array(), 64)[0]
    np.testing.assert_allclose(centre, expected, atol=0.05)


def test_points_go_there_and_back() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-50, 1050, (7, 17, 2))
    crops = np.column_stack([rng.uniform(0, 1000, (7, 2)), rng.uniform(20, 900, 7)])
    cropped = to_crop(points, crops, 128)
    for i in range(7):
        for j in range(17):
            left, top = crops[i, :2] - crops[i, 2] / 2
            zoom = 128 / crops[i, 2]
            expected = [(points[i, j, 0] - left) * zoom, (points[i, j, 1] - top) * zoom]
            np.testing.assert_allclose(cropped[i, j], expected)
    np.testing.assert_allclose(to_source(cropped, crops, 128), points)


def test_mask_box_has_its_margin() -> None:
    mask = np.zeros((100, 80), np.uint8)
    mask[20:60, 30:40] = 255
    mask[5, 5] = 127  # not body
    box = CropBox.around_mask(mask, 0.25)
    assert (box.x, box.y, box.side) == (35.0, 40.0, 50.0)
    cut = box.cut(mask, 50)
    assert (cut > 127).sum() == 400
    rows, columns = np.nonzero(cut > 127)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (5, 44, 20, 29)
    with pytest.raises(InputError, match="mask is empty"):
        CropBox.around_mask(np.zeros((4, 4), np.uint8), 0.1)
