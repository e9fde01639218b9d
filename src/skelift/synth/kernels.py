"""The compiled inner loops: skinning, projection, z-buffer rasterisation and shading.

Plain loops over vertices, faces and pixels for numba; every array is float32 unless said
otherwise. Lengths are metres in the camera frame (x right, y down, z forward), image
coordinates are continuous pixels (the centre of pixel i lies at i + 0.5).
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

SUPERSAMPLING = 2
NO_FACE = -1

# Python's own numbers would make numba compute in float64.
FULL_LIGHT = 1.1  # brightness of what a single white light meets straight
_ZERO, _HALF, _ONE, _TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
# Radians per metre of the bends of a warped pattern.
_WARP_WAVE = np.float32(31)


@njit(cache=True, fastmath=True)
def skin(
    points: NDArray[np.floating[Any]],  # (V, 3) rest positions
    part: NDArray[np.uint8],  # (V, K) parts that move each vertex, the heaviest first
    weight: NDArray[np.floating[Any]],  # (V, K) their weights, zero behind the last one
    turn: NDArray[np.floating[Any]],  # (P, 3, 3) rotation of each part
    shift: NDArray[np.floating[Any]],  # (P, 3) translation of each part; zero to turn normals
    out: NDArray[np.floating[Any]],  # (V, 3) receives the result
) -> None:
    """Linear blend skinning: out_v = sum_k w_vk (R_k x_v + t_k)."""
    for v in range(points.shape[0]):
        px, py, pz = points[v, 0], points[v, 1], points[v, 2]
        x = y = z = _ZERO
        for k in range(part.shape[1]):
            w = weight[v, k]
            if w == 0:
                break
            p = part[v, k]
            x += w * (turn[p, 0, 0] * px + turn[p, 0, 1] * py + turn[p, 0, 2] * pz + shift[p, 0])
            y += w * (turn[p, 1, 0] * px + turn[p, 1, 1] * py + turn[p, 1, 2] * pz + shift[p, 1])
            z += w * (turn[p, 2, 0] * px + turn[p, 2, 1] * py + turn[p, 2, 2] * pz + shift[p, 2])
        out[v, 0], out[v, 1], out[v, 2] = x, y, z


@njit(cache=True, fastmath=True)
def vertex_normals(
    points: NDArray[np.floating[Any]], faces: NDArray[np.uint32]
) -> NDArray[np.floating[Any]]:
    """(V, 3) unit normals: the area-weighted mean of the normals of each vertex's faces."""
    normals = np.zeros_like(points)
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        x, y, z = points[a, 0], points[a, 1], points[a, 2]
        ux, uy, uz = points[b, 0] - x, points[b, 1] - y, points[b, 2] - z
        vx, vy, vz = points[c, 0] - x, points[c, 1] - y, points[c, 2] - z
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for i in (a, b, c):
            normals[i, 0] += nx
            normals[i, 1] += ny
            normals[i, 2] += nz
    for v in range(points.shape[0]):
        length = np.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2) + 1e-20
        for i in range(3):
            normals[v, i] /= length
    return normals


@njit(cache=True, fastmath=True)
def project(
    points: NDArray[np.float32], focal: float, principal: float, out: NDArray[np.float32]
) -> tuple[np.float32, np.float32, np.float32, np.float32, np.float32]:
    """Perspective projection of (V, 3) points into the source image.

    ``out`` (V, 3) receives x, y in source pixels and the inverse depth 1/z, which is linear over
    the image. Returns the box x_low, y_low, x_high, y_high and the smallest z.
    """
    x_low = y_low = nearest = np.float32(1e30)
    x_high = y_high = np.float32(-1e30)
    f, c = np.float32(focal), np.float32(principal)
    for v in range(points.shape[0]):
        z = points[v, 2]
        inverse = _ONE / z
        x = points[v, 0] * inverse * f + c
        y = points[v, 1] * inverse * f + c
        out[v, 0], out[v, 1], out[v, 2] = x, y, inverse
        x_low, x_high = min(x_low, x), max(x_high, x)
        y_low, y_high = min(y_low, y), max(y_high, y)
        nearest = min(nearest, z)
    return x_low, y_low, x_high, y_high, nearest


