"""Own images become a data set: cut out, cropped, split; what cannot be used is named."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray
from tiny import draw, load_skeleton, random_pose, tiny_dataset

from skelift.cli import main
from skelift.config import Config, FolderConfig, compose
from skelift.data.background import MedianBackground, SubtractorBackground
from skelift.data.clips import find_clips
from skelift.data.crop import to_source
from skelift.data.folder import prepare, split_clips
from skelift.data.format import Dataset
from skelift.data.images import mask_of_black_background
from skelift.data.joints import joint_weights
from skelift.data.poses import read_poses
from skelift.data.videos import frame_count, read_video
from skelift.errors import InputError

BODY = load_skeleton("h36m17")
COCO = [
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
]
HEIGHT, WIDTH = 96, 128


def scene(count: int = 12, seed: int = 0) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Images (96, 128, 3) of a stick man who walks before a patterned wall, and his masks."""
    rng = np.random.default_rng(seed)
    wall = np.kron(rng.integers(0, 200, (12, 16, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    pose = random_pose(BODY, rng)[:, :2] / 25
    for step in range(count):
        place = [WIDTH * (0.2 + 0.6 * step / (count - 1)), HEIGHT * 0.5]
        # Drawn into a square that holds the image.
        figure, mask = draw(BODY, pose + place, WIDTH, (250, 240, 60))
        figure, mask = figure[:HEIGHT], (mask[:HEIGHT] > 127) * np.uint8(255)
        noise = rng.integers(0, 4, wall.shape, dtype=np.uint8)
        yield np.where(mask[..., None] > 0, figure, wall + noise), mask


def save(path: Path, image: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = image[..., ::-1] if image.ndim == 3 else image
    assert cv2.imwrite(str(path), channels)
    return path


def save_video(path: Path, images: list[NDArray[np.uint8]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = images[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (width, height))
    assert writer.isOpened()
    for image in images:
        writer.write(image[..., ::-1] if image.ndim == 3 else np.dstack([image] * 3))
    writer.release()
    return path


def save_poses(path: Path, count: int = 6, **arrays: Any) -> Path:
    rng = np.random.default_rng(1)
    poses = np.stack([random_pose(BODY, rng)[:, :2] + 500 for _ in range(count)])
    np.savez(path, **({"poses_2d": poses} | arrays))
    return path


def configure(tmp_path: Path, **options: Any) -> Config:
    options = {"poses": save_poses(tmp_path / "poses.npz")} | options
    overrides = [f"data.folder.{name}={value}" for name, value in options.items()]
    return compose(["data=folder", "data.size=32", f"paths.data={tmp_path / 'out'}", *overrides])


def save_scene(tmp_path: Path, folders: tuple[str, ...] = ("",), **more: Any) -> Path:
    for number, folder in enumerate(folders):
        for i, (image, mask) in enumerate(scene(seed=number, **more)):
            save(tmp_path / "images" / folder / f"{i:03d}.png", image)
            save(tmp_path / "masks" / folder / f"{i:03d}.png", mask)
    return tmp_path / "images"


# Whole sets.


def test_images_with_masks_become_a_data_set(tmp_path: Path) -> None:
    images = save_scene(tmp_path)
    config = configure(tmp_path, images=images, masks=tmp_path / "masks", focal_px=150)
    data = Dataset(prepare(config))
    data.verify()
    assert data.counts == {"train": 11, "test": 1, "prior": 6}
    assert data.info.details["split_by"] == "time"
    assert not data.info.synthetic
    assert (tmp_path / "out").stat().st_mode & 0o755 == 0o755
    images = list(scene())
    for name, first in (("train", 0), ("test", 11)):
        split = data.split(name)
        assert split.joints_2d is None
        assert split.joints_3d_mm is None
        for row, sample in enumerate(split.samples):
            image, mask = images[first + row]
            assert sample["frame"] == first + row
            assert sample["source_size"].tolist() == [WIDTH, HEIGHT]
            assert sample["focal"].tolist() == [150, 150]
            assert sample["principal"].tolist() == [WIDTH / 2, HEIGHT / 2]
            rows, columns = np.nonzero(mask)
            width, height = np.ptp(columns) + 1, np.ptp(rows) + 1
            assert sample["crop"][2] == pytest.approx(max(width, height) * 1.13)
            assert (split.images[row][split.masks[row] == 0] == 0).all(), "background black"
            body = split.images[row][split.masks[row] == 255].mean(axis=0)
            expected = image[mask > 0].mean(axis=0)
            np.testing.assert_allclose(body, expected, atol=12)


def test_images_of_two_scales_have_no_focal_length_in_common(tmp_path: Path) -> None:
    images = save_scene(tmp_path)
    for kind in ("images", "masks"):
        file = tmp_path / kind / "003.png"
        save(file, cv2.resize(cv2.imread(str(file))[..., ::-1], None, fx=0.5, fy=0.5))
    said = (
        f"{images}/003.png: is {WIDTH // 2} x {HEIGHT // 2} px, {images}/000.png is {WIDTH} x "
        f"{HEIGHT}; data.folder.focal_px, in pixels, is of images of one scale"
    )
    with pytest.raises(InputError, match=re.escape(said)):
        prepare(configure(tmp_path, images=images, masks=tmp_path / "masks", focal_px=150))
    assert not (tmp_path / "out").exists()
    data = Dataset(prepare(configure(tmp_path, images=images, masks=tmp_path / "masks")))
    assert data.counts["train"] == 11, "without a focal length they may differ"
    for kind in ("images", "masks"):  # as another camera of the same make
        file = tmp_path / kind / "003.png"
        whole = cv2.imread(str(tmp_path / kind / "002.png"))[..., ::-1]
        save(file, np.pad(whole, ((0, 0), (0, 1), (0, 0))))
    prepare(configure(tmp_path, images=images, masks=tmp_path / "masks", focal_px=150))


def test_focal_lengths_in_millimetres_are_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, masks = save_scene(tmp_path), tmp_path / "masks"
    poses = save_poses(tmp_path / "mm.npz", focal=[50, 50], source_size=[1000, 800])
    prepare(configure(tmp_path, images=images, masks=masks, focal_px=20, poses=poses))
    first, second = capsys.readouterr().err.splitlines()
    share = f"{20 / WIDTH:.2g} of the image's longer side ({WIDTH} px)"
    of_images = f"warning: a focal length of 20 px is {share}, which hardly any lens has;"
    assert first.startswith(f"data.folder.focal_px: {of_images}")
    of_poses = "warning: a focal length of 50 px is 0.05 of the image's longer side (1000 px)"
    assert second.startswith(f"{poses}: {of_poses}")


def test_unknown_camera_stays_unknown(tmp_path: Path) -> None:
    images = save_scene(tmp_path)
    data = Dataset(prepare(configure(tmp_path, images=images, masks=tmp_path / "masks")))
    assert np.isnan(data.split("train").samples["focal"]).all()
    assert np.isnan(data.prior.samples["principal"]).all()


def test_video_becomes_a_data_set_frame_by_frame(tmp_path: Path) -> None:
    frames, masks = zip(*scene(), strict=True)
    video = save_video(tmp_path / "walk.avi", list(frames))
    mask_video = save_video(tmp_path / "mask.avi", list(masks))
    config = configure(tmp_path, images=video, masks=mask_video, every=2, test_fraction=0.34)
    data = Dataset(prepare(config))
    assert data.split("train").samples["frame"].tolist() == [0, 2, 4, 6]
    assert data.split("test").samples["frame"].tolist() == [8, 10]
    assert set(data.split("train").samples["clip"]) == {"walk"}
    x = [*data.split("train").samples["crop"][:, 0], *data.split("test").samples["crop"][:, 0]]
    true = [np.nonzero(mask)[1] for mask in masks[::2]]
    np.testing.assert_allclose(x, [(c.min() + c.max() + 1) / 2 for c in true], atol=2)


def test_static_background_is_removed(tmp_path: Path) -> None:
    frames, masks = zip(*scene(), strict=True)
    video = save_video(tmp_path / "walk.avi", list(frames))
    config = configure(tmp_path, images=video, background="median")
    first = Dataset(prepare(config)).checksums
    data = Dataset(prepare(config))
    assert data.checksums == first, "the same data from the same images"
    crops = np.concatenate([data.split(name).samples["crop"] for name in ("train", "test")])
    for crop, mask in zip(crops, masks, strict=True):
        rows, columns = np.nonzero(mask)
        middle = [(columns.min() + columns.max() + 1) / 2, (rows.min() + rows.max() + 1) / 2]
        np.testing.assert_allclose(crop[:2], middle, atol=3)


def test_few_images_of_a_static_camera_have_the_background_of_its_other_clip(
    tmp_path: Path,
) -> None:
    frames = list(scene(16))
    for number, (image, _) in enumerate(frames):
        clip = "few" if number in (3, 9) else "many"
        save(tmp_path / "images" / clip / "left" / f"{number:03d}.png", image)
    for number, (image, _) in enumerate(scene(seed=1)):
        save(tmp_path / "images/many/right" / f"{number:03d}.png", image)
    layout = {"images": tmp_path / "images", "layout": "clip/camera", "background": "median"}
    data = Dataset(prepare(configure(tmp_path, **layout)))
    samples = np.concatenate([data.split(name).samples for name in ("train", "test")])
    few = samples[samples["clip"] == "few"]
    assert len(few) == 2
    for crop, number in zip(few["crop"], (3, 9), strict=True):
        rows, columns = np.nonzero(frames[number][1])
        middle = [(columns.min() + columns.max() + 1) / 2, (rows.min() + rows.max() + 1) / 2]
        np.testing.assert_allclose(crop[:2], middle, atol=3)
    for number in (3, 9):
        file = tmp_path / "images/few/left" / f"{number:03d}.png"
        save(file, frames[number][0][:-8])
    with pytest.raises(InputError, match=r"003\.png: is 128 x 88 pixels, but 128 x 96 are expec"):
        prepare(configure(tmp_path, **layout))
    (tmp_path / "images/few/left").rename(tmp_path / "images/few/top")
    with pytest.raises(InputError, match=r"a clip of 2 frames is too short to find its background"):
        prepare(configure(tmp_path, **layout))


def test_killed_run_goes_on_from_the_masks_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = save_video(tmp_path / "walk.avi", [frame for frame, _ in scene(40)])
    config = configure(tmp_path, images=video, background="median")
    found: list[int] = []
    mask = MedianBackground.mask

    def counted(self: MedianBackground, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        found.append(1)
        if len(found) == 20:
            raise KeyboardInterrupt
        return mask(self, image)

    monkeypatch.setattr(MedianBackground, "mask", counted)
    with pytest.raises(KeyboardInterrupt):
        prepare(config)
    assert not (tmp_path / "out").exists()
    found = [1] * 100
    data = Dataset(prepare(config))
    assert len(found) == 100 + 40 - 16  # the first block is not searched again
    monkeypatch.undo()
    assert Dataset(prepare(config)).checksums == data.checksums
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize("fault", ["", "no video", "short"])
def test_video_is_a_data_set_of_one_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    """``data=video``: files are clips, the body moves, cameras are static."""
    frames, masks = zip(*scene(), strict=True)
    for camera in ("c1", "c2"):
        save_video(tmp_path / "videos" / "ann" / "walk" / f"{camera}.avi", list(frames))
    if fault == "no video":
        (tmp_path / "videos" / "ann" / "walk" / "c3.mp4").write_bytes(b"nothing")
    if fault == "short":
        save_video(tmp_path / "videos" / "ann" / "walk" / "c4.avi", list(frames)[:3])
    options = {
        "images": tmp_path / "videos",
        "poses": save_poses(tmp_path / "poses.npz"),
        "layout": "person/clip/camera",
        "test_fraction": 0.25,
        "focal_px": 150,
    }
    arguments = [f"data.folder.{name}={value}" for name, value in options.items()]
    out = tmp_path / "out"
    code = main(["prepare", "data=video", "data.size=32", f"paths.data={out}", *arguments])
    said = capsys.readouterr().err.strip().splitlines()
    if fault:
        assert code == 2
        expected = {"no video": "c3.mp4: cannot be decoded", "short": "c4.avi: a clip of 3 frames"}
        assert expected[fault] in said[-1]
        assert not out.exists()
        return
    assert code == 0
    data = Dataset(out)
    data.verify()
    assert data.counts == {"train": 18, "test": 6, "prior": 6}
    test = data.split("test").samples
    assert set(test["camera"]) == {"c1", "c2"}
    assert set(test["clip"]) == {"ann/walk"}
    assert set(test["person"]) == {"ann"}
    assert set(test["frame"]) == {9, 10, 11}
    for crop, frame in zip(test["crop"], test["frame"], strict=True):
        rows, columns = np.nonzero(masks[frame])
        middle = [(columns.min() + columns.max() + 1) / 2, (rows.min() + rows.max() + 1) / 2]
        np.testing.assert_allclose(crop[:2], middle, atol=3)


@pytest.mark.parametrize("kind", [MedianBackground, SubtractorBackground])
def test_background_leaves_the_walker(kind: Callable[..., Any]) -> None:
    frames, masks = zip(*scene(24), strict=True)
    background = kind(iter(frames))
    overlap = []
    for frame, mask in zip(frames, masks, strict=True):
        found = background.mask(frame) > 0
        overlap.append((found & (mask > 0)).sum() / (found | (mask > 0)).sum())
    assert np.mean(overlap) > 0.8
    assert np.min(overlap) > 0.6


def test_median_background_cuts_out_who_hardly_leaves() -> None:
    """The plain median of a man who stands in one place for most of the clip holds him there."""
    rng = np.random.default_rng(3)
    wall = np.kron(rng.integers(0, 160, (12, 16, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    frames, masks = [], []
    for step in range(24):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        foot = 45 if step < 15 else min(45 + 10 * (step - 14), 75)
        shoulder = foot + int(4 * np.sin(step))
        hand = shoulder + int(30 * np.cos(step / 4)), 40 - int(25 * abs(np.sin(step / 4)))
        cv2.line(mask, (foot, 88), (shoulder, 40), 255, 12)
        cv2.line(mask, (shoulder, 40), hand, 255, 6)
        frames.append(np.where(mask[..., None] > 0, np.uint8([250, 230, 40]), wall))
        masks.append(mask > 0)
    plain = np.median(np.stack(frames), axis=0)
    background = MedianBackground(frames)

    def mean_overlap(find: Callable[[NDArray[np.uint8]], NDArray[np.bool_]]) -> float:
        pairs = [(find(frame), mask) for frame, mask in zip(frames, masks, strict=True)]
        return float(np.mean([(f & m).sum() / (f | m).sum() for f, m in pairs]))

    assert mean_overlap(lambda f: np.abs(f - plain).max(-1) > 18) < 0.5, (
        "hard, as it is meant to be"
    )
    assert mean_overlap(lambda f: background.mask(f) > 0) > 0.65


def test_nobody_in_sight_is_skipped_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = save_scene(tmp_path)
    for i in (2, 5):
        save(tmp_path / "masks" / f"{i:03d}.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    config = configure(tmp_path, images=images, masks=tmp_path / "masks", bad_masks=0.2)
    data = Dataset(prepare(config))
    assert data.counts["train"] == 9
    assert data.split("train").samples["frame"].tolist() == [0, 1, 3, 4, 6, 7, 8, 9, 10]
    said = capsys.readouterr().err
    assert re.search(
        r"skipped 2 images \(2: its mask covers nothing; the first is .*002\.png", said
    )


def test_folders_name_person_clip_and_camera(tmp_path: Path) -> None:
    for place in ("ann/walk/c1", "ann/walk/c2", "ann/run/c1", "bob/walk/c1"):
        save(tmp_path / "images" / place / "0.jpg", np.zeros((4, 4, 3), np.uint8))
    folder = FolderConfig(images=str(tmp_path / "images"), layout="person/clip/camera")
    found = [(c.person, c.name, c.camera) for c in find_clips(folder)]
    assert found == [
        ("ann", "ann/run", "c1"),
        ("ann", "ann/walk", "c1"),
        ("ann", "ann/walk", "c2"),
        ("bob", "bob/walk", "c1"),
    ]
    folder.layout = "clip"
    assert [c.name for c in find_clips(folder)][:2] == ["ann/run/c1", "ann/walk/c1"]


def test_split_keeps_persons_apart(tmp_path: Path) -> None:
    folders = tuple(f"{person}/{clip}" for person in "abcde" for clip in ("x", "y"))
    images = save_scene(tmp_path, folders, count=3)
    config = configure(
        tmp_path,
        images=images,
        masks=tmp_path / "masks",
        layout="person/clip",
        test_fraction=0.3,
    )
    data = Dataset(prepare(config))
    train, test = (data.split(name).samples for name in ("train", "test"))
    assert data.info.details["split_by"] == "person"
    assert not set(train["person"]) & set(test["person"])
    assert len(set(test["person"])) == 2, "two of five persons reach 30 %"
    assert len(train) + len(test) == 30


@pytest.mark.parametrize("fraction", [0.01, 0.5, 0.99])
def test_split_by_clip_leaves_both_sides_something(tmp_path: Path, fraction: float) -> None:
    for name in "abc":
        save(tmp_path / "images" / name / "0.png", np.zeros((4, 4, 3), np.uint8))
    clips = find_clips(FolderConfig(images=str(tmp_path / "images")))
    split_by, firsts = split_clips(clips, fraction, seed=0)
    assert split_by == "clip"
    assert 0 < sum(firsts) < 3


@pytest.mark.parametrize(
    ("count", "every", "said"),
    [
        (1, 1, "images/a: one image cannot be split into train and test; give at least two"),
        (3, 9, r"images/a: of 3 images data\.folder\.every leaves one, .*; lower it"),
    ],
)
def test_one_image_cannot_be_split(count: int, every: int, said: str, tmp_path: Path) -> None:
    for number in range(count):
        save(tmp_path / "images" / "a" / f"{number}.png", np.zeros((4, 4, 3), np.uint8))
    clips = find_clips(FolderConfig(images=str(tmp_path / "images"), every=every))
    with pytest.raises(InputError, match=said):
        split_clips(clips, 0.1, seed=0)


@pytest.mark.parametrize(
    ("count", "every", "said"),
    [
        (1, 1, r"v\.avi: one frame cannot be split into train and test; give at least two"),
        (5, 9, r"v\.avi: of 5 frames data\.folder\.every leaves one, .*; lower it"),
    ],
)
def test_one_frame_cannot_be_split(count: int, every: int, said: str, tmp_path: Path) -> None:
    video = tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 25, (32, 32))
    for _ in range(count):
        writer.write(np.zeros((32, 32, 3), np.uint8))
    writer.release()
    clips = find_clips(FolderConfig(images=str(video), every=every))
    with pytest.raises(InputError, match=said):
        split_clips(clips, 0.1, seed=0)


# Poses.


def coco(path: Path, annotations: list[dict[str, Any]], names: list[str] = COCO) -> Path:
    content = {
        "categories": [{"id": 7, "name": "thing"}, {"id": 1, "name": "person", "keypoints": names}],
        "images": [{"id": 5, "width": 640, "height": 480}],
        "annotations": [{"category_id": 1, "image_id": 5} | a for a in annotations],
    }
    path.write_text(json.dumps(content))
    return path


def coco_row(visible: int = 2) -> NDArray[np.float64]:
    rng = np.random.default_rng(5)
    return np.column_stack([rng.uniform(50, 400, (17, 2)), np.full(17, visible)])


def test_coco_joints_are_matched_by_name_and_derived(tmp_path: Path) -> None:
    row = coco_row()
    path = coco(tmp_path / "p.json", [{"keypoints": row.ravel().tolist()}])
    poses = read_poses(path, BODY, size=64, margin=0.1)
    pixels = to_source(poses.poses_2d.astype(float), poses.samples["crop"].astype(float), 64)[0]
    at = {name: row[i, :2] for i, name in enumerate(COCO)}
    joint = {name: pixels[i] for i, name in enumerate(BODY.joints)}
    shoulders = (at["left_shoulder"] + at["right_shoulder"]) / 2
    hips = (at["left_hip"] + at["right_hip"]) / 2
    ears = (at["left_ear"] + at["right_ear"]) / 2
    expected = {
        "l_wrist": at["left_wrist"],
        "r_knee": at["right_knee"],
        "nose": at["nose"],
        "pelvis": hips,
        "thorax": shoulders,
        "spine": (hips + shoulders) / 2,
        "head": ears + 0.7 * (ears - shoulders),
    }
    for name, pixel in expected.items():
        np.testing.assert_allclose(joint[name], pixel, atol=0.01, err_msg=name)
    assert poses.samples["source_size"].tolist() == [[640, 480]]
    assert poses.poses_2d.min() > 0
    assert poses.poses_2d.max() < 64


def test_incomplete_coco_poses_are_skipped_and_counted(tmp_path: Path) -> None:
    whole, without_eye, without_hip = (coco_row().copy() for _ in range(3))
    without_eye[1] = 0
    without_hip[11] = 0
    rows = [{"keypoints": r.ravel().tolist()} for r in (without_hip, whole, without_eye)]
    poses = read_poses(coco(tmp_path / "p.json", rows), BODY, size=64, margin=0.1)
    assert poses.left_out == {"lack a joint (most often left_hip)": 1}, "eyes are not needed"
    assert poses.report() == "left out 1 of 3 poses: 1 lack a joint (most often left_hip)"
    np.testing.assert_array_equal(poses.poses_2d[0], poses.poses_2d[1])


def test_npz_joints_are_put_in_order(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(17)
    plain = read_poses(save_poses(tmp_path / "a.npz"), BODY, 64, 0.1)
    with np.load(tmp_path / "a.npz") as archive:
        poses = archive["poses_2d"]
    names = np.array(BODY.joints)[order]
    shuffled = save_poses(tmp_path / "b.npz", poses_2d=poses[:, order], joints=names)
    np.testing.assert_array_equal(read_poses(shuffled, BODY, 64, 0.1).poses_2d, plain.poses_2d)
    assert plain.samples["frame"].tolist() == list(range(6))


def test_npz_may_know_its_camera(tmp_path: Path) -> None:
    path = save_poses(tmp_path / "a.npz", focal=np.array([900, 901]), source_size=[1000, 800])
    samples = read_poses(path, BODY, 64, 0.1).samples
    assert samples["focal"][3].tolist() == [900, 901]
    assert samples["principal"][3].tolist() == [500, 400]


def test_names_of_joints_are_read_in_their_usual_spellings() -> None:
    spellings = ["Left Shoulder", "LShoulder", "left_shoulder", "leftShoulder", "l-shoulder"]
    for spelling in spellings:
        names = [spelling if joint == "l_shoulder" else joint for joint in BODY.joints]
        np.testing.assert_array_equal(joint_weights(BODY, names), np.eye(17))


def test_prior_of_another_set_is_cropped_again(tmp_path: Path) -> None:
    other = Dataset(tiny_dataset(tmp_path / "other", size=32, prior=9))
    same = read_poses(other.folder, BODY, 32, other.info.margin)
    np.testing.assert_allclose(same.poses_2d, other.prior.poses_2d, atol=1e-4)
    large = read_poses(other.folder, BODY, 128, 0.3)
    ours, theirs = (
        to_source(p.astype(float), samples["crop"].astype(float), size)
        for p, samples, size in (
            (large.poses_2d, large.samples, 128),
            (other.prior.poses_2d, other.prior.samples, 32),
        )
    )
    np.testing.assert_allclose(ours, theirs, atol=0.01)
    wider = large.samples["crop"][:, 2] / other.prior.samples["crop"][:, 2]
    np.testing.assert_allclose(wider, 1.3 / 1.13, rtol=1e-5)
    np.testing.assert_array_equal(large.samples["focal"], other.prior.samples["focal"])


# Bad input: one line, the file named, exit code 2, nothing written.


def truncate(path: Path, share: float = 0.5) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def rewrite(path: Path, image: NDArray[np.uint8]) -> None:
    save(path, image)


def video_as_mask(tmp: Path) -> dict[str, str]:
    frames = [frame for frame, _ in scene()]
    video, photo = save_video(tmp / "v.avi", frames), save_video(tmp / "photo.avi", frames)
    return {"images": str(video), "masks": str(photo)}


def not_black(tmp: Path) -> dict[str, str]:
    for path in (tmp / "images").iterdir():
        save(path, np.full((HEIGHT, WIDTH, 3), 200, np.uint8))
    return {"masks": ""}


def empty_masks(tmp: Path) -> None:
    for path in (tmp / "masks").iterdir():
        save(path, np.zeros((HEIGHT, WIDTH), np.uint8))


def no_images(tmp: Path) -> dict[str, str]:
    (tmp / "empty").mkdir()
    return {"images": str(tmp / "empty")}


def truncated_video(tmp: Path) -> dict[str, str]:
    video = save_video(tmp / "walk.avi", [image for image, _ in scene(40)])
    truncate(video, 0.6)
    return {"images": str(video), "masks": "", "background": "median"}


def poses(path: str = "bad.npz", **arrays: Any) -> Callable[[Path], dict[str, str]]:
    return lambda tmp: {"poses": str(save_poses(tmp / path, **arrays))}


def nan_poses(tmp: Path) -> dict[str, str]:
    with np.load(save_poses(tmp / "bad.npz")) as archive:
        values = archive["poses_2d"]
    values[:, 2, 0] = np.nan
    return {"poses": str(save_poses(tmp / "bad.npz", poses_2d=values))}


def bad_coco(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], dict[str, str]]:
    def spoil(tmp: Path) -> dict[str, str]:
        path = coco(tmp / "bad.json", [{"keypoints": coco_row().ravel().tolist()}])
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
        return {"poses": str(path)}

    return spoil


def written(tmp: Path, name: str, content: bytes) -> dict[str, str]:
    (tmp / name).write_bytes(content)
    return {"poses": str(tmp / name)}


SPOILS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing folder": (lambda t: {"images": str(t / "no")}, "no: not found"),
    "empty folder": (no_images, "empty: no images"),
    "images not set": (lambda t: {"images": ""}, "data.folder.images: not set"),
    "poses not set": (lambda t: {"poses": ""}, "data.folder.poses: not set"),
    "truncated image": (lambda t: truncate(t / "images/003.png"), "003.png: cannot be decoded"),
    "no image": (
        lambda t: (t / "images/003.png").write_text("hello"),
        "003.png: cannot be decoded",
    ),
    "truncated mask": (lambda t: truncate(t / "masks/003.png"), "masks/003.png: cannot be decoded"),
    "missing mask": (lambda t: (t / "masks/003.png").unlink(), "003.png: has no mask; expected"),
    "mask of another size": (
        lambda t: rewrite(t / "masks/003.png", np.zeros((8, 9), np.uint8)),
        "masks/003.png: is 9 x 8 pixels, but 128 x 96",
    ),
    "photo as a mask": (
        lambda t: rewrite(t / "masks/003.png", next(scene())[0]),
        "masks/003.png: is no mask: .* save the body in white and all else in black",
    ),
    "mask of the image as stored": (
        lambda t: rewrite(t / "masks/003.png", np.zeros((WIDTH, HEIGHT), np.uint8)),
        "masks/003.png: is 96 x 128 pixels, but 128 x 96 .* EXIF orientation",
    ),
    "photo video as a mask": (
        video_as_mask,
        "photo.avi, frame 0: is no mask",
    ),
    "test frames that are not there": (
        lambda t: {"test": "[images:0-3,images:100-200]"},
        "data.folder.test=images:100-200: holds no image in use",
    ),
    "test frames in the wrong order": (
        lambda t: {"test": "[images:0-3,images:9-7]"},
        "data.folder.test=images:9-7: holds no image in use",
    ),
    "all masks empty": (
        empty_masks,
        "masks/000.png: its mask covers nothing; mark the body .* data.folder.bad_masks",
    ),
    "background not black": (not_black, "its background is not black"),
    "another size before a static camera": (
        lambda t: (
            rewrite(t / "images/003.png", np.zeros((8, 9, 3), np.uint8))
            or {"masks": "", "background": "median"}
        ),
        "003.png: is 9 x 8 pixels",
    ),
    "truncated video": (truncated_video, "walk.avi: "),
    "no video": (
        lambda t: (t / "images/clip.mp4").write_bytes(b"no video") and {"masks": ""},
        "clip.mp4: cannot be decoded",
    ),
    "missing poses": (lambda t: {"poses": str(t / "no.npz")}, "no.npz: not found"),
    "wrong joint count": (
        poses(poses_2d=np.ones((3, 16, 2))),
        r"bad.npz: poses_2d has shape \(3, 16, 2\), expected \(M, 17, 2\)",
    ),
    "unknown joints": (
        poses(joints=np.array([*BODY.joints[:-1], "paw"])),
        "bad.npz: has no joint for r_wrist of skeleton h36m17",
    ),
    "NaN in all poses": (
        nan_poses,
        r"bad.npz: none of its 6 poses can be used \(6 lack a joint \(most often r_knee\)\)",
    ),
    "point pose": (
        poses(poses_2d=np.ones((3, 17, 2))),
        r"bad.npz: none of its 3 poses can be used \(3 are smaller than 2 pixels\)",
    ),
    "no poses_2d": (
        lambda t: np.savez(t / "bad.npz", x=np.ones(3)) or {"poses": str(t / "bad.npz")},
        "bad.npz: holds x, but no poses_2d",
    ),
    "pickled poses": (
        poses(poses_2d=np.array([{"a": 1}, None], dtype=object)),
        "bad.npz: cannot be read as .npz",
    ),
    "broken npz": (
        lambda t: written(t, "bad.npz", b"PK\3\4broken"),
        "bad.npz: cannot be read as .npz",
    ),
    "broken JSON": (lambda t: written(t, "bad.json", b"{"), "bad.json: cannot be read as JSON"),
    "other JSON": (lambda t: written(t, "bad.json", b"{}"), "bad.json: lacks categories"),
    "other poses": (lambda t: written(t, "bad.txt", b""), "bad.txt: is neither"),
    "folder without a data set": (lambda t: {"poses": str(t)}, "dataset.json: not found"),
    "COCO without keypoints": (
        bad_coco(lambda c: c["categories"].pop()),
        "bad.json: no category lists keypoints",
    ),
    "COCO of other joints": (
        bad_coco(lambda c: c["categories"][1].update(keypoints=["x"] * 17)),
        "bad.json: has no joint for pelvis",
    ),
    "COCO row of another length": (
        bad_coco(lambda c: c["annotations"][0].update(id=3, keypoints=[1, 2, 2])),
        r"bad.json: annotations\[0\] \(id 3\) has 1 joints, its category 17",
    ),
    "COCO without a complete pose": (
        bad_coco(lambda c: c["annotations"][0].update(keypoints=[0] * 51)),
        "bad.json: none of its 1 poses",
    ),
    "unknown background": (
        lambda t: {"background": "magic"},
        "background=magic: must be keep, person, median or subtractor",
    ),
    "unknown layout": (lambda t: {"layout": "x/y"}, "layout=x/y: must be any of"),
    "fraction": (lambda t: {"test_fraction": 1.5}, "test_fraction=1.5: must be below 1"),
    "every": (lambda t: {"every": 0}, "every=0: must be 1 or more"),
    "name too long": (lambda t: {"images": str(long_name(t)), "masks": ""}, "rename it"),
}


def long_name(tmp: Path) -> Path:
    save(tmp / "long" / ("x" * 70) / "0.png", np.zeros((4, 4, 3), np.uint8))
    return tmp / "long"


@pytest.mark.parametrize("case", SPOILS)
def test_bad_input_is_one_clear_line(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, says = SPOILS[case]
    options: dict[str, Any] = {
        "images": save_scene(tmp_path),
        "masks": tmp_path / "masks",
        "poses": save_poses(tmp_path / "poses.npz"),
    }
    changed = spoil(tmp_path)
    options |= changed if isinstance(changed, dict) else {}
    overrides = [f"data.folder.{name}={value}" for name, value in options.items()]
    capsys.readouterr()
    code = main(
        ["prepare", "data=folder", "data.size=32", f"paths.data={tmp_path / 'out'}", *overrides]
    )
    error = capsys.readouterr().err.strip()
    assert code == 2
    assert "\n" not in error
    assert re.search(says, error), error
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_unknown_skeleton_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "data=folder", "skeleton=octopus"]) == 2
    assert "octopus" in capsys.readouterr().err


# Details.


def test_poses_with_y_up_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = save_scene(tmp_path)
    with np.load(save_poses(tmp_path / "poses.npz")) as archive:
        poses = archive["poses_2d"]
    for name, y in ("down", 1), ("up", -1):
        turned = np.array([1, y]) * poses + [0, 1000]
        config = configure(
            tmp_path,
            images=images,
            masks=tmp_path / "masks",
            poses=save_poses(tmp_path / f"{name}.npz", poses_2d=turned),
        )
        prepare(config)
    said = capsys.readouterr().err
    assert "up.npz: warning: 6 of 6 poses stand on their heads; y points down" in said
    assert "down.npz" not in said


@pytest.mark.parametrize(
    ("orientation", "tagged", "square", "warned"),
    [
        (3, False, False, True),
        (6, False, True, True),
        (3, True, False, False),
        (1, False, True, False),
    ],
)
def test_a_mask_that_fits_an_image_both_ways_is_doubted(
    orientation: int,
    tagged: bool,
    square: bool,
    warned: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tag = PIL.Image.Exif()
    tag[0x0112] = orientation
    for number, (image, mask) in enumerate(scene()):
        width = HEIGHT if square else WIDTH
        for folder, pixels in {"images": image, "masks": mask}.items():
            (tmp_path / folder).mkdir(exist_ok=True)
            file = tmp_path / folder / f"{number:02d}.png"
            exif = tag if tagged or folder == "images" else None
            PIL.Image.fromarray(pixels[:, :width]).save(file, exif=exif)
    config = configure(
        tmp_path, images=tmp_path / "images", masks=tmp_path / "masks", bad_masks=0.5
    )
    prepare(config)
    said = capsys.readouterr().err
    assert said.count("make sure that it is of the image as shown") == warned
    assert ("masks/00.png: warning" in said) == warned


def test_dark_holes_belong_to_a_body_before_black() -> None:
    image = np.zeros((60, 60, 3), np.uint8)
    image[10:50, 10:50] = 90
    image[20:23, 20:23] = 0  # a dark button
    image[30:45, 25:40] = 0  # daylight between arm and body
    mask = mask_of_black_background(image)
    assert mask[21, 21] == 255
    assert mask[35, 30] == 0
    assert mask[0, 0] == 0


def test_video_frames_are_those_wanted(tmp_path: Path) -> None:
    levels = [20 * i for i in range(10)]
    path = save_video(tmp_path / "v.avi", [np.full((32, 32, 3), v, np.uint8) for v in levels])
    assert frame_count(path) == 10
    seen = {index: frame.mean() for index, frame in read_video(path, range(1, 10, 3))}
    assert list(seen) == [1, 4, 7]
    np.testing.assert_allclose(list(seen.values()), [20, 80, 140], atol=3)
