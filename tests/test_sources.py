"""Public data sets in their own layouts become the project's, value for value; faults are named."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
import scipy.io
from layouts import (
    BODY,
    UNIVERSAL,
    Clip,
    colour_of,
    in_32,
    save_cdf,
    save_masks,
    save_video,
    write_3dhp,
    write_h36m,
    write_handdb,
    write_simplified,
)
from numpy.typing import NDArray

from skelift.cli import main
from skelift.config import Mpi3dhpConfig, compose
from skelift.data import takes
from skelift.data.crop import CropBox, cut_body, to_crop, to_source
from skelift.data.format import Dataset, Split
from skelift.data.motion_cue import radial_motion_of, steady_motion_of
from skelift.data.sources.recordings import PRIOR_MARK
from skelift.data.videos import read_frames
from skelift.errors import InputError
from skelift.stages import prepare

SIZE = 96


def made(kind: str, root: Path, out: Path, *overrides: str) -> Dataset:
    """Prepare in this process, without a pool."""
    options = [f"data.{kind}.root={root}", f"data.{kind}.workers=1", f"data.size={SIZE}"]
    config = compose([kind, *options, f"paths.data={out}", *overrides])
    data = Dataset(prepare.run(config))
    data.verify()
    return data


@pytest.fixture(scope="module")
def h36m(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[tuple[str, str], Clip]]:
    root = tmp_path_factory.mktemp("h36m")
    return root, write_h36m(root)


@pytest.fixture(scope="module")
def h36m_data(
    h36m: tuple[Path, dict[tuple[str, str], Clip]], tmp_path_factory: pytest.TempPathFactory
) -> Dataset:
    return made("h36m", h36m[0], tmp_path_factory.mktemp("out") / "h36m")


@pytest.fixture(scope="module")
def mpi(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[tuple[str, str], Clip]]:
    root = tmp_path_factory.mktemp("mpi")
    return root, write_3dhp(root)


@pytest.fixture(scope="module")
def mpi_data(
    mpi: tuple[Path, dict[tuple[str, str], Clip]], tmp_path_factory: pytest.TempPathFactory
) -> Dataset:
    return made("mpi_inf_3dhp", mpi[0], tmp_path_factory.mktemp("out") / "mpi_inf_3dhp")


def rows_of(split: Split, clip: str, camera: str) -> NDArray[np.intp]:
    return np.flatnonzero((split.samples["clip"] == clip) & (split.samples["camera"] == camera))


def assert_colours(split: Split, rows: NDArray[np.intp]) -> None:
    """The pixel on each joint that no other covers has that joint's colour, in RGB."""
    assert split.joints_2d is not None
    for row in rows:
        joints, image = split.joints_2d[row], split.images[int(row)].astype(int)
        apart = np.linalg.norm(joints[:, None] - joints, axis=-1) + 99 * np.eye(len(joints))
        free = np.flatnonzero(apart.min(axis=1) > 0.055 * SIZE)
        assert len(free) >= 5
        for joint in free:
            x, y = np.floor(joints[joint]).astype(int)
            colour = colour_of(int(joint), len(joints))
            assert np.abs(image[y, x] - colour).max() < 90, (row, joint, image[y, x], colour)


def assert_same_images(
    split: Split, rows: NDArray[np.intp], clip: Clip, overlap: float = 0.93
) -> None:
    """2D as written, masks as drawn (intersection over union), and the background black."""
    assert split.joints_2d is not None
    for row in rows:
        sample = split.samples[row]
        source = to_source(split.joints_2d[row], sample["crop"], SIZE)
        np.testing.assert_allclose(source, clip.joints_2d[sample["frame"]], atol=0.02)
        mask = clip.masks[sample["frame"]]
        x, y, side = (float(v) for v in sample["crop"])
        expected = CropBox(x, y, side).cut(mask, SIZE) > 127
        found = split.masks[int(row)] > 127
        assert (expected & found).sum() / (expected | found).sum() > overlap
        assert not split.images[int(row)][split.masks[int(row)] == 0].any()


# Crops.


