"""Grids of images: predictions beside the truth, and the worst cases."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from skelift.evaluation.metrics import similarity_align
from skelift.reporting.draw import (
    ABOVE,
    CAMERA,
    PREDICTION,
    RIGHT,
    TRUTH,
    Image,
    ViewAngle,
    Window,
    draw_pose_3d,
    draw_skeleton_image,
    enlarge,
    overlay,
)
from skelift.reporting.predictions import Predictions
from skelift.reporting.style import INK, PIXELS_PER_INCH
from skelift.skeleton import Skeleton

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANEL = 168  # pixels per side
_GAP, _HEAD = 6, 26


def sample_grid(predictions: Predictions, skeleton: Skeleton) -> "Figure":
    """Image | skeleton image | 2D | 3D from two views | truth, one row per image.

    The 3D panels of a row share one scale; nothing is aligned. Without 3D truth the truth's
    columns are left out.
    """
    titles = ["image", "skeleton image", "2D", *(f"3D {view.name}" for view in (CAMERA, RIGHT))]
    if predictions.joints_3d_true_mm is not None:
        titles += [f"truth {view.name}" for view in (CAMERA, RIGHT)]
    rows = [_sample_row(predictions, n, skeleton) for n in range(len(predictions))]
    return panel_grid(rows, titles, _captions(predictions))


def worst_grid(predictions: Predictions, skeleton: Skeleton) -> "Figure":
    """The worst cases as in Fig. 5: the prediction (red) aligned with its truth (green).

    Alignment is P-MPJPE's: a similarity without reflection.
    """
    if predictions.joints_3d_true_mm is None:
        raise ValueError("worst cases need true 3D poses")
    views = (CAMERA, ViewAngle("half right", azimuth=45), RIGHT, ABOVE)
    aligned = similarity_align(predictions.joints_3d_mm, predictions.joints_3d_true_mm)
    rows = []
    for n, truth in enumerate(predictions.joints_3d_true_mm):
        window = Window.around(truth, aligned[n])
        draw = partial(draw_pose_3d, skeleton=skeleton, size=PANEL, window=window)
        rows.append(
            [
                enlarge(predictions.images[n], PANEL),
                overlay(predictions.images[n], predictions.joints_2d[n], skeleton, PANEL),
                *(
                    draw(
                        aligned[n],
                        view=view,
                        colour=PREDICTION,
                        onto=draw(truth, view=view, colour=TRUTH),
                    )
                    for view in views
                ),
            ]
        )
    titles = ["image", "2D", *(f"aligned {view.name}" for view in views)]
    return panel_grid(rows, titles, _captions(predictions))


def panel_grid(
    rows: Sequence[Sequence[Image]], titles: Sequence[str], captions: Sequence[str]
) -> "Figure":
    """Lay out square panels, pixel for pixel, with one title per column and one caption per row."""
    from matplotlib.figure import Figure

    step, line = PANEL + _GAP, PANEL + _HEAD
    width, height = len(titles) * step - _GAP, _HEAD + len(rows) * line
    canvas = np.zeros((height, width, 4), np.uint8)
    for r, row in enumerate(rows):
        for c, panel in enumerate(row):
            top, left = _HEAD + r * line, c * step
            canvas[top : top + PANEL, left : left + PANEL] = np.dstack(
                [panel, np.full(panel.shape[:2], 255, np.uint8)]
            )
    size = (width / PIXELS_PER_INCH, height / PIXELS_PER_INCH)
    figure = Figure(figsize=size, dpi=PIXELS_PER_INCH)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.imshow(canvas, interpolation="none", aspect="auto")
    axes.axis("off")
    for c, title in enumerate(titles):
        axes.text(c * step, _HEAD - 8, title, color=INK, fontsize=9, weight="bold")
    for r, caption in enumerate(captions):
        axes.text(0, _HEAD + r * line + PANEL + 14, caption, color=INK, fontsize=8.5)
    return figure


def _sample_row(predictions: Predictions, n: int, skeleton: Skeleton) -> list[Image]:
    poses = [predictions.joints_3d_mm[n]]
    if predictions.joints_3d_true_mm is not None:
        poses.append(predictions.joints_3d_true_mm[n])
    window = Window.around(*poses)
    return [
        enlarge(predictions.images[n], PANEL),
        enlarge(draw_skeleton_image(predictions.skeleton_images[n], skeleton), PANEL),
        overlay(predictions.images[n], predictions.joints_2d[n], skeleton, PANEL),
        *(
            draw_pose_3d(pose, skeleton, view, size=PANEL, window=window)
            for pose in poses
            for view in (CAMERA, RIGHT)
        ),
    ]


def _captions(predictions: Predictions) -> list[str]:
    if predictions.p_mpjpe_mm is None:
        return [str(activity) for activity in predictions.activity]
    return [
        ", ".join(filter(None, (str(activity), f"P-MPJPE {score:.0f} mm")))
        for activity, score in zip(predictions.activity, predictions.p_mpjpe_mm, strict=True)
    ]
