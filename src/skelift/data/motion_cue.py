"""Where a body goes, where its image is a frame of a video.

Bodies mostly move forwards, so one that comes nearer mostly faces the camera, and the front of one
that lies is mostly where it goes to. This is known of no single image and needs no label: it is
read off the boxes around the body shortly before and after. The camera must stand still.
"""

import numpy as np
from numpy.typing import NDArray

from skelift.data.format import Split
from skelift.data.takes import films
from skelift.errors import InputError

REACH = 3  # images before and after an image that it is compared over
MIN_RADIAL_MOTION = 0.02  # of this and more a sign is worth learning from
SECONDS = 1 / 3  # the same for what is rendered
STEADY_TIMES = 3  # as far before and after, for motion that is steady
MIN_STEADY_MOTION = 0.15  # of this and more nearly every sign is right
LEAST_HALF = 0.25  # of the whole motion that either half must show


def radial_motion(
    earlier: NDArray[np.floating], later: NDArray[np.floating]
) -> NDArray[np.floating]:
    """How much nearer a body has come: above 0 nearer, below 0 further off.

    A body that approaches grows in the image and, where the camera looks down, its feet sink in it.
    A raised arm grows and a jump rises, too, so both must say the same, and the lesser counts.

    Args:
        earlier: (..., 3) crop boxes (centre x, centre y, side) in pixels of the source.
        later: the same a little later.

    Returns:
        (...,) the growth log(side' / side), or the way down of the box's lower edge in sides.
    """
    growth = np.log(later[..., 2] / earlier[..., 2])
    lower, lower_before = (crop[..., 1] + crop[..., 2] / 2 for crop in (later, earlier))
    sinking = (lower - lower_before) / np.sqrt(earlier[..., 2] * later[..., 2])
    lesser = np.minimum(np.abs(growth), np.abs(sinking))
    nearer: NDArray[np.floating] = np.where(growth * sinking > 0, lesser * np.sign(growth), 0.0)
    return nearer


def steady_motion(
    earlier: NDArray[np.floating], now: NDArray[np.floating], later: NDArray[np.floating]
) -> NDArray[np.floating]:
    """``radial_motion`` from ``earlier`` to ``later``, 0 unless both halves show it, too.

    Who turns round, bends down or stretches an arm changes the box for a moment; who walks
    changes it all the time. Crop boxes as for ``radial_motion``; NaN where one of them is.
    """
    whole = radial_motion(earlier, later)
    halves = np.stack([radial_motion(earlier, now), radial_motion(now, later)])
    steady = (halves * np.sign(whole) >= LEAST_HALF * np.abs(whole)).all(0)
    unknown = np.isnan(earlier[..., 2] + now[..., 2] + later[..., 2])
    found: NDArray[np.floating] = np.where(unknown, np.nan, np.where(steady, whole, 0.0))
    return found


def steady_motion_of(split: Split) -> NDArray[np.float32]:
    """(N,) ``steady_motion`` of each image of a split, NaN where no film is known around it.

    It is the split's own ``steady_motion.npy`` (rendered images) or, without one, that of the
    images of the same person, clip and camera up to ``STEADY_TIMES`` x ``REACH`` before and after.

    Raises:
        InputError: an older version rendered the images: no two of them are of one film.
    """
    if split.steady_motion is not None:
        return np.array(split.steady_motion)
    if split.radial_motion is not None:
        raise InputError(
            f"{split.folder}: radial_motion.npy without steady_motion.npy, so an older version "
            "made it; recreate the data set with `skelift prepare`"
        )
    earlier, later, known = _around(split.samples, STEADY_TIMES * REACH)
    now = split.samples["crop"].astype(np.float64)
    return np.where(known, steady_motion(earlier, now, later), np.nan).astype(np.float32)


def radial_motion_of(split: Split) -> NDArray[np.float32]:
    """(N,) radial motion of each image of a split, NaN where no film is known around it.

    It is the split's own ``radial_motion.npy`` (rendered images) or, without one, that of the
    images of the same person, clip and camera up to ``REACH`` before and after.
    """
    if split.radial_motion is not None:
        return np.array(split.radial_motion)
    earlier, later, known = _around(split.samples)
    return np.where(known, radial_motion(earlier, later), np.nan).astype(np.float32)


def heading_motion(
    earlier: NDArray[np.floating], later: NDArray[np.floating]
) -> NDArray[np.floating]:
    """How a body has moved in the image, in its own size.

    Args:
        earlier: (..., 3) crop boxes (centre x, centre y, side) in pixels of the source.
        later: the same a little later.

    Returns:
        (..., 3) the centre's way right and down in sides of the box, and the box's growth
        log(side' / side).
    """
    side = np.sqrt(earlier[..., 2:] * later[..., 2:])
    way = (later[..., :2] - earlier[..., :2]) / side
    return np.concatenate([way, np.log(later[..., 2:] / earlier[..., 2:])], -1)


def heading_motion_of(split: Split) -> NDArray[np.float32]:
    """(N, 3) ``heading_motion`` of each image of a split, NaN where no film is known around it.

    It is that of the images of the same person, clip and camera up to ``REACH`` before and after.
    """
    earlier, later, known = _around(split.samples)
    return np.where(known[:, None], heading_motion(earlier, later), np.nan).astype(np.float32)


def _around(
    samples: NDArray[np.void], reach: int = REACH
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Crop boxes (N, 3) up to ``reach`` images before and after each of N images.

    The last array (N,) says where there are two images of a film (``films``), not photos that
    share a folder, whose boxes are known. Where there is one, both boxes are its own.
    """
    names = [samples[field] for field in ("person", "clip", "camera")]
    order, place = np.lexsort((samples["frame"], *names)), np.arange(len(samples))
    parted = np.any([name[order][1:] != name[order][:-1] for name in names], axis=0)
    film = np.r_[0, parted.cumsum()]
    first, last = np.searchsorted(film, film), np.searchsorted(film, film, "right") - 1
    before, after = np.maximum(place - reach, first), np.minimum(place + reach, last)
    back = np.argsort(order)
    crops = samples["crop"][order].astype(np.float64)
    earlier, later = crops[before][back], crops[after][back]
    known = np.asarray(last > first)[back] & films(samples) & np.isfinite(earlier + later).all(1)
    return earlier, later, known