@pytest.mark.parametrize("side", [37, 96, 150, 611])
def test_quick_crop_is_the_slow_one(side: int) -> None:
    rng = np.random.default_rng(side)
    small = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
    image = cv2.GaussianBlur(cv2.resize(small, (480, 400)), (0, 0), 6)
    mask = np.full((400, 480), 255, np.uint8)
    box = CropBox(30.3, 200.7, side).snapped(SIZE)
    assert side <= box.side <= side * 1.02 + 1
    crop, cut = cut_body(image, mask, box, SIZE)
    assert np.abs(crop.astype(int) - box.cut(image, SIZE)).mean() < 3
    assert np.abs(cut.astype(int) - box.cut(mask, SIZE)).mean() < 3


def test_window_outside_of_the_image_is_black() -> None:
    image = np.full((10, 10, 3), 9, np.uint8)
    assert not CropBox(-20, 5, 6).window(image).any()
    assert CropBox(0, 5, 6).window(image)[:, 3:].all()


# Human3.6M.


def test_h36m_values_are_those_written(
    h36m: tuple[Path, dict[tuple[str, str], Clip]], h36m_data: Dataset
) -> None:
    clips = h36m[1]
    # First halves of 3 clips of 8 frames; all frames of S9; S11's broken clip is left out.
    assert h36m_data.counts == {"train": 12, "test": 10, "prior": 12}
    train, test, prior = h36m_data.split("train"), h36m_data.split("test"), h36m_data.prior
    assert set(train.samples["activity"]) == {"Photo", "Directions"}
    assert set(train.samples["person"]) == {"S1"}
    assert set(test.samples["person"]) == {"S9"}
    places = {
        ("S1/Photo 1", "54138969"): ("S1", "TakingPhoto 1.54138969"),
        ("S1/Photo 1", "55011271"): ("S1", "TakingPhoto 1.55011271"),
        ("S1/Directions", "55011271"): ("S1", "Directions.55011271"),
        ("S9/Photo 1", "54138969"): ("S9", "Photo 1.54138969"),
    }
    for (name, camera), key in places.items():
        split, clip = (train if key[0] == "S1" else test), clips[key]
        rows = rows_of(split, name, camera)
        assert split.samples["frame"][rows].tolist() == list(range(len(rows)))
        assert split.joints_3d_mm is not None
        np.testing.assert_allclose(split.joints_3d_mm[rows], clip.joints_mm[: len(rows)], atol=0.01)
        np.testing.assert_allclose(split.samples["focal"][rows], clip.focal, rtol=1e-4)
        np.testing.assert_allclose(
            split.samples["principal"][rows], np.tile(clip.principal, (len(rows), 1)), rtol=1e-4
        )
        height = 1002 if camera == "54138969" else 1000
        assert (split.samples["source_size"][rows] == (1000, height)).all()
        assert_same_images(split, rows, clip)
        assert_colours(split, rows)
        for row in rows:  # the crop is the mask's box, a little enlarged
            x, y, width, box_height = cv2.boundingRect(clip.masks[split.samples["frame"][row]])
            side = max(width, box_height) * (1 + h36m_data.info.margin)
            crop = split.samples["crop"][row]
            assert np.abs(crop[:2] - [x + width / 2, y + box_height / 2]).max() <= 1.5
            assert side <= crop[2] <= side * 1.01 + 1
    clip = clips["S1", "TakingPhoto 1.54138969"]
    own = (prior.samples["clip"] == f"S1/Photo 1{PRIOR_MARK}") & (
        prior.samples["camera"] == "54138969"
    )
    assert prior.samples["frame"][own].tolist() == [4, 5, 6, 7]
    source = to_source(prior.poses_2d[own], prior.samples["crop"][own], SIZE)
    np.testing.assert_allclose(source, clip.joints_2d[4:], atol=0.02)
    parent, child = BODY.bone_indices.T
    bones = np.linalg.norm(clip.joints_mm[0, child] - clip.joints_mm[0, parent], axis=-1)
    np.testing.assert_allclose(h36m_data.skeleton.bone_lengths_mm, bones, atol=0.1)


