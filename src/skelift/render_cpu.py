"""kappa on the CPU, see ``skelift.render``: numba's kernels, whose import predictions can spare."""

from typing import Any

import numba
import numpy as np

_TINY = 1e-30  # keeps 0 / 0 out without moving any other value
_FAR = 1e30  # finite, unlike infinity: fastmath takes every number to be


@numba.njit(parallel=True, fastmath=True, cache=True)
def draw(
    u: Any, bones: Any, channel: Any, gamma: float, squared: bool, image: Any, nearest: Any
) -> None:
    """Brightness of each pixel, and the number of its nearest limb; both (B, C, S, S)."""
    batch, channels, size, _ = image.shape
    for item in numba.prange(batch * channels):
        b, c = item // channels, item % channels
        best = np.empty(size, dtype=np.float32)
        owner = np.empty(size, dtype=np.int32)
        for row in range(size):
            y = np.float32((2 * row + 1) / size - 1)
            best[:] = np.float32(_FAR)
            owner[:] = 0
            for n in range(len(bones)):
                if channel[n] != c:
                    continue
                ax, ay = u[b, bones[n, 0], 0], u[b, bones[n, 0], 1]
                dx, dy = u[b, bones[n, 1], 0] - ax, u[b, bones[n, 1], 1] - ay
                scale = np.float32(1) / (dx * dx + dy * dy + np.float32(_TINY))
                for column in range(size):
                    x = np.float32(2 * column + 1) / np.float32(size) - np.float32(1)
                    r = ((x - ax) * dx + (y - ay) * dy) * scale
                    r = min(max(r, np.float32(0)), np.float32(1))
                    qx, qy = x - ax - r * dx, y - ay - r * dy
                    d = qx * qx + qy * qy
                    closer = d < best[column]
                    best[column] = d if closer else best[column]
                    owner[column] = n if closer else owner[column]
            for column in range(size):
                d = best[column] if squared else np.sqrt(best[column])
                image[b, c, row, column] = np.exp(-np.float32(gamma) * d)
                nearest[b, c, row, column] = owner[column]


@numba.njit(parallel=True, fastmath=True, cache=True)
def draw_gradient(
    u: Any,
    bones: Any,
    gamma: float,
    squared: bool,
    image: Any,
    nearest: Any,
    upstream: Any,
    moved: Any,
) -> None:
    """Add the gradient of the joints (B, J, 2) to ``moved``."""
    batch, channels, size, _ = image.shape
    # In float64, for the reason given in ``render_device``.
    for b in numba.prange(batch):
        for c in range(channels):
            for row in range(size):
                y = (2 * row + 1) / size - 1
                for column in range(size):
                    slope = -gamma * image[b, c, row, column] * upstream[b, c, row, column]
                    if slope == 0:
                        continue
                    x = (2 * column + 1) / size - 1
                    i, j = bones[nearest[b, c, row, column]]
                    ax, ay = np.float64(u[b, i, 0]), np.float64(u[b, i, 1])
                    dx, dy = u[b, j, 0] - ax, u[b, j, 1] - ay
                    r = ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy + np.float64(_TINY))
                    r = min(max(r, np.float64(0)), np.float64(1))
                    qx, qy = x - ax - r * dx, y - ay - r * dy
                    if squared:
                        slope *= 2.0
                    else:
                        slope /= np.sqrt(qx * qx + qy * qy + np.float64(_TINY))
                    moved[b, i, 0] -= slope * (1 - r) * qx
                    moved[b, i, 1] -= slope * (1 - r) * qy
                    moved[b, j, 0] -= slope * r * qx
                    moved[b, j, 1] -= slope * r * qy
