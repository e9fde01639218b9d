"""Poses drawn as images: plain RGB arrays in, plain RGB arrays out.

The body's left is blue, its right orange, its middle grey; skeletons with channels of their own
(fingers) get one colour per channel.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from skelift.skeleton import Skeleton

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

BACKGROUND: Colour = (18, 21, 27)
SIDES: dict[str, Colour] = {
    "left": (64, 156, 255),
    "right": (255, 140, 46),
    "centre": (196, 200, 208),
}
PALETTE: tuple[Colour, ...] = (
    (255, 140, 46),
    (64, 156, 255),
    (86, 204, 132),
    (232, 106, 170),
    (240, 214, 80),
    (140, 122, 240),
)
PREDICTION: Colour = (240, 84, 84)
TRUTH: Colour = (86, 204, 132)
_SHIFT = 4  # cv2 takes coordinates in 1/16 pixels


@dataclass(frozen=True)
class ViewAngle:
    """Where a 3D pose is looked at from: turned about the vertical, then lifted, in degrees."""

    name: str
    azimuth: float = 0.0
    elevation: float = 0.0

    def turn(self, points: ArrayLike) -> NDArray[np.float64]:
        """Points (..., 3) of the camera frame in this view's frame (x right, y down, z away)."""
        x, y, z = np.moveaxis(np.asarray(points, dtype=np.float64), -1, 0)
        a, e = np.deg2rad([self.azimuth, self.elevation])
        x, z = x * np.cos(a) + z * np.sin(a), z * np.cos(a) - x * np.sin(a)
        y, z = y * np.cos(e) - z * np.sin(e), z * np.cos(e) + y * np.sin(e)
        return np.stack([x, y, z], axis=-1)


CAMERA = ViewAngle("camera view")
RIGHT = ViewAngle("from right", azimuth=90)
ABOVE = ViewAngle("from above", elevation=90)


@dataclass(frozen=True)
class Window:
    """The ball that a drawing shows: it fits the poses whichever way they are turned."""

    centre: NDArray[np.float64]
    radius: float

    @classmethod
    def around(cls, *poses_mm: ArrayLike) -> "Window":
        """The window that shows all of these (J, 3) poses at one scale."""
        points = np.concatenate([np.asarray(pose, dtype=np.float64) for pose in poses_mm])
        points = points[np.isfinite(points).all(1)]  # an unlabelled joint is nowhere
        centre = (points.min(0) + points.max(0)) / 2
        return cls(centre, max(1.08 * float(np.linalg.norm(points - centre, axis=1).max()), 1.0))


def window_of_body(skeleton: Skeleton) -> Window:
    """The window that shows every pose of a typical body, so that a clip keeps one scale."""
    reach = dict.fromkeys(skeleton.joints, 0.0)
    for (parent, child), length in zip(skeleton.bones, skeleton.bone_lengths_mm, strict=True):
        reach[child] = reach[parent] + length
    return Window(np.zeros(3), 1.08 * max(reach.values()))


def bone_colours(skeleton: Skeleton) -> list[Colour]:
    """RGB of each bone, by its channel."""
    colours = channel_colours(skeleton)
    return [colours[channel] for channel in skeleton.bone_channels]


def channel_colours(skeleton: Skeleton) -> list[Colour]:
    """RGB of each channel of ``Skeleton.channel_names``."""
    return [
        SIDES.get(name, PALETTE[number % len(PALETTE)])
        for number, name in enumerate(skeleton.channel_names)
    ]


def draw_pose_2d(image: Image, joints_2d: ArrayLike, skeleton: Skeleton) -> Image:
    """A copy of an image (H, W, 3) with a 2D pose drawn over it.

    ``joints_2d`` (J, 2) are pixels of the image, continuous (a pixel's centre is at + 0.5); joints
    that are not finite are left out.
    """
    canvas = np.ascontiguousarray(image).copy()
    joints = np.asarray(joints_2d, dtype=np.float64)
    colours = bone_colours(skeleton)
    _draw_bones(canvas, joints, skeleton, range(len(colours)), colours)
    return canvas