def test_h36m_fetch_with_video_silhouettes_is_the_same(h36m_data: Dataset, tmp_path: Path) -> None:
    write_h36m(tmp_path / "root", fetch=True, silhouettes="mp4")
    data = made("h36m", tmp_path / "root", tmp_path / "out")
    for name in ("train", "test"):
        ours, theirs = data.split(name), h36m_data.split(name)
        assert (ours.samples == theirs.samples).all()
        np.testing.assert_array_equal(ours.joints_3d_mm, theirs.joints_3d_mm)
        apart = np.abs(ours.masks[:].astype(int) - theirs.masks[:]) > 127
        assert apart.mean() < 0.01


def test_h36m_boxes_may_be_videos(tmp_path: Path) -> None:
    clip = {("S1", "Directions.55011271"): 4, ("S9", "Photo 1.54138969"): 2}
    write_h36m(tmp_path / "mat", frames_of=clip)
    write_h36m(tmp_path / "mp4", frames_of=clip, boxes="mp4")
    crops = [
        made("h36m", tmp_path / form, tmp_path / f"out_{form}").split("train").samples["crop"]
        for form in ("mat", "mp4")
    ]
    assert np.abs(crops[0] - crops[1]).max() <= 2  # the video's edges are a little blurred


def test_h36m_every_nth_frame_and_boxes_of_joints(
    h36m: tuple[Path, dict[tuple[str, str], Clip]], tmp_path: Path
) -> None:
    options = ("every=3", "test_every=2", "boxes=joints", "prior=0.25")
    data = made("h36m", h36m[0], tmp_path / "out", *(f"data.h36m.{o}" for o in options))
    assert sorted(set(data.split("train").samples["frame"])) == [0, 3]
    assert sorted(set(data.split("test").samples["frame"])) == [0, 2, 4]
    assert set(data.prior.samples["frame"]) == {6}


def test_simplified_h36m(tmp_path: Path) -> None:
    clips = write_simplified(tmp_path / "root")
    data = made("h36m", tmp_path / "root", tmp_path / "out", "data.size=128")
    assert data.counts == {"train": 4, "test": 8, "prior": 4}
    train = data.split("train")
    assert train.joints_3d_mm is None
    assert train.joints_2d is not None
    clip = clips["S1", "walking_1"]
    np.testing.assert_allclose(train.joints_2d, clip.joints_2d[:4], atol=1e-3)
    np.testing.assert_array_equal(train.masks[:], np.stack(clip.masks[:4]))
    np.testing.assert_allclose(data.prior.poses_2d, clip.joints_2d[4:], atol=1e-3)
    assert set(train.samples["activity"]) == {"walking"}
    assert np.isnan(train.samples["focal"]).all()


# Faults of Human3.6M: each on a copy that shares all other files.


def shared_copy(root: Path, to: Path) -> Path:
    for file in root.rglob("*"):
        if file.is_file():
            target = to / file.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(file, target)
    return to


def poses_file(root: Path, kind: str, stem: str = "Directions.55011271") -> Path:
    return root / "S1" / "MyPoseFeatures" / kind / f"{stem}.cdf"


