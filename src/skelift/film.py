"""Steady poses: frames of a film shortly before and after an image say what it shows, too.

A single image may leave open whether a body faces the camera, and its pose is a little off to this
side or that. Both change from frame to frame, where the body hardly does.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

REACH_S = 0.25  # seconds before and after an image that count
FARTHEST = 16  # frames before and after that count at most: they are held in memory
SAME_BODY = 0.25  # overlap (intersection over union) of the crops of one body

T = TypeVar("T")


@dataclass(frozen=True)
class Sight:
    """What one frame shows by itself."""

    time_s: float
    crop: NDArray[np.floating]  # (3,) centre x, centre y and side of the body's square, pixels
    front_log_odds: float  # that the body faces the camera
    front: bool  # whether its pose is one that faces the camera
    joints_2d_px: NDArray[np.floating]  # (J, 2) pixels of the image
    joints_3d_mm: NDArray[np.floating]  # (J, 3) root-relative

    def seen_in(self, near: Iterable["Sight"]) -> list["Sight"]:
        """Those that may show the same body: where a film is cut, the body's square jumps."""
        return [other for other in near if _overlap(self.crop, other.crop) >= SAME_BODY]


def windows(items: Iterable[T], time_of: Callable[[T], float]) -> Iterator[tuple[T, list[T]]]:
    """Each item of a film, and those up to ``REACH_S`` and ``FARTHEST`` before and after, and it.

    Items are read no further ahead than that. One whose time (seconds) is NaN stands alone.
    """
    source, before, ahead = iter(items), deque[T](maxlen=FARTHEST), deque[T]()

    def wanting() -> bool:
        if not ahead:
            return True
        return len(ahead) <= FARTHEST and time_of(ahead[-1]) - time_of(ahead[0]) <= REACH_S

    while True:
        for item in source:
            ahead.append(item)
            if not wanting():
                break
        if not ahead:
            return
        now = ahead.popleft()
        near = [o for o in (*before, *ahead) if abs(time_of(o) - time_of(now)) <= REACH_S]
        yield now, [now, *near]
        before.append(now)


def agreed_front(now: Sight, near: Sequence[Sight]) -> bool:
    """Whether a body faces the camera, by all frames around it."""
    return bool(np.mean([other.front_log_odds for other in now.seen_in(near)]) > 0)


def steady_pose(
    now: Sight, near: Sequence[Sight]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """2D joints (J, 2) and 3D joints (J, 3): the mean over the frames around, the nearer the more.

    Weights fall linearly to 0 at ``REACH_S``. Frames in which the body faces the other way do not
    count: a mean of a front and a back is no pose. A mean of poses is smaller than they are, so it
    gets their size.
    """
    alike = [other for other in now.seen_in(near) if other.front == now.front]
    away = np.abs([other.time_s - now.time_s for other in alike])
    weights = np.maximum(1 - away / REACH_S, 0)
    weights /= weights.sum()
    y, v = (
        np.stack(poses).astype(np.float64)
        for poses in zip(*((o.joints_2d_px, o.joints_3d_mm) for o in alike), strict=True)
    )
    mean = np.einsum("n,njd->jd", weights, v)
    size = weights @ np.linalg.norm(v, axis=(1, 2))
    return np.einsum("n,njd->jd", weights, y), mean * size / np.linalg.norm(mean)


def _overlap(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Intersection over union of two squares (centre x, centre y, side)."""
    low = np.maximum(a[:2] - a[2] / 2, b[:2] - b[2] / 2)
    high = np.minimum(a[:2] + a[2] / 2, b[:2] + b[2] / 2)
    shared = float(np.maximum(high - low, 0).prod())
    return shared / float(a[2] ** 2 + b[2] ** 2 - shared)