@njit(cache=True, fastmath=True)
def rasterise(
    pixels: NDArray[np.float32],  # (V, 3) x, y in pixels and inverse depth
    faces: NDArray[np.uint32],  # (F, 3) vertices, counter-clockwise seen from outside
    inverse_depth: NDArray[np.float32],  # (H, W) receives 1/z, 0 without a face
    face: NDArray[np.int32],  # (H, W) receives the face's index, or NO_FACE
) -> None:
    """Z-buffer: the nearest front face at the centre of every pixel."""
    height, width = face.shape
    inverse_depth[:] = 0
    face[:] = NO_FACE
    # The first pixel centre at or behind each vertex, across and down: a triangle holds centres
    # from the smallest of its three to before the largest, and most hold none.
    first = np.empty((pixels.shape[0], 2), dtype=np.int16)
    for v in range(pixels.shape[0]):
        first[v, 0] = min(max(np.ceil(pixels[v, 0] - _HALF), _ZERO), np.float32(width))
        first[v, 1] = min(max(np.ceil(pixels[v, 1] - _HALF), _ZERO), np.float32(height))
    for t in range(faces.shape[0]):
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        left = min(first[a, 0], first[b, 0], first[c, 0])
        right = max(first[a, 0], first[b, 0], first[c, 0])
        top = min(first[a, 1], first[b, 1], first[c, 1])
        bottom = max(first[a, 1], first[b, 1], first[c, 1])
        if left == right or top == bottom:
            continue
        x0, y0 = pixels[a, 0], pixels[a, 1]
        x1, y1 = pixels[b, 0] - x0, pixels[b, 1] - y0
        x2, y2 = pixels[c, 0] - x0, pixels[c, 1] - y0
        area = x1 * y2 - x2 * y1
        if area >= _ZERO:  # y points down: a front face runs clockwise on the screen
            continue
        scale = _ONE / area
        i0 = pixels[a, 2]
        i1, i2 = pixels[b, 2] - i0, pixels[c, 2] - i0
        for row in range(top, bottom):
            y = np.float32(row) + _HALF - y0
            for column in range(left, right):
                x = np.float32(column) + _HALF - x0
                w1 = (x * y2 - x2 * y) * scale
                w2 = (x1 * y - x * y1) * scale
                near = i0 + w1 * i1 + w2 * i2
                inside = min(w1, w2, _ONE - w1 - w2) >= _ZERO
                if inside and near > inverse_depth[row, column]:
                    inverse_depth[row, column] = near
                    face[row, column] = t


@njit(cache=True, fastmath=True)
def _weights(
    pixels: NDArray[np.float32], corners: tuple[int, int, int], x: np.float32, y: np.float32
) -> tuple[np.float32, np.float32, np.float32]:
    """Perspective-correct weights of a triangle's corners at the pixel position (x, y)."""
    a, b, c = corners
    x0, y0 = pixels[a, 0], pixels[a, 1]
    x1, y1 = pixels[b, 0] - x0, pixels[b, 1] - y0
    x2, y2 = pixels[c, 0] - x0, pixels[c, 1] - y0
    x, y = x - x0, y - y0
    scale = _ONE / (x1 * y2 - x2 * y1)
    # Screen barycentrics times inverse depth.
    w1 = (x * y2 - x2 * y) * scale
    w2 = (x1 * y - x * y1) * scale
    w0 = (_ONE - w1 - w2) * pixels[a, 2]
    w1 *= pixels[b, 2]
    w2 *= pixels[c, 2]
    total = _ONE / (w0 + w1 + w2)
    return w0 * total, w1 * total, w2 * total


@njit(cache=True, fastmath=True)
def _facing(
    normals: NDArray[np.float32],
    corners: tuple[int, int, int],
    weights: tuple[np.float32, np.float32, np.float32],
    light: NDArray[np.float32],
) -> np.float32:
    """Cosine between the interpolated normal and the light."""
    (a, b, c), (w0, w1, w2) = corners, weights
    nx = w0 * normals[a, 0] + w1 * normals[b, 0] + w2 * normals[c, 0]
    ny = w0 * normals[a, 1] + w1 * normals[b, 1] + w2 * normals[c, 1]
    nz = w0 * normals[a, 2] + w1 * normals[b, 2] + w2 * normals[c, 2]
    facing = nx * light[0] + ny * light[1] + nz * light[2]
    return facing / (np.sqrt(nx * nx + ny * ny + nz * nz) + np.float32(1e-12))


