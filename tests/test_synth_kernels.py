"""The compiled loops of the renderer, against plain NumPy in float64."""

import numpy as np
from numpy.typing import NDArray

from skelift.synth import kernels


def triangles(rng: np.random.Generator, count: int, size: int) -> tuple[NDArray, NDArray]:
    """Random front-facing triangles: (3 * count, 3) x, y, inverse depth, and (count, 3) faces."""
    pixels = np.empty((count, 3, 3))
    pixels[..., :2] = rng.uniform(-0.2 * size, 1.2 * size, (count, 1, 2))
    pixels[..., :2] += rng.normal(0, size / 6, (count, 3, 2))
    pixels[..., 2] = 1 / rng.uniform(3, 6, (count, 3))
    edges = pixels[:, 1:, :2] - pixels[:, :1, :2]
    back = np.linalg.det(edges) > 0
    pixels[back] = pixels[back][:, [0, 2, 1]]
    faces = np.arange(3 * count, dtype=np.uint32).reshape(-1, 3)
    return pixels.reshape(-1, 3).astype(np.float32), faces


def barycentrics(corners: NDArray, height: int, width: int) -> NDArray:
    """(H, W, 3) screen barycentrics of the pixel centres, by solving for them."""
    y, x = np.mgrid[:height, :width] + 0.5
    points = np.stack([x, y, np.ones_like(x)], axis=-1)
    system = np.vstack([corners[:, :2].T, np.ones(3)]).astype(np.float64)
    return points @ np.linalg.inv(system).T


def test_the_nearest_front_face_wins_every_pixel() -> None:
    size, rng = 48, np.random.default_rng(0)
    pixels, faces = triangles(rng, 120, size)
    inverse_depth = np.empty((size, size), np.float32)
    face = np.empty((size, size), np.int32)
    kernels.rasterise(pixels, faces, inverse_depth, face)

    weights = np.stack([barycentrics(pixels[f], size, size) for f in faces])  # (F, H, W, 3)
    near = (weights * pixels[faces][:, None, None, :, 2]).sum(-1)
    candidate = np.where((weights >= 0).all(-1), near, 0)
    expected = np.where(candidate.max(0) > 0, candidate.argmax(0), kernels.NO_FACE)
    # float32 may decide otherwise only on an edge, or where two faces are equally near.
    on_edge = (np.abs(weights).min(-1) < 1e-4).any(0)
    runner_up, best = np.sort(candidate, axis=0)[-2:]
    clear = ~on_edge & ((best - runner_up > 1e-5) | (best == 0))
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(face[clear], expected[clear])
    np.testing.assert_allclose(inverse_depth[clear], best[clear], atol=1e-5)
    assert len(np.unique(expected)) > 40


def test_back_faces_are_skipped() -> None:
    pixels, faces = triangles(np.random.default_rng(1), 30, 32)
    face = np.empty((32, 32), np.int32)
    inverse_depth = np.empty((32, 32), np.float32)
    kernels.rasterise(pixels, np.ascontiguousarray(faces[:, ::-1]), inverse_depth, face)
    assert (face == kernels.NO_FACE).all()


def test_a_shared_edge_leaves_no_gap() -> None:
    # A fan around a corner that lies exactly on pixel centres.
    rim = np.linspace(0, 2 * np.pi, 13)[:-1]
    pixels = np.ones((13, 3), np.float32)
    pixels[0, :2] = 16.5
    pixels[1:, 0], pixels[1:, 1] = 16.5 + 12 * np.cos(rim), 16.5 - 12 * np.sin(rim)
    faces = np.array([[0, 1 + i, 1 + (i + 1) % 12] for i in range(12)], np.uint32)
    face = np.empty((33, 33), np.int32)
    kernels.rasterise(pixels, faces, np.empty((33, 33), np.float32), face)
    y, x = np.mgrid[:33, :33] + 0.5
    inside = np.hypot(x - 16.5, y - 16.5) < 12 * np.cos(np.pi / 12) - 1e-3
    assert (face[inside] != kernels.NO_FACE).all()


