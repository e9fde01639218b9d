"""A 3D pose as a plotly figure that turns under the mouse."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from skelift.reporting.draw import bone_colours, window_of_body
from skelift.skeleton import Skeleton

if TYPE_CHECKING:
    from plotly.graph_objects import Figure  # type: ignore[import-untyped]

GRID = "#b4bcc9"  # solid: lines in 3D are not drawn see-through


def pose_figure(joints_mm: ArrayLike, skeleton: Skeleton) -> "Figure":
    """Draw (J, 3) mm of the camera frame (x right, y down, z forward), upright and to scale.

    A floor lies under the lowest joint. The scale is one for all poses, and the viewpoint is kept
    from figure to figure.
    """
    from plotly.graph_objects import Figure, Scatter3d

    points = _upright(joints_mm)
    colours = [f"rgb{colour}" for colour in bone_colours(skeleton)]
    bones = [
        Scatter3d(
            **_xyz(points[list(ends)]),
            mode="lines",
            line={"color": colour, "width": 11},
            hoverinfo="skip",
        )
        for ends, colour in zip(skeleton.bone_indices, colours, strict=True)
    ]
    joints = Scatter3d(
        **_xyz(points),
        mode="markers",
        marker={"color": "#f4f6fa", "size": 3, "line": {"color": "#39404d", "width": 1}},
        text=[name.replace("_", " ") for name in skeleton.joints],
        customdata=np.asarray(joints_mm, dtype=np.float64),
        hovertemplate="<b>%{text}</b><br>x %{customdata[0]:.0f}  y %{customdata[1]:.0f}"
        "  z %{customdata[2]:.0f} mm<extra></extra>",
    )
    reach = window_of_body(skeleton).radius
    floor = Scatter3d(
        **_floor(float(points[:, 2].min()), 0.75 * reach),
        mode="lines",
        line={"color": GRID, "width": 2},
        hoverinfo="skip",
    )
    return Figure([floor, *bones, joints], _layout(reach))


def _upright(joints_mm: ArrayLike) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Camera frame -> plotly's, where the third axis points up."""
    x, y, z = np.moveaxis(np.asarray(joints_mm, dtype=np.float64), -1, 0)
    return np.stack([x, z, -y], axis=-1)


def _xyz(points: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, list[float]]:
    return {axis: points[:, n].tolist() for n, axis in enumerate("xyz")}


def _floor(height: float, reach: float) -> dict[str, list[float | None]]:
    """Lines of a grid at a height, as one broken line: None lifts the pen."""
    lines: dict[str, list[float | None]] = {"x": [], "y": [], "z": []}
    for place in np.linspace(-reach, reach, 9).tolist():
        for along, across in (("x", "y"), ("y", "x")):
            lines[along] += [-reach, reach, None]
            lines[across] += [place, place, None]
            lines["z"] += [height, height, None]
    return lines


def _layout(reach: float) -> dict[str, Any]:
    axis = {"visible": False, "range": [-reach, reach]}
    return {
        "scene": {
            "xaxis": axis,
            "yaxis": axis,
            "zaxis": axis,
            "aspectmode": "cube",
            "camera": {"eye": {"x": 0.45, "y": -1.1, "z": 0.28}, "center": {"z": -0.02}},
            "dragmode": "orbit",
        },
        "uirevision": "pose",  # a new pose is seen from where the last one was
        "paper_bgcolor": "rgba(0, 0, 0, 0)",
        "showlegend": False,
        "height": 440,
        "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
    }
