"""Looks that the figures share. They are transparent, with ink that reads on white and black."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PIXELS_PER_INCH = 100
INK = "#76808c"
LINES = ("#3b82f6", "#f97316", "#22a06b", "#d6409f", "#b59a00", "#7c66dc")


def quiet(axes: "Axes", title: str) -> None:
    """Bare axes under a title: no box, thin grid, everything in the shared ink."""
    axes.set_title(title, loc="left", fontsize=9, color=INK)
    axes.set_facecolor("none")
    axes.tick_params(which="both", colors=INK, labelsize=8, length=0)
    axes.grid(color=INK, alpha=0.25, linewidth=0.6)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(INK)


def legend(figure: "Figure", axes: "Axes", columns: int) -> None:
    """One legend below all plots, of the lines of one of them."""
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        labelcolor=INK,
    )
