"""Published frame counts of public data sets, and how many of those frames a data set holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Published:
    """Frames of one part of a public data set.

    Attributes:
        part: the part, as a person calls it.
        clips: patterns of the names of its clips.
        frames: how many frames are published.
        each_camera: whether that is the count of one camera, and not of all together.
    """

    part: str
    clips: tuple[str, ...]
    frames: int
    each_camera: bool = False


def _3dhp(sequence: str, frames: int) -> Published:
    return Published(sequence, (sequence,), frames, each_camera=True)


# MPI-INF-3DHP: the lengths of the training sequences in its readme. HandDB: its folders. Human3.6M
# has no entry, since the literature counts it in more than one way.
PUBLISHED: Mapping[str, tuple[Published, ...]] = {
    "mpi_inf_3dhp": (
        _3dhp("S1/Seq1", 6416),
        _3dhp("S1/Seq2", 12430),
        _3dhp("S2/Seq1", 6502),
        _3dhp("S2/Seq2", 6081),
        _3dhp("S3/Seq1", 12488),
        _3dhp("S3/Seq2", 12283),
        _3dhp("S4/Seq1", 6171),
        _3dhp("S4/Seq2", 6675),
        _3dhp("S5/Seq1", 12820),
        _3dhp("S5/Seq2", 12312),
        _3dhp("S6/Seq1", 6188),
        _3dhp("S6/Seq2", 6145),
        _3dhp("S7/Seq1", 6239),
        _3dhp("S7/Seq2", 6320),
        _3dhp("S8/Seq1", 6468),
        _3dhp("S8/Seq2", 6054),
    ),
    "handdb": (Published("synth2", ("synth2",), 3243), Published("synth3", ("synth3",), 2348)),
}


def count_published(name: str, samples: NDArray[np.void]) -> dict[str, NDArray[np.generic]]:
    """One row a published part: its name, and the share of its frames that is missing.

    A clip of which every n-th frame was taken counts as whole, and so does a frame that is there
    more than once (turned copies, poses without their pictures).

    Args:
        name: name of the data set; one that is not in ``PUBLISHED`` has no rows.
        samples: (N,) SAMPLE records of all its pictures and poses.
    """
    covered = _covered(samples) if name in PUBLISHED else {}
    rows, missing = [], []
    for part in PUBLISHED.get(name, ()):
        own = {
            take: frames
            for take, frames in covered.items()
            if any(fnmatchcase(take[0], pattern) for pattern in part.clips)
        }
        expected = part.frames * (max(1, len(own)) if part.each_camera else 1)
        found = sum(own.values())
        rows.append(f"{part.part}: {found:,} of {expected:,} published frames")
        missing.append(1 - found / expected)
    return {"row": np.array(rows), "frames_missing": np.array(missing)} if rows else {}


def _covered(samples: NDArray[np.void]) -> dict[tuple[str, str], int]:
    """Frames of each (clip, camera); a clip's name ends at ``#``, after which its use is said."""
    takes, owner = np.unique(samples[["clip", "camera"]], return_inverse=True)
    frames: dict[tuple[str, str], list[NDArray[np.int64]]] = {}
    order = np.argsort(owner, kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(owner, minlength=len(takes)))[:-1])
    for (clip, camera), group in zip(takes.tolist(), groups, strict=True):
        kept = np.unique(samples["frame"][group]).astype(np.int64)
        step = int(np.median(np.diff(kept))) if len(kept) > 1 else 1
        passed = (kept[:, None] + np.arange(step)).ravel()
        frames.setdefault((clip.split("#")[0], camera), []).append(passed)
    return {take: len(np.unique(np.concatenate(parts))) for take, parts in frames.items()}