def draw_pose_3d(
    joints_mm: ArrayLike,
    skeleton: Skeleton,
    view: ViewAngle = CAMERA,
    *,
    size: int = 256,
    window: Window | None = None,
    colour: Colour | None = None,
    onto: Image | None = None,
) -> Image:
    """Draw a 3D pose as seen from afar (orthographic), farther bones behind and darker.

    Args:
        joints_mm: (J, 3) mm in the camera frame.
        skeleton: the pose's skeleton.
        view: where from.
        size: side of the drawing in pixels.
        window: what it shows, so that several drawings share one scale; by default this pose.
        colour: one RGB for all bones; by default the colours of left, right and middle.
        onto: a drawing to add to (same size and window); left as it is.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    canvas = np.full((size, size, 3), BACKGROUND, np.uint8) if onto is None else onto.copy()
    window = window or Window.around(joints_mm)
    seen = view.turn(np.asarray(joints_mm, dtype=np.float64) - window.centre) / window.radius
    # Of the bones, -1 near ... 1 far; those to an unlabelled joint are not drawn.
    depth = np.nan_to_num(seen[skeleton.bone_indices, 2].mean(1))
    colours = [colour] * len(depth) if colour else bone_colours(skeleton)
    shaded = [
        _mix(BACKGROUND, own, float(np.clip(0.8 - 0.35 * z, 0.45, 1.0)))
        for own, z in zip(colours, depth, strict=True)
    ]
    far_to_near = np.argsort(-depth, kind="stable").tolist()
    _draw_bones(canvas, (seen[:, :2] + 1) / 2 * size, skeleton, far_to_near, shaded)
    return canvas


def draw_skeleton_image(maps: ArrayLike, skeleton: Skeleton) -> Image:
    """Show a skeleton image s: (C, S, S) in [0, 1] -> (S, S, 3) uint8 RGB, channels coloured."""
    maps = np.clip(np.asarray(maps, dtype=np.float64), 0.0, 1.0)
    # A single channel is drawn white: it tells no side from another.
    tints = np.array([(255, 255, 255)] if len(maps) == 1 else channel_colours(skeleton))
    return np.einsum("chw,ck->hwk", maps, tints).clip(0, 255).round().astype(np.uint8)


def enlarge(image: Image, height: int) -> Image:
    """The image (H, W, 3) resampled to a height, its aspect kept."""
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    how = cv2.INTER_CUBIC if height >= image.shape[0] else cv2.INTER_AREA
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), dtype=np.uint8)


def overlay(image: Image, joints_2d: ArrayLike, skeleton: Skeleton, height: int) -> Image:
    """``draw_pose_2d`` at another height, so that lines are fine on small images too."""
    joints = np.asarray(joints_2d, dtype=np.float64) * height / image.shape[0]
    return draw_pose_2d(enlarge(image, height), joints, skeleton)


def draw_prediction(
    image: Image,
    joints_2d: ArrayLike,
    joints_mm: ArrayLike,
    skeleton: Skeleton,
    *,
    height: int = 384,
    window: Window | None = None,
) -> Image:
    """One image of one prediction: the 2D pose on the image, the 3D pose from two views.

    Args:
        image: (H, W, 3) uint8 RGB.
        joints_2d: (J, 2) pixels of the image.
        joints_mm: (J, 3) mm in the camera frame.
        skeleton: the pose's skeleton.
        height: of the drawing, in pixels.
        window: what the 3D views show; by default this pose.
    """
    window = window or Window.around(joints_mm)
    views = [
        draw_pose_3d(joints_mm, skeleton, view, size=height, window=window)
        for view in (CAMERA, RIGHT)
    ]
    return np.hstack([overlay(image, joints_2d, skeleton, height), *views])


def _draw_bones(
    canvas: Image,
    joints: NDArray[np.float64],
    skeleton: Skeleton,
    order: Iterable[int],
    colours: list[Colour],
) -> None:
    thickness = max(1, round(min(canvas.shape[:2]) / 64))
    limit = 8 * max(canvas.shape)
    for bone in order:
        ends = joints[skeleton.bone_indices[bone]]
        if not np.isfinite(ends).all():
            continue
        # cv2 counts from pixel centres, the project from edges: hence the half.
        start, end = (
            (int(x), int(y)) for x, y in np.round((np.clip(ends, -limit, limit) - 0.5) * 2**_SHIFT)
        )
        cv2.line(canvas, start, end, colours[bone], thickness, cv2.LINE_AA, _SHIFT)
        radius = round(0.85 * thickness * 2**_SHIFT)
        for point in (start, end):
            cv2.circle(canvas, point, radius, colours[bone], cv2.FILLED, cv2.LINE_AA, _SHIFT)


def _mix(start: Colour, end: Colour, share: float) -> Colour:
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(start, end, strict=True))
    return red, green, blue
