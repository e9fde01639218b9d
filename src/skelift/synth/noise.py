"""Random numbers that depend on the seed and the row alone, drawn for many rows at once."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_COLUMNS = 200


class RowNoise:
    """Independent random columns for a block of rows.

    Every row has its own generator, seeded by (seed, stream, row), so a row's numbers depend
    neither on the block it falls into nor on the process that makes it. Each call takes the next
    columns, for all rows at once. ``stream`` is the number of the split; a ``branch`` (1 or more)
    has numbers of its own, so that what it decides changes nothing else of a row.
    """

    def __init__(self, seed: int, stream: int, rows: Sequence[int], *branch: int) -> None:
        self._uniform = np.stack(
            [np.random.default_rng((seed, stream, row, *branch)).random(_COLUMNS) for row in rows]
        )
        self._used = 0

    def __len__(self) -> int:
        return len(self._uniform)

    def uniform(
        self, low: float = 0.0, high: float = 1.0, shape: tuple[int, ...] = ()
    ) -> NDArray[np.float64]:
        """(B, *shape) uniform in [low, high)."""
        count = int(np.prod(shape))
        columns = self._uniform[:, self._used : self._used + count]
        if columns.shape[1] < count:
            raise ValueError(f"a row has {_COLUMNS} random numbers; raise _COLUMNS")
        self._used += count
        return low + (high - low) * columns.reshape(len(self), *shape)

    def normal(
        self, mean: float = 0.0, std: float = 1.0, shape: tuple[int, ...] = ()
    ) -> NDArray[np.float64]:
        """(B, *shape) Gaussian."""
        from scipy.special import ndtri

        standard: NDArray[np.float64] = ndtri(self.uniform(shape=shape))
        return mean + std * standard

    def integer(self, count: int, shape: tuple[int, ...] = ()) -> NDArray[np.int64]:
        """(B, *shape) uniform in 0 ... count - 1."""
        return (self.uniform(shape=shape) * count).astype(np.int64)

    def index(self, shares: NDArray[np.float64], shape: tuple[int, ...] = ()) -> NDArray[np.int64]:
        """(B, *shape) in 0 ... len(shares) - 1, each as often as its share of their sum."""
        steps = shares.cumsum() / shares.sum()
        steps[-1] = 1
        return np.searchsorted(steps, self.uniform(shape=shape), side="right")

    def chance(self, probability: float) -> NDArray[np.bool_]:
        """(B,) True with the given probability."""
        return self.uniform() < probability
