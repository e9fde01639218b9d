"""The label-free score against the truth, over snapshots of trainings."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from skelift.evaluation.selection import LABEL_FREE, TRUTH
from skelift.reporting.style import INK, LINES, PIXELS_PER_INCH, legend, quiet

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_selection(selection: Mapping[str, Any]) -> "Figure":
    """One small plot per label-free score: one dot per snapshot, one line per training.

    ``selection`` is the entry of ``metrics.json``: ``snapshots`` and their ``rank_correlation``.
    """
    from matplotlib.figure import Figure

    snapshots = selection["snapshots"]
    trainings = list(dict.fromkeys(s["model"] for s in snapshots))
    figure = Figure(figsize=(11.0, 3.6), dpi=PIXELS_PER_INCH, layout="constrained")
    plots = figure.subplots(1, len(LABEL_FREE), sharey=True)
    for axes, score in zip(plots, LABEL_FREE, strict=True):
        for name, colour in zip(trainings, LINES * len(trainings), strict=False):
            own = [s for s in snapshots if s["model"] == name]
            x, y = [s[score] for s in own], [s[TRUTH] for s in own]
            axes.plot(x, y, color=colour, alpha=0.4, linewidth=0.8)
            axes.scatter(x, y, color=colour, s=14, label=name)
        agreement = selection["rank_correlation"][score].get("all", float("nan"))
        title = f"{score.replace('_', ' ')}: rank correlation {agreement:.2f}"
        axes.set_xlabel("per cent", fontsize=8, color=INK)
        quiet(axes, title)
    plots[0].set_ylabel("P-MPJPE, mm", fontsize=8, color=INK)
    legend(figure, plots[0], columns=6)
    return figure