def truncate_cdf(root: Path, clip: Clip) -> None:
    file = poses_file(root, "D2_Positions")
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content[: len(content) // 2])


def drop_video(root: Path, clip: Clip) -> None:
    (root / "S1" / "Videos" / "Directions.55011271.mp4").unlink()


def exchange_legs(root: Path, clip: Clip) -> None:
    legs = [0, 4, 5, 6, 1, 2, 3, *range(7, 17)]
    save_cdf(poses_file(root, "D2_Positions"), in_32(clip.joints_2d[:, legs]))
    save_cdf(poses_file(root, "D3_Positions_mono"), in_32(clip.joints_mm[:, legs]))


def exchange_all(root: Path, clip: Clip) -> None:
    save_cdf(poses_file(root, "D2_Positions"), in_32(clip.joints_2d[:, BODY.swap]))
    save_cdf(poses_file(root, "D3_Positions_mono"), in_32(clip.joints_mm[:, BODY.swap]))


def other_order(root: Path, clip: Clip) -> None:
    save_cdf(poses_file(root, "D3_Positions_mono"), in_32(clip.joints_mm[:, BODY.swap]))


def slow_video(root: Path, clip: Clip) -> None:
    file = root / "S1" / "Videos" / "Directions.55011271.mp4"
    file.unlink()
    save_video(file, [np.zeros((1000, 1000, 3), np.uint8)] * 8, 25)


def short_video(root: Path, clip: Clip) -> None:
    file = root / "S1" / "Videos" / "Directions.55011271.mp4"
    file.unlink()
    save_video(file, [np.zeros((1000, 1000, 3), np.uint8)] * 3, 50)


def truncate_mask(root: Path, clip: Clip) -> None:
    file = root / "S1" / "MySegmentsMat" / "ground_truth_bs" / "Directions.55011271.mat"
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("spoil", "file", "complaint"),
    [
        (truncate_cdf, "D2_Positions/Directions.55011271.cdf", "truncated"),
        (drop_video, "Videos/Directions.55011271.mp4", "not found"),
        (exchange_legs, "mono/Directions.55011271.cdf", "left and right are swapped in arms or"),
        (exchange_all, "mono/Directions.55011271.cdf", "swapped in the whole body"),
        (other_order, "mono/Directions.55011271.cdf", "do not project onto its 2D poses"),
        (slow_video, "Videos/Directions.55011271.mp4", "25 frames per second, the data set has 50"),
        (short_video, "Videos/Directions.55011271.mp4", "3 frames for 8 poses"),
        (truncate_mask, "bs/Directions.55011271.mat", "cannot be read as MATLAB v7.3"),
    ],
)
def test_h36m_fault_is_one_line_and_leaves_nothing(
    h36m: tuple[Path, dict[tuple[str, str], Clip]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path, Clip], None],
    file: str,
    complaint: str,
) -> None:
    root = shared_copy(h36m[0], tmp_path / "root")
    spoil(root, h36m[1]["S1", "Directions.55011271"])
    options = [f"data.h36m.root={root}", "data.h36m.workers=1", f"data.size={SIZE}"]
    code = main(["prepare", "h36m", *options, f"paths.data={tmp_path / 'out'}"])
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 2
    assert file in message
    assert complaint in message
    assert not (tmp_path / "out").exists()


