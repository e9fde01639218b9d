"""The test images that the report shows, with what was predicted and what is true."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skelift.errors import InputError
from skelift.files import atomic_file

SAMPLE = "sample"
WORST = "worst"
MADE_BY = "skelift evaluate"


@dataclass(frozen=True)
class Predictions:
    """Predictions for n test images: the content of ``predictions.npz``."""

    images: NDArray[np.uint8]  # (n, S, S, 3) RGB
    skeleton_images: NDArray[np.floating]  # (n, C, S, S) in [0, 1]
    joints_2d: NDArray[np.floating]  # (n, J, 2) pixels of the crop
    joints_3d_mm: NDArray[np.floating]  # (n, J, 3) root-relative, camera frame
    activity: NDArray[np.str_]  # (n,)
    kind: NDArray[np.str_]  # (n,) ``sample`` (chosen at random) or ``worst`` (largest P-MPJPE)
    # None where unknown:
    joints_2d_true: NDArray[np.floating] | None = None  # (n, J, 2)
    joints_3d_true_mm: NDArray[np.floating] | None = None  # (n, J, 3) root-relative
    p_mpjpe_mm: NDArray[np.floating] | None = None  # (n,)

    def save(self, path: Path) -> None:
        """Write the .npz file atomically; unknown truth is left out."""
        known = {name: array for name, array in self._arrays().items() if array is not None}
        with atomic_file(path) as unfinished, unfinished.open("wb") as stream:
            np.savez_compressed(stream, **known)

    @classmethod
    def load(cls, path: Path) -> "Predictions":
        """Read what ``save`` wrote; InputError names a missing or broken file."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = {f.name: stored[f.name] for f in fields(cls) if f.name in stored}
            predictions = cls(**arrays)
        except FileNotFoundError:
            raise InputError(f"{path}: not found; run `{MADE_BY}` first") from None
        except (ValueError, OSError, EOFError, TypeError, BadZipFile) as error:
            raise InputError(
                f"{path}: cannot be read ({error}); recreate it with `{MADE_BY}`"
            ) from None
        lengths = {name: len(array) for name, array in arrays.items()}
        if len(set(lengths.values())) != 1:
            raise InputError(f"{path}: lengths differ ({lengths}); recreate it with `{MADE_BY}`")
        return predictions

    def of_kind(self, kind: str) -> "Predictions":
        """The ``sample`` or the ``worst`` images alone, worst first."""
        chosen = np.flatnonzero(self.kind == kind)
        if kind == WORST and self.p_mpjpe_mm is not None:
            chosen = chosen[np.argsort(-self.p_mpjpe_mm[chosen], kind="stable")]
        picked: dict[str, Any] = {
            name: None if array is None else array[chosen] for name, array in self._arrays().items()
        }
        return Predictions(**picked)

    def __len__(self) -> int:
        return len(self.images)

    def _arrays(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}


def choose_images(
    clips: ArrayLike,
    p_mpjpe_mm: ArrayLike | None = None,
    *,
    samples: int = 8,
    worst: int = 6,
    seed: int = 0,
) -> tuple[NDArray[np.intp], NDArray[np.str_]]:
    """Choose the test images to show: some at random, and the worst ones.

    Neighbouring frames are alike, so a clip gives at most one image of each kind (more samples
    only when there are fewer clips than asked for).

    Args:
        clips: (N,) clip of each test image.
        p_mpjpe_mm: (N,) score of each; without it no worst images are chosen.
        samples: how many at random.
        worst: how many of the largest P-MPJPE.
        seed: of the random choice.

    Returns:
        (n,) image indices and (n,) kinds, ``sample`` or ``worst``.
    """
    clips = np.asarray(clips)
    shuffled = np.random.default_rng(seed).permutation(len(clips))
    firsts = _first_of_each(clips, shuffled)
    others = shuffled[~np.isin(shuffled, firsts)]
    drawn = np.concatenate([firsts, others])[:samples]
    ranked = np.argsort(-np.asarray(p_mpjpe_mm), kind="stable") if p_mpjpe_mm is not None else None
    worst_rows = _first_of_each(clips, ranked)[:worst] if ranked is not None else drawn[:0]
    kinds = np.array([SAMPLE] * len(drawn) + [WORST] * len(worst_rows), dtype=np.str_)
    return np.concatenate([drawn, worst_rows]), kinds


def _first_of_each(groups: NDArray[Any], order: NDArray[np.intp]) -> NDArray[np.intp]:
    """The rows of ``order`` that show their group for the first time."""
    _, first = np.unique(groups[order], return_index=True)
    return order[np.sort(first)]
