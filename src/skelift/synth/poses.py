"""New poses from captured ones: mirrored, put together from two, or a little bent.

A pose is (..., len(PARTS), 3, 3): the rotation of each part from the canonical rest pose.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skelift.synth.parts import PARENT_PART, PARTS, UPPER_BODY
from skelift.synth.rotation import from_vector

_HIPS = PARTS.index("hips")
_UPPER = np.array([PARTS.index(part) for part in UPPER_BODY])
_PARENT = [PARTS.index(parent) if parent else -1 for parent in PARENT_PART.values()]
_SWAP = [PARTS.index({"l_": "r_", "r_": "l_"}.get(p[:2], p[:2]) + p[2:]) for p in PARTS]
# Conjugation with diag(-1, 1, 1), entry by entry.
_REFLECT = np.array([[1, -1, -1], [-1, 1, 1], [-1, 1, 1]])


def mirror(pose: NDArray[np.floating]) -> NDArray[np.floating]:
    """The pose seen in a mirror: left and right swapped."""
    return pose[..., _SWAP, :, :] * _REFLECT.astype(pose.dtype)


def graft(lower: NDArray[np.floating], upper: NDArray[np.floating]) -> NDArray[np.floating]:
    """The upper body of one pose on the hips and legs of another, turned with the hips."""
    grafted = lower.copy()
    onto = lower[..., _HIPS, :, :] @ upper[..., _HIPS, :, :].swapaxes(-1, -2)
    grafted[..., _UPPER, :, :] = onto[..., None, :, :] @ upper[..., _UPPER, :, :]
    return grafted


def bend(pose: NDArray[np.floating], vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn every part but the hips about its joint, and what hangs on it along.

    ``vectors`` (B, P, 3) are rotation vectors in the frame of each part, radians.
    """
    turns = from_vector(vectors)
    bent = np.empty(pose.shape)
    bent[:, _HIPS] = pose[:, _HIPS]
    for part, parent in enumerate(_PARENT):
        if parent >= 0:
            local = pose[:, parent].swapaxes(-1, -2) @ pose[:, part]
            bent[:, part] = bent[:, parent] @ local @ turns[:, part]
    return bent


@dataclass(frozen=True)
class Variation:
    """How B captured poses are varied; the same at every moment of a video."""

    mixed: NDArray[np.bool_]  # (B,) whether the upper body of another pose is grafted on
    mirrored: NDArray[np.bool_]  # (B,) whether left and right are swapped
    wobble: NDArray[np.float64]  # (B, P, 3) rotation vectors by which the parts are bent, radians

    def poses(
        self, captured: NDArray[np.floating], other: NDArray[np.floating]
    ) -> NDArray[np.floating]:
        """(B, P, 3, 3) poses, and others for the upper bodies -> varied ones."""
        varied = captured.copy()
        varied[self.mixed] = graft(captured[self.mixed], other[self.mixed])
        varied[self.mirrored] = mirror(varied[self.mirrored])
        return bend(varied, self.wobble) if self.wobble.any() else varied

    def places(self, hips: NDArray[np.float64]) -> NDArray[np.float64]:
        """(B, 3) places of the hips in the frame of the bodies -> those of the varied."""
        return np.where(self.mirrored[:, None], hips * [-1, 1, 1], hips)