def test_h36m_nan_and_short_masks_are_skipped_and_logged(
    h36m: tuple[Path, dict[tuple[str, str], Clip]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root, clips = shared_copy(h36m[0], tmp_path / "root"), h36m[1]
    stem = "Directions.55011271"
    joints = clips["S1", stem].joints_mm.copy()
    joints[1, 3, 0] = np.nan
    save_cdf(poses_file(root, "D3_Positions_mono"), in_32(joints))
    stem = "TakingPhoto 1.55011271"
    masks = root / "S1" / "MySegmentsMat" / "ground_truth_bs" / f"{stem}.mat"
    masks.unlink()
    save_masks(masks, clips["S1", stem].masks[:3])
    data = made("h36m", root, tmp_path / "out")
    log = capsys.readouterr().err
    assert "S1/Directions 55011271: 1 frames skipped: NaN in the poses" in log
    assert "S1/Photo 1 55011271: 1 frames skipped: the silhouettes or the video end" in log
    assert "S11 Directions.54138969: skipped: its video is known to be corrupt" in log
    assert data.counts == {"train": 10, "test": 10, "prior": 12}
    assert data.info.details["skipped_frames"]["NaN in the poses"] == 1
    train = data.split("train")
    kept = train.samples["frame"][rows_of(train, "S1/Directions", "55011271")]
    assert kept.tolist() == [0, 2, 3]


# Going on after a kill; any number of processes.


def test_pool_makes_the_same_bytes_as_one_process(
    h36m: tuple[Path, dict[tuple[str, str], Clip]], h36m_data: Dataset, tmp_path: Path
) -> None:
    data = made("h36m", h36m[0], tmp_path / "out", "data.h36m.workers=2")
    assert data.checksums == h36m_data.checksums
    assert data.info == h36m_data.info


def test_killed_run_goes_on_from_its_finished_clips(
    h36m: tuple[Path, dict[tuple[str, str], Clip]], h36m_data: Dataset, tmp_path: Path
) -> None:
    out, parts = tmp_path / "out", tmp_path / ".out.parts"
    options = [f"data.h36m.root={h36m[0]}", "data.h36m.workers=1", f"data.size={SIZE}"]
    command = [sys.executable, "-m", "skelift", "prepare", "h36m", *options, f"paths.data={out}"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    limit = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < limit:
        if len(list(parts.glob("[!.]*/part.json"))) >= 2:
            break
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not out.exists()
    # Hidden folders are those that the kill left unfinished.
    kept = {path: path.stat().st_mtime_ns for path in parts.glob("[!.]*/columns.npz")}
    assert len(kept) >= 2
    seen: dict[Path, int] = {}

    def remember(part: Any, *_: Any) -> None:
        path = part.folder / "columns.npz"
        seen[path] = path.stat().st_mtime_ns

    from skelift.data.sources import build

    copy = build._copy_part
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "_copy_part", lambda *a: (remember(*a), copy(*a))[1])
        data = made("h36m", h36m[0], out)
    assert kept.items() <= seen.items()  # not made again
    assert data.checksums == h36m_data.checksums
    assert not parts.exists()


# MPI-INF-3DHP.


def test_3dhp_values_are_those_written(
    mpi: tuple[Path, dict[tuple[str, str], Clip]], mpi_data: Dataset
) -> None:
    clips = mpi[1]
    # Of 2 sequences, 2 cameras: frames 0-4; of 2 test sequences, 7 valid frames.
    assert mpi_data.counts == {"train": 20, "test": 14, "prior": 20}
    train, test = mpi_data.split("train"), mpi_data.split("test")
    for (name, camera), clip in clips.items():
        split = test if name.startswith("TS") else train
        rows = rows_of(split, name, camera)
        frames = split.samples["frame"][rows]
        assert split.joints_3d_mm is not None
        np.testing.assert_allclose(
            split.joints_3d_mm[rows], UNIVERSAL * clip.joints_mm[frames], rtol=1e-4
        )
        np.testing.assert_allclose(split.samples["focal"][rows], clip.focal, rtol=1e-6)
        if split is train:
            # Motion JPEG halves the colours' resolution, and the masks are one of three colours.
            assert_same_images(split, rows, clip, overlap=0.75)
            assert_colours(split, rows)
        else:
            assert frames.tolist() == [0, 1, 2, *range(4, 8)]
            source = to_source(split.joints_2d[rows], split.samples["crop"][rows], SIZE)
            np.testing.assert_allclose(source, clip.joints_2d[frames], atol=0.02)
            for row in rows:
                crop = CropBox(*(float(v) for v in split.samples["crop"][row]))
                expected = crop.cut(clip.masks[split.samples["frame"][row]], SIZE) > 127
                found = split.masks[int(row)] > 127
                assert (expected & found).sum() / (expected | found).sum() > 0.7
    assert set(test.samples["activity"]) == {"sit"}
    assert set(test.samples["person"]) == {"TS1", "TS6"}
    assert mpi_data.skeleton.evaluated[:2] == ("head", "thorax")
    assert len(mpi_data.skeleton.evaluated) == 14


def test_3dhp_known_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from skelift.data.sources import mpi_inf_3dhp as loader

    sequences = [("S1", "Seq2", 50.0), ("S4", "Seq2", 25.0), ("S6", "Seq2", 25.0)]
    root = tmp_path / "root"
    clips = write_3dhp(root, sequences=sequences, cameras=(2,), tests=("TS6",))
    for person, sequence in (("S1", "Seq2"), ("S4", "Seq2")):
        for kind in ("FGmasks", "ChairMasks"):
            (root / person / sequence / kind / "video_2.avi").unlink()
            (root / person / sequence / kind).rmdir()
    # S6/Seq2's camera 2 ends early; S4/Seq2's rows 2 to 4 have left and right swapped.
    for kind in ("imageSequence", "FGmasks", "ChairMasks"):
        file = root / "S6" / "Seq2" / kind / "video_2.avi"
        frames = [frame for _, frame in read_frames(file, range(6))]
        file.unlink()
        save_video(file, frames, 25, "MJPG")
    annotations = root / "S4" / "Seq2" / "annot.mat"
    cells = scipy.io.loadmat(annotations)
    partner = list(range(28))
    for left, right in zip(
        [*range(8, 13), *range(18, 23)], [*range(13, 18), *range(23, 28)], strict=True
    ):
        partner[left], partner[right] = right, left
    for name, size in (("annot2", 2), ("annot3", 3), ("univ_annot3", 3)):
        for camera in range(14):
            rows = cells[name][camera, 0].reshape(-1, 28, size)
            rows[2:4] = rows[2:4][:, partner]
            cells[name][camera, 0] = rows.reshape(len(rows), -1)
    scipy.io.savemat(annotations, {k: v for k, v in cells.items() if not k.startswith("__")})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader, "SIDES_SWAPPED", {"S4/Seq2": slice(2, 4)})
        patch.setattr(loader, "MedianBackground", AllBodyTestDouble)
        unmasked = "data.mpi_inf_3dhp.unmasked=median"
        data = made("mpi_inf_3dhp", root, tmp_path / "out", unmasked)
    log = capsys.readouterr().err
    assert "S6/Seq2 2: 4 frames skipped: the video ends before the poses (known)" in log
    train = data.split("train")
    rows = rows_of(train, "S4/Seq2", "2")
    assert train.joints_3d_mm is not None
    expected = UNIVERSAL * clips["S4/Seq2", "2"].joints_mm[:5]
    np.testing.assert_allclose(train.joints_3d_mm[rows], expected, rtol=1e-4)
    assert len(rows_of(train, "S6/Seq2", "2")) == 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader, "SIDES_SWAPPED", {})
        patch.setattr(loader, "MedianBackground", AllBodyTestDouble)
        made("mpi_inf_3dhp", root, tmp_path / "skipped")
    log = capsys.readouterr().err
    assert "S1/Seq2: skipped: the data set has no masks of it" in log
    assert set(Dataset(tmp_path / "skipped").split("train").samples["person"]) == {"S6"}


