"""Lifting (Eq. 1), rotation, projection and the units of Lambda, against float64 NumPy."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from tiny import tiny_dataset

from skelift.data.crop import to_crop, to_source
from skelift.data.format import Dataset
from skelift.data.loading import crop_cameras, over_crop
from skelift.errors import InputError
from skelift.geometry import (
    DELTA,
    CropCamera,
    lift,
    normalise,
    pose_scale,
    project,
    random_view,
    root_relative_2d,
    rotate,
    rotation_x,
    rotation_y,
)

RNG = np.random.default_rng(0)
ROOT = 2


def tensor(array: NDArray[np.floating]) -> torch.Tensor:
    return torch.tensor(array, dtype=torch.float32)


def test_lift_is_equation_1() -> None:
    y, d = RNG.normal(0, 0.1, (4, 5, 2)), RNG.normal(0, 1, (4, 5))
    expected = np.empty((4, 5, 3))
    for b in range(4):
        for i in range(5):
            z = 10 if i == ROOT else max(d[b, i] + 10, 1)
            expected[b, i] = y[b, i, 0] * z, y[b, i, 1] * z, z
        expected[b] -= expected[b, ROOT].copy()
    np.testing.assert_allclose(lift(tensor(y), tensor(d), ROOT), expected, rtol=1e-5, atol=1e-5)


def test_lifted_depth_is_at_least_one() -> None:
    y, d = tensor(RNG.normal(0, 0.1, (1, 5, 2))), torch.full((1, 5), -100.0)
    z = lift(y, d, ROOT)[0, :, 2] + DELTA
    assert z.tolist() == [1, 1, DELTA, 1, 1]  # the root stays at DELTA whatever Lambda says


def test_projection_divides_by_depth_and_undoes_the_lift() -> None:
    v = RNG.normal(0, 1, (4, 5, 3))
    np.testing.assert_allclose(project(tensor(v)), v[..., :2] / (v[..., 2:] + 10), rtol=1e-5)
    y = tensor(RNG.normal(0, 0.1, (4, 5, 2)))
    y = y - y[:, ROOT : ROOT + 1]
    d = tensor(RNG.normal(0, 1, (4, 5)))
    torch.testing.assert_close(project(lift(y, d, ROOT)), y, atol=1e-6, rtol=1e-5)


def test_rotations_are_right_handed() -> None:
    angles = RNG.uniform(-np.pi, np.pi, 6)
    for ours, axis in ((rotation_x, "x"), (rotation_y, "y")):
        expected = Rotation.from_euler(axis, angles[:, None]).as_matrix()
        np.testing.assert_allclose(ours(tensor(angles)), expected, atol=1e-6)


def test_random_view_leaves_its_own_elevation_for_a_fresh_one() -> None:
    """R = Rx(-e') Ry(a) Rx(e), e' from N(mu_e, sigma_e) of the batch."""
    elevation, azimuth = RNG.normal(0.2, 0.3, 8), RNG.uniform(-np.pi, np.pi, 8)
    noise = RNG.normal(size=8)
    fresh = elevation.mean() + elevation.std(ddof=1) * noise
    expected = [
        (Rotation.from_euler("x", -f) * Rotation.from_euler("y", a) * Rotation.from_euler("x", e))
        for f, a, e in zip(fresh, azimuth, elevation, strict=True)
    ]
    ours = random_view(tensor(elevation), tensor(azimuth), tensor(noise))
    np.testing.assert_allclose(ours, [r.as_matrix() for r in expected], atol=1e-6)


def test_view_of_equal_elevation_turns_about_the_bodys_own_vertical() -> None:
    """With sigma_e = 0 the two R_e are the same: the vertical, seen from elevation e, stays."""
    elevation = torch.full((5,), 0.3)
    r = random_view(elevation, tensor(RNG.uniform(-np.pi, np.pi, 5)), torch.randn(5))
    vertical = rotation_x(-elevation) @ torch.tensor([0.0, 1.0, 0.0])
    torch.testing.assert_close((r @ vertical[..., None])[..., 0], vertical, atol=1e-6, rtol=0)


def test_elevation_statistics_are_not_detached() -> None:
    """The rotation of sample 0 moves with the elevation of sample 1, as finite differences say."""
    elevation = torch.tensor([0.1, 0.5, -0.2], dtype=torch.float64, requires_grad=True)
    azimuth, noise = torch.tensor([[1.0, 2.0, 3.0], [0.7, -1.0, 0.4]], dtype=torch.float64)
    gradient = torch.autograd.grad(random_view(elevation, azimuth, noise)[0, 1, 2], elevation)[0]

    def entry(e: NDArray[np.float64]) -> float:
        fresh = e.mean() + e.std(ddof=1) * 0.7
        r = Rotation.from_euler("x", -fresh) * Rotation.from_euler("y", 1.0)
        return float((r * Rotation.from_euler("x", e[0])).as_matrix()[1, 2])

    base, h = np.array([0.1, 0.5, -0.2]), 1e-6
    numeric = [(entry(base + h * one) - entry(base - h * one)) / (2 * h) for one in np.eye(3)]
    np.testing.assert_allclose(gradient, numeric, atol=1e-8)
    assert abs(gradient[1]) > 0.01


def test_rotation_keeps_the_root_and_all_lengths() -> None:
    v = RNG.normal(size=(4, 5, 3))
    v -= v[:, ROOT : ROOT + 1]
    angles = RNG.uniform(-np.pi, np.pi, 4)
    turned = rotate(rotation_y(tensor(angles)), tensor(v))
    expected = [
        r.apply(p) for r, p in zip(Rotation.from_euler("y", angles[:, None]), v, strict=True)
    ]
    np.testing.assert_allclose(turned, expected, atol=1e-5)
    np.testing.assert_allclose(turned[:, ROOT], 0)
    np.testing.assert_allclose(turned.norm(dim=-1), np.linalg.norm(v, axis=-1), rtol=1e-5)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return Dataset(tiny_dataset(tmp_path_factory.mktemp("geometry") / "data", train=12))


def test_camera_units_undo_crop_and_focal_length(data: Dataset) -> None:
    """2D joints over the crop become x / z of the true 3D joints, minus the root's."""
    split, root = data.split("train"), data.skeleton.root_index
    y = over_crop(split.joints_2d, data.info.size)
    ours = root_relative_2d(y, crop_cameras(split.samples), root, "camera")
    true = split.joints_3d_mm[..., :2].astype(float) / split.joints_3d_mm[..., 2:]
    np.testing.assert_allclose(ours, true - true[:, root : root + 1], atol=1e-5)


def test_crop_units_keep_the_crop(data: Dataset) -> None:
    split, root = data.split("train"), data.skeleton.root_index
    pixels = split.joints_2d.astype(float)
    ours = root_relative_2d(
        over_crop(pixels, data.info.size), crop_cameras(split.samples), root, "crop"
    )
    np.testing.assert_allclose(ours, (pixels - pixels[:, [root]]) * 2 / data.info.size, atol=1e-5)


def test_another_crop_of_the_same_image_gives_the_same_normalised_pose(data: Dataset) -> None:
    split, size = data.split("train"), data.info.size
    camera = crop_cameras(split.samples)
    crop = camera.crop.numpy().astype(float)
    looser = crop * [1, 1, 1.6] + [25, -40, 0]
    moved = to_crop(to_source(split.joints_2d.astype(float), crop, size), looser, size)
    here, there = (
        root_relative_2d(
            over_crop(pixels, size),
            CropCamera(tensor(box), camera.focal, camera.principal),
            0,
            "camera",
        )
        for pixels, box in ((split.joints_2d, crop), (moved, looser))
    )
    torch.testing.assert_close(here, there, atol=1e-5, rtol=0)


def test_normalised_bodies_are_one_unit_tall_at_depth_delta(data: Dataset) -> None:
    prior, head = data.prior, data.skeleton.head_index
    y = root_relative_2d(
        over_crop(prior.poses_2d, data.info.size), crop_cameras(prior.samples), 0, "camera"
    )
    scale = pose_scale(y, head)
    assert scale == pytest.approx(np.linalg.norm(y.numpy()[:, head], axis=-1).mean(), rel=1e-5)
    flat = lift(normalise(y, scale), torch.zeros(y.shape[:2]), root=0)
    assert flat[:, head].norm(dim=-1).mean() == pytest.approx(1, rel=1e-5)


def test_unknown_camera_is_refused() -> None:
    y = torch.randn(3, 4, 2)
    camera = CropCamera(torch.ones(3, 3), torch.full((3, 2), torch.nan), torch.ones(3, 2))
    with pytest.raises(InputError, match=r"model\.units=crop"):
        pose_scale(root_relative_2d(y, camera, 0, "camera"), head=1)


def test_views_are_taken_by_row(data: Dataset) -> None:
    camera = crop_cameras(data.split("train").samples)
    rows = torch.tensor([5, 0])
    chosen = camera[rows].to(torch.device("cpu"))
    assert torch.equal(chosen.crop, camera.crop[rows])
    assert torch.equal(chosen.focal, camera.focal[rows])
    assert torch.equal(chosen.principal, camera.principal[rows])


def test_a_mirrored_image_has_mirrored_rays(data: Dataset) -> None:
    """The ray through (x, y) of a mirrored crop is that through (-x, y), mirrored."""
    camera = crop_cameras(data.split("train").samples)
    camera = CropCamera(*(t.double() for t in (camera.crop, camera.focal, camera.principal)))
    camera.principal[0] = torch.nan
    y = torch.from_numpy(RNG.uniform(-1, 1, (len(camera.crop), 17, 2)))
    flip = torch.arange(len(y)) % 3 == 0
    sign = torch.ones(len(y), 1, 2, dtype=torch.float64)
    sign[flip, :, 0] = -1
    mirrored = camera.mirrored(flip)
    torch.testing.assert_close(rays(y * sign, mirrored)[1:], (rays(y, camera) * sign)[1:])
    assert torch.equal(mirrored.crop[~flip], camera.crop[~flip])
    assert torch.equal(mirrored.crop[0], camera.crop[0])  # nobody knows about what to mirror
    # From the root on, the principal point cancels: right where it is unknown, too.
    torch.testing.assert_close(
        root_relative_2d(y * sign, mirrored, 0, "camera"),
        root_relative_2d(y, camera, 0, "camera") * sign,
    )


def rays(y: torch.Tensor, camera: CropCamera) -> torch.Tensor:
    """x / z and y / z of crop coordinates (B, J, 2), by way of the source image's pixels."""
    pixels = camera.crop[:, None, :2] + y * camera.crop[:, None, 2:] / 2
    return (pixels - camera.principal[:, None]) / camera.focal[:, None]
