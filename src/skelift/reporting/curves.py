"""Training curves, from the statistics that training writes one JSON line at a time."""

import json
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skelift.errors import InputError
from skelift.files import STATISTICS
from skelift.reporting.style import LINES, PIXELS_PER_INCH, legend, quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]  # steps, values
_COLUMNS = 3


def read_statistics(model: Path) -> dict[str, dict[str, Curve]]:
    """Read ``stats.jsonl`` of a model folder, or of each variant's folder in it.

    Each line is one object: ``step`` and any numbers, such as ``loss/gan`` or ``per_second``.

    Returns:
        Model name -> quantity -> (steps, values).

    Raises:
        InputError: there are none, or a line is not such an object.
    """
    files = [*model.glob(STATISTICS), *sorted(model.glob(f"*/{STATISTICS}"))]
    if not files:
        raise InputError(f"{model / STATISTICS}: not found; run `skelift train` first")
    return {file.parent.name: _read(file) for file in files}


def plot_curves(statistics: Mapping[str, Mapping[str, Curve]]) -> "Figure":
    """One small plot per quantity, one line per model: faint as measured, strong smoothed.

    Quantities that stay positive and span more than a factor of 20 have a logarithmic axis.
    """
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for curves in statistics.values() for name in curves))
    names.sort(key=lambda name: not name.startswith("loss/"))
    rows = ceil(len(names) / _COLUMNS)
    figure = Figure(figsize=(11.0, 0.3 + 2.15 * rows), dpi=PIXELS_PER_INCH, layout="constrained")
    grid = figure.subplots(rows, _COLUMNS, squeeze=False).flat
    for axes, name in zip(grid, names, strict=False):
        curves = [(model, curve[name]) for model, curve in statistics.items() if name in curve]
        _plot(axes, name, curves)
    for axes in list(grid)[len(names) :]:
        axes.set_visible(False)
    if len(statistics) > 1:
        legend(figure, grid[0], columns=4)
    return figure


def _plot(axes: "Axes", name: str, curves: Sequence[tuple[str, Curve]]) -> None:
    for (model, (steps, values)), colour in zip(curves, LINES * len(curves), strict=False):
        axes.plot(steps, values, color=colour, alpha=0.3, linewidth=0.8)
        axes.plot(steps, _smooth(values), color=colour, linewidth=1.6, label=model)
    everything = np.concatenate([values for _, (_, values) in curves])
    if everything.min() > 0 and everything.max() > 20 * everything.min():
        axes.set_yscale("log")
    else:
        axes.ticklabel_format(useOffset=False)
    quiet(axes, name.removeprefix("loss/").replace("_", " "))


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over a window of a twentieth of the curve, shorter at the ends."""
    half = len(values) // 40
    return np.array([values[max(n - half, 0) : n + half + 1].mean() for n in range(len(values))])


def _read(file: Path) -> dict[str, Curve]:
    points: dict[str, list[tuple[float, float]]] = {}
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        try:
            record = json.loads(line)
            step = float(record.pop("step"))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise InputError(
                f"{file}: line {number} is not a JSON object with a step; "
                "recreate it with `skelift train`"
            ) from None
        for name, value in record.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                points.setdefault(name, []).append((step, float(value)))
    if not points:
        raise InputError(f"{file}: holds no statistics; train for more than one interval")
    return {name: (np.array(p)[:, 0], np.array(p)[:, 1]) for name, p in points.items()}