def test_skinning_blends_the_parts_transforms() -> None:
    rng = np.random.default_rng(2)
    points = rng.normal(size=(50, 3)).astype(np.float32)
    part = rng.integers(0, 6, (50, 4)).astype(np.uint8)
    weight = np.sort(rng.uniform(size=(50, 4)), axis=1)[:, ::-1].astype(np.float32)
    weight[::3, 2:] = 0
    weight /= weight.sum(1, keepdims=True)
    turn, shift = rng.normal(size=(6, 3, 3)), rng.normal(size=(6, 3))
    out = np.empty_like(points)
    kernels.skin(points, part, weight, turn.astype(np.float32), shift.astype(np.float32), out)
    expected = np.zeros((50, 3))
    for v in range(50):
        for k in range(4):
            p = part[v, k]
            expected[v] += float(weight[v, k]) * (turn[p] @ points[v].astype(float) + shift[p])
    np.testing.assert_allclose(out, expected, atol=1e-5)


def test_vertex_normals_are_area_weighted_means_of_face_normals() -> None:
    rng = np.random.default_rng(3)
    points = rng.normal(size=(20, 3)).astype(np.float32)
    faces = np.stack([rng.choice(20, 3, replace=False) for _ in range(60)]).astype(np.uint32)
    expected = np.zeros((20, 3))
    for a, b, c in faces:
        corner = points[[a, b, c]].astype(float)
        doubled_area = np.cross(corner[1] - corner[0], corner[2] - corner[0])
        expected[[a, b, c]] += doubled_area
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(kernels.vertex_normals(points, faces), expected, atol=1e-5)


def test_projection_gives_pixels_inverse_depth_and_box() -> None:
    rng = np.random.default_rng(4)
    points = (rng.normal(size=(40, 3)) * 0.5 + [0, 0, 5]).astype(np.float32)
    out = np.empty_like(points)
    *box, nearest = kernels.project(points, 1145.0, 500.0, out)
    seen = points[:, :2].astype(float) / points[:, 2:] * 1145 + 500
    np.testing.assert_allclose(out[:, :2], seen, atol=1e-3)
    np.testing.assert_allclose(out[:, 2], 1 / points[:, 2], rtol=1e-6)
    np.testing.assert_allclose(box, [*seen.min(0), *seen.max(0)], atol=1e-3)
    assert nearest == points[:, 2].min()


def test_shading_is_perspective_correct_lambert_on_supersamples() -> None:
    """One slanted triangle, its corners in three colours and with three normals."""
    size, fine = 16, 16 * kernels.SUPERSAMPLING
    pixels = np.array([[2, 30, 0.5], [29, 25, 0.2], [12, 3, 0.25]], np.float32)
    faces = np.array([[0, 1, 2]], np.uint32)
    normals = np.array([[0, 0, -1], [0.6, 0, -0.8], [0, 0.6, -0.8]], np.float32)
    rest = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    palettes = np.random.default_rng(5).uniform(0.1, 0.8, (2, 3, 3)).astype(np.float32)
    stripe = np.array([1.7, 0.4, 0], np.float32)
    light = np.array([0.6, 0, -0.8], np.float32)
    face = np.empty((fine, fine), np.int32)
    kernels.rasterise(pixels, faces, np.empty((fine, fine), np.float32), face)
    image, mask = np.empty((size, size, 3), np.uint8), np.empty((size, size), np.uint8)
    surface = np.arange(3, dtype=np.uint8)
    kernels.shade(
        pixels, faces, face, normals, rest, surface, palettes, stripe, light, 0.4, image, mask
    )

    weights = barycentrics(pixels, fine, fine)
    inside = (weights >= 0).all(-1)
    weights = weights * pixels[:, 2]
    weights /= weights.sum(-1, keepdims=True)
    normal = weights @ normals
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    bright = 0.4 + 0.7 * np.maximum(normal @ light, 0)
    on = np.floor(2 * (weights @ rest) @ stripe).astype(int) % 2
    colour = np.where(on[..., None] == 1, weights @ palettes[1], weights @ palettes[0])
    shaded = np.minimum(colour * bright[..., None], 1) * inside[..., None]
    n = kernels.SUPERSAMPLING
    expected = shaded.reshape(size, n, size, n, 3).mean((1, 3)) * 255
    covered = inside.reshape(size, n, size, n).mean((1, 3)) * 255
    assert np.abs(mask - covered).max() <= 0.5
    assert 0 < (on * inside).sum() < inside.sum()
    # A sample on the very edge of a stripe may fall to either side in float32.
    assert np.quantile(np.abs(image - expected), 0.995) < 0.6
    assert (image[mask == 0] == 0).all()