@njit(cache=True, fastmath=True)
def shade(
    pixels: NDArray[np.float32],  # (V, 3) as rasterised
    faces: NDArray[np.uint32],  # (F, 3) vertices
    face: NDArray[np.int32],  # (S * SUPERSAMPLING, S * SUPERSAMPLING) as rasterised
    normals: NDArray[np.float32],  # (V, 3) in the camera frame
    rest: NDArray[np.float32],  # (V, 3) rest positions, on which the stripes lie
    surface: NDArray[np.uint8],  # (V,) index into the palettes
    palettes: NDArray[np.float32],  # (2, M, 3) colours in [0, 1], off and on the stripes
    stripe: NDArray[np.float32],  # (3,) wave vector of the stripes, per metre
    light: NDArray[np.float32],  # (3,) unit vector towards the light, camera frame
    ambient: float,  # brightness in full shadow
    image: NDArray[np.uint8],  # (S, S, 3) receives the image, black without a body
    mask: NDArray[np.uint8],  # (S, S) receives the covered fraction, 255 on the body
) -> None:
    """Lambert shading of a rasterised body, averaged over SUPERSAMPLING^2 samples per pixel."""
    size = image.shape[0]
    samples = SUPERSAMPLING * SUPERSAMPLING
    shadow = np.float32(ambient)
    lit = np.float32(FULL_LIGHT) - shadow
    to_byte = np.float32(255 / samples)
    for row in range(size):
        for column in range(size):
            red = green = blue = covered = _ZERO
            for sample in range(samples):
                r = row * SUPERSAMPLING + sample // SUPERSAMPLING
                k = column * SUPERSAMPLING + sample % SUPERSAMPLING
                t = face[r, k]
                if t == NO_FACE:
                    continue
                covered += _ONE
                a, b, c = corners = faces[t, 0], faces[t, 1], faces[t, 2]
                x, y = np.float32(k) + _HALF, np.float32(r) + _HALF
                w0, w1, w2 = weights = _weights(pixels, corners, x, y)
                facing = _facing(normals, corners, weights, light)
                bright = shadow + lit * max(_ZERO, facing)
                phase = _ZERO
                for i in range(3):
                    phase += stripe[i] * (w0 * rest[a, i] + w1 * rest[b, i] + w2 * rest[c, i])
                p = palettes[int(np.floor(_TWO * phase)) & 1]
                sa, sb, sc = surface[a], surface[b], surface[c]
                red += min(_ONE, (w0 * p[sa, 0] + w1 * p[sb, 0] + w2 * p[sc, 0]) * bright)
                green += min(_ONE, (w0 * p[sa, 1] + w1 * p[sb, 1] + w2 * p[sc, 1]) * bright)
                blue += min(_ONE, (w0 * p[sa, 2] + w1 * p[sb, 2] + w2 * p[sc, 2]) * bright)
            image[row, column, 0] = np.uint8(red * to_byte + _HALF)
            image[row, column, 1] = np.uint8(green * to_byte + _HALF)
            image[row, column, 2] = np.uint8(blue * to_byte + _HALF)
            mask[row, column] = np.uint8(covered * to_byte + _HALF)


@njit(cache=True, fastmath=True)
def _on_pattern(
    x: np.float32,
    y: np.float32,
    z: np.float32,
    waves: NDArray[np.float32],
    warp: np.float32,
) -> int:
    """1 where the waves at a rest position cross an odd number of times, else 0.

    One wave makes stripes, two checks, three blocks; the warp bends them to patches.
    """
    if warp != _ZERO:
        x, y, z = (
            x + warp * np.sin(_WARP_WAVE * y),
            y + warp * np.sin(_WARP_WAVE * z),
            z + warp * np.sin(_WARP_WAVE * x),
        )
    crossed = 0
    for w in range(waves.shape[0]):
        phase = _ZERO
        phase += waves[w, 0] * x
        phase += waves[w, 1] * y
        phase += waves[w, 2] * z
        crossed += int(np.floor(_TWO * phase))
    return crossed & 1