def rewrite_video(file: Path, change: Callable[[list[NDArray[np.uint8]]], Any]) -> None:
    frames = [frame for _, frame in read_frames(file, range(10))]
    changed = change(frames)
    save_video(file, frames if changed is None else changed, 25, "MJPG")


def test_3dhp_flashes_and_frames_past_the_masks_are_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from skelift.data.sources import mpi_inf_3dhp as loader

    monkeypatch.setattr(loader, "MedianBackground", AllBodyTestDouble)
    root = tmp_path / "root"
    write_3dhp(root, sequences=[("S2", "Seq1", 25.0)], cameras=(0, 4), tests=("TS6",))
    folder = root / "S2" / "Seq1"
    rewrite_video(folder / "imageSequence" / "video_0.avi", lambda frames: frames[1].fill(255))
    rewrite_video(folder / "FGmasks" / "video_4.avi", lambda frames: frames[:3])
    data = made("mpi_inf_3dhp", root, tmp_path / "out")
    log = capsys.readouterr().err
    assert "S2/Seq1 0: 1 frames skipped: a white flash" in log
    assert "S2/Seq1 4: 2 frames skipped: the masks end before the video" in log
    frames = data.split("train").samples[["camera", "frame"]].tolist()
    assert frames == [("0", f) for f in (0, 2, 3, 4)] + [("4", f) for f in range(3)]
    # Image 9 of TS6 has no annotation, and frame 3 is not valid: every third of the valid ones.
    assert "TS6: 1 frames are not valid" in log
    thin = made("mpi_inf_3dhp", root, tmp_path / "thin", "data.mpi_inf_3dhp.test_every=3")
    assert thin.split("test").samples["frame"].tolist() == [0, 4, 7]


