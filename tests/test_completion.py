"""Gaps of poses are filled with what the other joints make most likely."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny import load_skeleton

from skelift.data.completion import ANYWHERE, PoseGaussian, complete
from skelift.data.crop import to_source
from skelift.data.poses import read_poses
from skelift.errors import InputError

Array = NDArray[np.float64]
BODY = load_skeleton("h36m17")


def gaussian(joints: int, seed: int = 0) -> PoseGaussian:
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(2 * joints, 2 * joints))
    return PoseGaussian(rng.normal(size=2 * joints), mix @ mix.T / joints)


def gapped(count: int, joints: int, most: int, seed: int = 1) -> tuple[Array, Array]:
    """Poses of a body that bends and sways, near and far; and the same with gaps."""
    rng = np.random.default_rng(seed)
    shape, bend, sway = rng.normal(size=(3, joints, 2))
    amount = rng.normal(size=(2, count, 1, 1))
    poses = shape + amount[0] * bend + 0.5 * amount[1] * sway
    poses += 0.02 * rng.normal(size=poses.shape)
    poses = poses * rng.uniform(20, 200, (count, 1, 1)) + rng.uniform(0, 1000, (count, 1, 2))
    with_gaps = poses.copy()
    for row in with_gaps:
        row[rng.choice(joints, rng.integers(most + 1), replace=False)] = np.nan
    return poses, with_gaps


def test_a_gap_is_where_the_density_is_largest_wherever_the_pose_lies() -> None:
    """By least squares over missing coordinates and the place at once, pose by pose."""
    model = gaussian(5)
    _, poses = gapped(40, 5, 2)
    poses /= 100
    filled, _ = model.fill(poses)
    whiten = np.linalg.cholesky(np.linalg.inv(model.covariance)).T
    anywhere = np.tile(np.eye(2), (5, 1))
    for pose, found in zip(poses, filled, strict=True):
        row, gap = pose.ravel(), np.flatnonzero(np.isnan(pose.ravel()))
        unknowns = np.hstack([np.eye(10)[:, gap], -anywhere])
        apart = np.nan_to_num(row) - model.mean
        best = np.linalg.lstsq(whiten @ unknowns, -whiten @ apart, rcond=None)[0]
        np.testing.assert_allclose(found.ravel()[gap], best[: len(gap)], atol=2e-2)
        kept = np.setdiff1d(np.arange(10), gap)
        np.testing.assert_array_equal(found.ravel()[kept], row[kept])


def test_what_stays_unsure_is_the_conditional_covariance() -> None:
    """By the other formula: the inverse of a block of the precision matrix."""
    model = gaussian(4)
    pose = np.random.default_rng(3).normal(size=(1, 4, 2))
    pose[0, [1, 3]] = np.nan
    _, unsure = model.fill(np.repeat(pose, 3, axis=0))
    place = np.tile(np.eye(2), (4, 1))
    precision = np.linalg.inv(model.covariance + ANYWHERE * place @ place.T)
    gap = [2, 3, 6, 7]
    expected = np.zeros((8, 8))
    expected[np.ix_(gap, gap)] = 3 * np.linalg.inv(precision[np.ix_(gap, gap)])
    np.testing.assert_allclose(unsure, expected, rtol=1e-4, atol=1e-4)


def test_hidden_joints_are_found_again() -> None:
    poses, with_gaps = gapped(400, 8, 3)
    filled = complete(with_gaps)
    gaps = np.isnan(with_gaps)
    np.testing.assert_array_equal(filled[~gaps], poses[~gaps])
    size = poses.std(axis=(1, 2))[:, None]
    error = np.linalg.norm(filled - poses, axis=-1) / size
    of_others = np.nanmean(with_gaps, axis=1, keepdims=True)
    guess = np.linalg.norm(of_others - poses, axis=-1) / size
    hidden = gaps[..., 0]
    assert error[hidden].mean() < 0.1 * guess[hidden].mean()


def test_places_and_sizes_of_poses_do_not_matter() -> None:
    _, poses = gapped(60, 6, 2)
    rng = np.random.default_rng(4)
    factor, shift = rng.uniform(0.1, 10, (60, 1, 1)), rng.uniform(-500, 500, (60, 1, 2))
    np.testing.assert_allclose(
        complete(factor * poses + shift), factor * complete(poses) + shift, rtol=1e-6, atol=1e-4
    )


def test_complete_poses_stay() -> None:
    poses, _ = gapped(10, 5, 0)
    np.testing.assert_array_equal(complete(poses), poses)


# From a file.


def save(path: Path, count: int = 60) -> tuple[Path, Array]:
    """Poses in a file, 20 that lack one joint and 5 that lack three; and the whole ones."""
    poses = gapped(count, len(BODY), 0, seed=5)[0] + 1000  # what is negative counts as not seen
    given = poses.copy()
    given[:20, BODY.index("r_wrist")] = np.nan
    given[20:25, :3] = np.nan
    np.savez(path, poses_2d=given)
    return path, poses


def test_poses_that_lack_few_joints_are_completed_and_counted(tmp_path: Path) -> None:
    path, poses = save(tmp_path / "p.npz")
    read = read_poses(path, BODY, 64, 0.1, most_gaps=1)
    assert read.completed == 20
    assert read.report() == (
        "left out 5 of 60 poses: 5 lack more than 1 joints (most often pelvis); "
        "completed 20 of 60 poses"
    )
    found = to_source(read.poses_2d.astype(np.float64), read.samples["crop"].astype(float), 64)
    kept = np.delete(np.arange(60), np.arange(20, 25))
    wrist = np.arange(len(BODY)) == BODY.index("r_wrist")
    np.testing.assert_allclose(found[:, ~wrist], poses[kept][:, ~wrist], atol=0.1)
    size = np.ptp(poses[kept], axis=1).max(axis=-1)
    off = np.linalg.norm(found[:20, wrist] - poses[:20, wrist], axis=-1)[:, 0] / size[:20]
    assert off.mean() < 0.05
    assert read_poses(path, BODY, 64, 0.1, most_gaps=3).report() == "completed 25 of 60 poses"
    assert read_poses(path, BODY, 64, 0.1).completed == 0


def test_too_little_to_complete_from_is_one_line(tmp_path: Path) -> None:
    path, _ = save(tmp_path / "p.npz", count=50)
    with pytest.raises(
        InputError, match=r"p\.npz: 25 of its poses have r_wrist; to complete .* 34 are needed"
    ):
        read_poses(path, BODY, 64, 0.1, most_gaps=1)
    with pytest.raises(InputError, match=r"data\.folder\.complete=9: must be 8 or less, half"):
        read_poses(path, BODY, 64, 0.1, most_gaps=9)
