"""Clips kept aside: what is chosen by a validation score never sees the test split."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skelift.data.format import Dataset, Shards, Split


def held_out_rows(clips: NDArray[np.str_], share: float, seed: int) -> NDArray[np.bool_]:
    """(N,) True for the rows of a share of the clips (at least one, not all).

    A single clip gives its end, since neighbouring frames are nearly the same image.
    """
    names = np.unique(clips)
    if len(names) == 1:
        return np.asarray(np.arange(len(clips)) >= (1 - share) * len(clips))
    count = min(max(round(share * len(names)), 1), len(names) - 1)
    chosen = np.random.default_rng(seed).choice(names, count, replace=False)
    return np.isin(clips, chosen)


def some(split: Split, rows: NDArray[np.int64]) -> "Part":
    """The given rows of a split, which may itself be a part."""
    return Part(split.folder, split.rows[rows] if isinstance(split, Part) else rows)


def spread(split: Split, count: int) -> "Part":
    """About ``count`` images of a split, evenly spread."""
    return some(split, np.arange(0, len(split), max(len(split) // count, 1)))


class HeldOut(Dataset):
    """A data set whose ``test`` are held-out clips of its training images.

    ``train`` is what remains; the true test split cannot be reached through it. Nothing is copied.

    Args:
        folder: the data set.
        share: share of the training clips that is held out, between 0 and 1.
        seed: which clips.
    """

    def __init__(self, folder: Path | str, share: float, seed: int) -> None:
        super().__init__(folder)
        held = held_out_rows(super().split("train").samples["clip"], share, seed)
        self._rows = {"train": np.flatnonzero(~held), "test": np.flatnonzero(held)}
        # A checkpoint of the whole training split is of another run.
        self.checksums = self.checksums | {"held-out clips": f"{share} of seed {seed}"}

    def split(self, name: str) -> "Part":
        """The remaining (``train``) or the held-out (``test``) training images."""
        return Part(super().split("train").folder, self._rows[name])


class _SomeRows(Shards):
    """Some rows of shards, as if they were all."""

    def __init__(self, paths: Sequence[Path], rows: NDArray[np.int64]) -> None:
        super().__init__(paths)
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: NDArray[np.integer] | slice | int) -> NDArray[np.uint8]:
        if isinstance(rows, int | np.integer):
            one: NDArray[np.uint8] = self[np.array([rows])][0]
            return one
        return super().__getitem__(self._rows[rows])


@dataclass(frozen=True)
class Part(Split):
    """Some rows of a split."""

    rows: NDArray[np.int64]

    @cached_property
    def samples(self) -> NDArray[np.void]:
        """(n,) records of the chosen rows."""
        return Split(self.folder).samples[self.rows]

    def _shards(self, kind: str) -> Shards:
        return _SomeRows(sorted(self.folder.glob(f"{kind}-*.npy")), self.rows)

    def _optional(self, name: str) -> NDArray[np.float32] | None:
        whole = super()._optional(name)
        return None if whole is None else whole[self.rows]
