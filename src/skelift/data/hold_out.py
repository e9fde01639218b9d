"""Clips kept aside: what is chosen by a validation score never sees the test split."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skelift.data.format import Dataset, Split


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


def spread(split: Split, count: int) -> Split:
    """About ``count`` images of a split, evenly spread."""
    return split.subset(np.arange(0, len(split), max(len(split) // count, 1)))


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

    def split(self, name: str) -> Split:
        """The remaining (``train``) or the held-out (``test``) training images."""
        return super().split("train").subset(self._rows[name])