def test_3dhp_frames_as_images_and_the_chair(tmp_path: Path) -> None:
    from skelift.data.sources.mpi_inf_3dhp import find_training
    from skelift.data.sources.recordings import Crop, Shot

    clips = write_3dhp(tmp_path, sequences=[("S2", "Seq1", 25.0)], cameras=(0, 4), tests=())
    folder = tmp_path / "S2" / "Seq1"
    for kind in ("imageSequence", "FGmasks", "ChairMasks"):  # as ffmpeg unpacks them
        video = folder / kind / "video_4.avi"
        for i, frame in read_frames(video, range(10)):
            assert cv2.imwrite(str(folder / kind / f"img_4_{i + 1:06d}.jpg"), frame)
        video.unlink()

    def shots(**options: Any) -> dict[str, Shot]:
        found = find_training(
            tmp_path, Mpi3dhpConfig(**options), Crop(SIZE, 0.13), BODY, tmp_path / "cache"
        )
        return {r.camera: next(s for s in r.shots() if isinstance(s, Shot)) for r in found}

    without, with_chair = shots(), shots(chair=True)
    assert set(without) == {"0", "4"}
    for camera, shot in without.items():
        clip, seated = clips["S2/Seq1", camera], with_chair[camera]
        np.testing.assert_allclose(shot.joints_2d, clip.joints_2d[0], atol=1e-9)
        body = clip.masks[0] > 127
        for mask, chair in ((shot.mask, 0), (seated.mask, 1)):
            assert mask is not None
            assert (mask[body] > 0).mean() > 0.9
            assert (mask[-60:-10, 10:60] > 0).mean() == pytest.approx(chair, abs=0.1)


class AllBodyTestDouble:
    """A test double of the background: everything is body."""

    def __init__(self, frames: Any) -> None:
        list(frames)

    def mask(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.full(image.shape[:2], 255, np.uint8)


def spoil_annot(root: Path) -> Path:
    file = root / "S2" / "Seq1" / "annot.mat"
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content[: len(content) // 3])
    return file


def spoil_rate(root: Path) -> Path:
    file = root / "S2" / "Seq1" / "imageSequence" / "video_0.avi"
    file.unlink()
    save_video(file, [np.zeros((512, 512, 3), np.uint8)] * 10, 50, "MJPG")
    return file


def spoil_mask(root: Path) -> Path:
    file = root / "S2" / "Seq1" / "FGmasks" / "video_0.avi"
    file.unlink()
    return file


def spoil_test_poses(root: Path) -> Path:
    file = root / "mpi_inf_3dhp_test_set" / "TS1" / "annot_data.mat"
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content)
    with h5py.File(file, "r+") as content:
        arms = [0, 1, 5, 6, 7, 2, 3, 4, *range(8, 17)]
        content["annot3"][:] = content["annot3"][:][:, :, arms]
    return file


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (spoil_annot, "annot.mat: cannot be read"),
        (spoil_rate, "50 frames per second, the data set has 25"),
        (spoil_mask, "not found"),
        (spoil_test_poses, "do not project onto its 2D poses"),
    ],
)
def test_3dhp_fault_is_named(
    mpi: tuple[Path, dict[tuple[str, str], Clip]],
    tmp_path: Path,
    spoil: Callable[[Path], Path],
    complaint: str,
) -> None:
    root = shared_copy(mpi[0], tmp_path / "root")
    file = spoil(root)
    with pytest.raises(InputError) as raised:
        made("mpi_inf_3dhp", root, tmp_path / "out")
    assert str(file) in str(raised.value)
    assert complaint in str(raised.value)
    assert not (tmp_path / "out").exists()


# HandDB.


