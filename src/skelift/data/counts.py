"""Published frame counts of public data sets, and how many of those frames a data set holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Published:
    """Frames of one part of a public data set."""

    part: str
    clips: tuple[str, ...]  # patterns of their names
    frames: int  # the smallest published count
    each_camera: bool = False  # whether that is the count of one camera, and not of all together
    split: str = "train"  # whether the option ``every`` or ``test_every`` thins it
    most: int = 0  # the largest published count, where there is more than one


def _subjects(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}/*" for name in names)


# Human3.6M, all cameras at 50 frames per second: what MotionBERT's code reads
# (lib/data/datareader_h36m.py, after Ci et al. 2019); of the test also the paper's "~584k" (Sosa &
# Hogg, Section 4). MPI-INF-3DHP: the lengths of the training sequences in its readme; the valid
# test frames in Kanazawa et al. 2018 (HMR). HandDB: its folders.
FRAMES_3DHP = (  # of Seq1 and Seq2 of S1 to S8
    *((6416, 12430), (6502, 6081), (12488, 12283), (6171, 6675)),
    *((12820, 12312), (6188, 6145), (6239, 6320), (6468, 6054)),
)
PUBLISHED: Mapping[str, tuple[Published, ...]] = {
    "h36m": (
        Published("S1, S5, S6, S7, S8", _subjects("S1", "S5", "S6", "S7", "S8"), 1_559_752),
        Published("S9, S11", _subjects("S9", "S11"), 566_920, split="test", most=584_000),
    ),
    "mpi_inf_3dhp": (
        *(
            Published(f"S{person}/Seq{number}", (f"S{person}/Seq{number}",), frames, True)
            for person, both in enumerate(FRAMES_3DHP, start=1)
            for number, frames in enumerate(both, start=1)
        ),
        Published("valid frames of TS1 to TS6", ("TS?",), 2929, split="test"),
    ),
    "handdb": (Published("synth2", ("synth2",), 3243), Published("synth3", ("synth3",), 2348)),
}


def count_published(
    name: str, samples: NDArray[np.void], details: Mapping[str, Any]
) -> dict[str, NDArray[np.generic]]:
    """One row per published part of data set ``name``: how many of its frames are missing.

    ``samples`` (N,) are the SAMPLE records of all its images and poses, ``details`` is what it
    says of its preparation. Of a clip of which every n-th frame was taken, each counts n times;
    repeated frames (turned copies, poses without their images) count once. Other data sets, and
    those in another ``layout`` than the official one, have no rows.
    """
    if name not in PUBLISHED or "layout" in details:
        return {}
    options = details.get("source", {})
    thinned = {"train": options.get("every", 1), "test": options.get("test_every", 1)}
    kept = _frames_kept(samples)
    rows, missing = [], []
    for part in PUBLISHED[name]:
        own = [
            frames
            for (clip, _), frames in kept.items()
            if any(fnmatchcase(clip, pattern) for pattern in part.clips)
        ]
        cameras = max(1, len(own)) if part.each_camera else 1
        least, most = part.frames * cameras, max(part.frames, part.most) * cameras
        found = sum(own) * thinned[part.split]
        expected = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        rows.append(f"{part.part}: {found:,} of {expected} published frames")
        missing.append(1 - found / min(max(found, least), most))
    return {"row": np.array(rows), "frames_missing": np.array(missing)}


def _frames_kept(samples: NDArray[np.void]) -> dict[tuple[str, str], int]:
    """Different frames of each (clip, camera); a clip's name ends at ``#``: then comes its use."""
    takes = samples[["clip", "camera"]]
    starts = np.flatnonzero(takes[1:] != takes[:-1]) + 1  # they lie together
    seen: dict[tuple[str, str], list[NDArray[np.integer]]] = {}
    for (clip, camera), frames in zip(
        takes[[0, *starts]].tolist(), np.split(samples["frame"], starts), strict=True
    ):
        seen.setdefault((clip.split("#")[0], camera), []).append(frames)
    return {take: len(np.unique(np.concatenate(parts))) for take, parts in seen.items()}
