"""Who and what goes where: persons and clips are split between train, test and prior."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from skelift.errors import InputError
from skelift.synth.motion import Motion

TRAIN, TEST, PRIOR = "train", "test", "prior"
STREAMS = {TRAIN: 0, TEST: 1, PRIOR: 2, "split": 3}
# Decisions with random numbers of their own; see RowNoise.
BRANCHES = {"looks": 1, "light": 2, "poses": 3}


def split_persons(count: int, test_fraction: float, seed: int) -> dict[str, NDArray[np.int64]]:
    """Persons of each split. The prior is posed with the training persons.

    Raises:
        InputError: fewer than two persons.
    """
    if count < 2:
        raise InputError("data.synth.bodies: one body only; train and test need one person each")
    order = np.random.default_rng((seed, STREAMS["split"], 0)).permutation(count)
    tested = min(max(round(count * test_fraction), 1), count - 1)
    train = np.sort(order[tested:])
    return {TRAIN: train, TEST: np.sort(order[:tested]), PRIOR: train}


def split_clips(
    motion: Motion, fractions: Sequence[float], seed: int
) -> dict[str, NDArray[np.int64]]:
    """Clips of each split, about the given fractions (train, test, prior) of all frames.

    Clips are distributed activity by activity, each to the split that is furthest behind its share,
    so that every split gets a mixture; the last ones go to splits that have none.

    Raises:
        InputError: fewer than three clips.
    """
    if len(motion.clips) < 3:
        raise InputError(
            f"data.synth.motion: {len(motion.clips)} clips; train, test and prior need one each"
        )
    share = np.array(fractions) / np.sum(fractions)
    shuffled = np.random.default_rng((seed, STREAMS["split"], 1)).permutation(len(motion.clips))
    order = sorted(shuffled, key=lambda clip: motion.activities[clip])
    given: tuple[list[int], ...] = ([], [], [])
    frames = np.zeros(3)
    for left, clip in zip(range(len(order), 0, -1), order, strict=True):
        behind = share * (frames.sum() + motion.lengths[clip]) - frames
        if left <= given.count([]):
            behind[[bool(clips) for clips in given]] = -np.inf
        chosen = int(behind.argmax())
        given[chosen].append(int(clip))
        frames[chosen] += motion.lengths[clip]
    return {name: np.sort(clips) for name, clips in zip((TRAIN, TEST, PRIOR), given, strict=True)}
