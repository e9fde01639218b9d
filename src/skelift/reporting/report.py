"""The report: one page that needs nothing beside it, and its figures as PNG files."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skelift.errors import InputError
from skelift.files import atomic_file, read_json
from skelift.reporting import curves, grids, page, selection
from skelift.reporting.predictions import MADE_BY, SAMPLE, WORST, Predictions
from skelift.skeleton import Skeleton
from skelift.times import read_costs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRICS = "metrics.json"
PREDICTIONS = "predictions.npz"
REPORT = "report.html"
TIMES = "times.json"  # of the stages before the report, where SKELIFT_TIMES named it


def write_report(
    reports: Path,
    statistics: Mapping[str, Mapping[str, curves.Curve]],
    skeleton: Skeleton,
    configuration: str,
) -> Path:
    """Write ``report.html`` and its figures: ``samples.png``, ``worst.png``, ``curves.png``, ...

    Args:
        reports: folder with ``metrics.json`` and ``predictions.npz``, and ``times.json`` where
            the stages' times were noted; the report goes beside them.
        statistics: training curves of each model (``curves.read_statistics``); may be empty.
        skeleton: the skeleton of the predictions.
        configuration: the run's whole configuration, as text.

    Returns:
        Path of ``report.html``.

    Raises:
        InputError: a file is missing, broken or of another form.
    """
    metrics = read_metrics(reports / METRICS)
    predictions = Predictions.load(reports / PREDICTIONS)
    if predictions.joints_3d_mm.shape[1] != len(skeleton):
        raise InputError(
            f"{reports / PREDICTIONS}: poses of {predictions.joints_3d_mm.shape[1]} joints, but "
            f"skeleton {skeleton.name} has {len(skeleton)}; use the skeleton that made them"
        )
    figures = {"samples": grids.sample_grid(predictions.of_kind(SAMPLE), skeleton)}
    if statistics:
        figures["curves"] = curves.plot_curves(statistics)
    if "rank_correlation" in metrics.get("selection", {}):
        figures["selection"] = selection.plot_selection(metrics["selection"])
    worst = predictions.of_kind(WORST)
    if len(worst) and worst.joints_3d_true_mm is not None:
        figures["worst"] = grids.worst_grid(worst, skeleton)
    images = {name: _png(figure) for name, figure in figures.items()}
    for name, png in images.items():
        with atomic_file(reports / f"{name}.png") as unfinished:
            unfinished.write_bytes(png)
    costs = {name: c for name, c in read_costs(reports / TIMES).items() if name != "report"}
    html = page.render(metrics, images, configuration, costs)
    with atomic_file(reports / REPORT) as unfinished:
        unfinished.write_text(html, encoding="utf-8")
    return reports / REPORT


def read_metrics(path: Path) -> dict[str, Any]:
    """Read ``metrics.json``; InputError when it is missing or has another form.

    Its form: ``{"protocol": {metric: words}, "data": {"name", "synthetic", "test_images", ...},
    "rows": {row: scores}, "model": row of the model that the report is about}``, with scores as
    ``evaluation.scores.score`` gives them.
    """
    metrics = read_json(path, MADE_BY)
    missing = sorted({"protocol", "data", "rows", "model"} - set(metrics))
    missing += sorted({"name", "synthetic", "test_images"} - set(metrics.get("data", {})))
    if missing or metrics["model"] not in metrics["rows"]:
        raise InputError(
            f"{path}: lacks {', '.join(missing) or 'the row of its model'}; "
            f"recreate it with `{MADE_BY}`"
        )
    return dict(metrics)


def _png(figure: "Figure") -> bytes:
    stream = BytesIO()
    # Without the library's version in it the same numbers give the same file.
    figure.savefig(stream, format="png", transparent=True, metadata={"Software": None})
    return stream.getvalue()