def test_handdb_values_are_those_written(tmp_path: Path) -> None:
    clips = write_handdb(tmp_path / "root")
    data = made("handdb", tmp_path / "root", tmp_path / "out")
    # Of 15: 3 for testing; of 12, 6 images and 6 poses, each also turned by 45 and 90 degrees.
    assert data.counts == {"train": 2 * 6 * 3, "test": 2 * 3, "prior": 2 * 6 * 3}
    train, test = data.split("train"), data.split("test")
    assert train.joints_3d_mm is None
    assert set(train.samples["clip"]) == {"synth2", "synth3"}
    for split, frames in ((train, range(6)), (test, range(12, 15))):
        assert set(split.samples["frame"]) == set(frames)
        for row in range(len(split)):
            sample = split.samples[row]
            expected = clips[str(sample["clip"]), ""].joints_2d[sample["frame"]]
            found = to_source(split.joints_2d[row], sample["crop"], SIZE)
            turned = np.angle((found - found[0])[9, 0] - 1j * (found - found[0])[9, 1])
            upright = np.angle((expected - expected[0])[9, 0] - 1j * (expected - expected[0])[9, 1])
            angle = np.degrees(turned - upright) % 360
            assert (
                min(abs(angle - a) for a in ((0, 360) if split is test else (0, 45, 90, 360))) < 0.1
            )
        assert_colours(split, np.arange(len(split)))
    assert {0, 1, 2, 3, 4, 5}.isdisjoint(data.prior.samples["frame"])
    assert set(data.prior.samples["clip"]) == {f"synth2{PRIOR_MARK}", f"synth3{PRIOR_MARK}"}
    row = int(np.flatnonzero(data.prior.samples["frame"] == 7)[0])
    first = to_source(data.prior.poses_2d[row], data.prior.samples["crop"][row], SIZE)
    np.testing.assert_allclose(first, clips["synth2", ""].joints_2d[7], atol=0.01)


def test_handdb_annotation_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_handdb(tmp_path / "root")
    folder = tmp_path / "root" / "hand_labels_synth" / "synth2"
    hand = json.loads((folder / "0001.json").read_text())
    hand["hand_pts"][3][2] = 0
    (folder / "0001.json").write_text(json.dumps(hand))
    data = made("handdb", tmp_path / "root", tmp_path / "out")
    assert (
        "synth2 0000 to 0005: 1 frames skipped: a joint is not annotated" in capsys.readouterr().err
    )
    assert data.counts["train"] == 33
    (folder / "0002.json").write_text("{")
    with pytest.raises(InputError, match=r"0002\.json: cannot be read as hand_pts"):
        made("handdb", tmp_path / "root", tmp_path / "again")


# Table 2's settings.


def test_mixture_of_both(
    h36m_data: Dataset, mpi_data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(takes, "FEWEST", 2)  # images of a film
    options = [
        f"data.mix.train=[{h36m_data.folder},{mpi_data.folder}]",
        f"data.mix.prior={mpi_data.folder}",
        f"data.mix.test={mpi_data.folder}",
        f"data.size={SIZE}",
        f"paths.data={tmp_path / 'both'}",
    ]
    both = Dataset(prepare.run(compose(["experiment=table2_both", *options])))
    both.verify()
    assert both.counts == {"train": 32, "test": 14, "prior": 20}
    ours, first, second = (data.split("train") for data in (both, h36m_data, mpi_data))
    np.testing.assert_array_equal(ours.images[:12], first.images[:])
    np.testing.assert_array_equal(ours.images[np.arange(12, 32)], second.images[:])
    np.testing.assert_array_equal(ours.joints_3d_mm[12:], second.joints_3d_mm)
    for motion_of in (radial_motion_of, steady_motion_of):
        films = [motion_of(first), motion_of(second)]
        assert np.isfinite(np.concatenate(films)).any()
        np.testing.assert_array_equal(motion_of(ours), np.concatenate(films))
    np.testing.assert_array_equal(both.prior.poses_2d, mpi_data.prior.poses_2d)
    assert both.skeleton.evaluated == mpi_data.skeleton.evaluated
    with pytest.raises(InputError, match="make both alike"):
        prepare.run(compose(["experiment=table2_both", *options, "data.margin=0.2"]))


def test_crop_and_back_agree() -> None:
    box = CropBox(100.0, 80.0, 200.0)
    points = np.array([[10.0, 20.0], [190.0, 170.0]])
    np.testing.assert_allclose(
        to_source(to_crop(points, box.as_array(), 96), box.as_array(), 96), points
    )