@njit(cache=True, fastmath=True)
def shade_varied(
    pixels: NDArray[np.float32],  # (V, 3) as rasterised
    faces: NDArray[np.uint32],  # (F, 3) vertices
    face: NDArray[np.int32],  # (S * SUPERSAMPLING, S * SUPERSAMPLING) as rasterised
    normals: NDArray[np.float32],  # (V, 3) in the camera frame
    rest: NDArray[np.float32],  # (V, 3) rest positions, on which the pattern lies
    surface: NDArray[np.uint8],  # (V,) index into the palettes
    palettes: NDArray[np.float32],  # (2, M, 3) colours in [0, 1], off and on the pattern
    waves: NDArray[np.float32],  # (W, 3) wave vectors of the pattern, per metre; see _on_pattern
    warp: np.float32,  # metres by which the pattern is bent
    lights: NDArray[np.float32],  # (L, 3) unit vectors towards the lights, camera frame
    lit: NDArray[np.float32],  # (L, 3) their colours
    ambient: NDArray[np.float32],  # (3,) colour of the light in full shadow
    image: NDArray[np.uint8],  # (S, S, 3) receives the image, black without a body
    mask: NDArray[np.uint8],  # (S, S) receives the covered fraction, 255 on the body
) -> None:
    """``shade`` with several coloured lights and patterns of several waves.

    A kernel of its own: the other one's images keep every byte, and it is the faster.
    """
    size = image.shape[0]
    samples = SUPERSAMPLING * SUPERSAMPLING
    to_byte = np.float32(255 / samples)
    for row in range(size):
        for column in range(size):
            red = green = blue = covered = _ZERO
            for sample in range(samples):
                r = row * SUPERSAMPLING + sample // SUPERSAMPLING
                k = column * SUPERSAMPLING + sample % SUPERSAMPLING
                t = face[r, k]
                if t == NO_FACE:
                    continue
                covered += _ONE
                a, b, c = corners = faces[t, 0], faces[t, 1], faces[t, 2]
                x, y = np.float32(k) + _HALF, np.float32(r) + _HALF
                w0, w1, w2 = _weights(pixels, corners, x, y)
                nx = w0 * normals[a, 0] + w1 * normals[b, 0] + w2 * normals[c, 0]
                ny = w0 * normals[a, 1] + w1 * normals[b, 1] + w2 * normals[c, 1]
                nz = w0 * normals[a, 2] + w1 * normals[b, 2] + w2 * normals[c, 2]
                shorten = _ONE / (np.sqrt(nx * nx + ny * ny + nz * nz) + np.float32(1e-12))
                bright_r, bright_g, bright_b = ambient[0], ambient[1], ambient[2]
                for i in range(lights.shape[0]):
                    facing = nx * lights[i, 0] + ny * lights[i, 1] + nz * lights[i, 2]
                    facing = max(_ZERO, facing * shorten)
                    bright_r += lit[i, 0] * facing
                    bright_g += lit[i, 1] * facing
                    bright_b += lit[i, 2] * facing
                on = _on_pattern(
                    w0 * rest[a, 0] + w1 * rest[b, 0] + w2 * rest[c, 0],
                    w0 * rest[a, 1] + w1 * rest[b, 1] + w2 * rest[c, 1],
                    w0 * rest[a, 2] + w1 * rest[b, 2] + w2 * rest[c, 2],
                    waves,
                    warp,
                )
                p = palettes[on]
                sa, sb, sc = surface[a], surface[b], surface[c]
                red += min(_ONE, (w0 * p[sa, 0] + w1 * p[sb, 0] + w2 * p[sc, 0]) * bright_r)
                green += min(_ONE, (w0 * p[sa, 1] + w1 * p[sb, 1] + w2 * p[sc, 1]) * bright_g)
                blue += min(_ONE, (w0 * p[sa, 2] + w1 * p[sb, 2] + w2 * p[sc, 2]) * bright_b)
            image[row, column, 0] = np.uint8(red * to_byte + _HALF)
            image[row, column, 1] = np.uint8(green * to_byte + _HALF)
            image[row, column, 2] = np.uint8(blue * to_byte + _HALF)
            mask[row, column] = np.uint8(covered * to_byte + _HALF)
