"""Poses of a video's frames, steadied over time (``skelift.film``)."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from skelift.film import Sight, agreed_front, steady_pose, windows
from skelift.inference.cropping import BACK, FRONT, WHOLE_IMAGE
from skelift.inference.frames import Frame

FROM_IMAGE, FROM_FILM = "image", "film"  # what tells which way a body faces

Entry = dict[str, Any]


class Found(NamedTuple):
    """What a frame shows."""

    frame: Frame
    header: Entry  # of the answer, without its predictions; empty as long as there is none
    entry: Entry | None  # the frame's own of ``predictions``; None where no body is visible


def steadied(found: Iterable[Found], ask: Callable[[Frame], Entry]) -> Iterator[Found]:
    """The same, frames of videos steadied.

    Images are left as they are, and what a model finds that does not tell front from back.

    Args:
        found: what each frame shows by itself, in temporal order.
        ask: the entry of a frame, of which it is known by now which way the body faces.
    """
    return _smoothed(_agreed(found, ask))


def _agreed(found: Iterable[Found], ask: Callable[[Frame], Entry]) -> Iterator[Found]:
    """Front or back as the frames around say together; a pose that changes is predicted again."""
    for each, near in windows(found, _time_s):
        if (now := _sight(each)) and each.entry and each.entry["facing"]["from"] == FROM_IMAGE:
            front = agreed_front(now, [sight for other in near if (sight := _sight(other))])
            if front != now.front:
                value = FRONT if front else BACK
                facing = each.entry["facing"] | {"value": value, "from": FROM_FILM}
                each = each._replace(
                    entry=ask(replace(each.frame, facing=value)) | {"facing": facing}
                )
        yield each


def _smoothed(found: Iterable[Found]) -> Iterator[Found]:
    """2D and 3D joints as the mean of the frames around."""
    for each, near in windows(found, _time_s):
        if (now := _sight(each)) and each.entry:
            sights = [sight for other in near if (sight := _sight(other))]
            y, v = (np.round(joints, 2).tolist() for joints in steady_pose(now, sights))
            each = each._replace(entry=each.entry | {"joints_3d_mm": v, "joints_2d_px": y})
        yield each


def _time_s(each: Found) -> float:
    """Seconds since the video's start; NaN: it stands alone."""
    alone = each.entry is not None and each.entry["facing"] is None
    return np.nan if alone or each.frame.time_s is None else each.frame.time_s


def _sight(each: Found) -> Sight | None:
    """A pose of a video's frame; None: nothing to compare, or nothing marks the body."""
    if each.entry is None or each.frame.time_s is None or each.entry["facing"] is None:
        return None
    crop, facing = each.entry["crop"], each.entry["facing"]
    if crop["from"] == WHOLE_IMAGE:
        return None
    return Sight(
        time_s=each.frame.time_s,
        crop=np.array([crop["x"], crop["y"], crop["side"]]),
        front_log_odds=facing["front_log_odds"],
        front=facing["value"] == FRONT,
        joints_2d_px=np.array(each.entry["joints_2d_px"]),
        joints_3d_mm=np.array(each.entry["joints_3d_mm"]),
    )
