"""Rotation matrices, for many rows at once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def between(
    start: NDArray[np.floating[Any]], end: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """(3, 3) smallest rotation that turns the direction of ``start`` to that of ``end``.

    Opposite directions have no single smallest rotation (ValueError).
    """
    a, b = start / np.linalg.norm(start), end / np.linalg.norm(end)
    cosine = float(a @ b)
    if cosine < -1 + 1e-9:
        raise ValueError("the directions are opposite")
    x, y, z = np.cross(a, b)
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + skew + skew @ skew / (1 + cosine)


def rotate(rotations: NDArray[np.float64], vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., 3) vectors turned by (..., 3, 3) rotations."""
    return (rotations @ vectors[..., None])[..., 0]


def about(axis: int, angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B, 3, 3) rotations about axis 0 (X), 1 (Y) or 2 (Z) by (B,) radians."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    rotations = np.zeros((len(angle), 3, 3)) + np.eye(3)
    rotations[:, first, first] = rotations[:, second, second] = np.cos(angle)
    rotations[:, second, first] = np.sin(angle)
    rotations[:, first, second] = -np.sin(angle)
    return rotations


def from_vector(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., 3, 3) rotations of (..., 3) rotation vectors, in radians (Rodrigues)."""
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    skew = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1)
    skew = skew.reshape(*vectors.shape, 3)
    sine = np.sinc(angle / np.pi)  # sin(a) / a
    versine = 0.5 * np.sinc(angle / (2 * np.pi)) ** 2  # (1 - cos(a)) / a^2
    return np.eye(3) + sine * skew + versine * (skew @ skew)
