"""The tables of scores, once for the terminal and the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from skelift.times import Cost

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable


@dataclass(frozen=True)
class Column:
    """One metric as a column: key in the scores, heading, unit, better direction."""

    key: str
    heading: str
    unit: str
    better: str = "↓"
    digits: int = 1

    @property
    def measure(self) -> str:
        """Unit with the arrow of the better direction, if there is one."""
        return f"{self.unit} {self.better}".strip()

    def text(self, scores: Mapping[str, float]) -> str:
        """The value as printed; a dash where a model has none."""
        return f"{scores[self.key]:.{self.digits}f}" if self.key in scores else "-"


Labelled = tuple[tuple[str, ...], Mapping[str, float]]  # words in front of scores, the scores

NO_BREAK = "\N{NO-BREAK SPACE}"
IMAGES = Column("images", "Images", "", better="", digits=0)
HEADLINE = Column("p_mpjpe_mm", "P-MPJPE", "mm")
COLUMNS = (
    HEADLINE,
    Column("p_mpjpe_reflected_mm", "P-MPJPE mirrored", "mm"),
    Column("n_mpjpe_mm", "N-MPJPE", "mm"),
    Column("mpjpe_mm", "MPJPE", "mm"),
    Column("pck_150", "PCK 150", "%", "↑"),
    Column("auc", "AUC", "%", "↑"),
    Column("error_2d_px", "2D error", "px"),
    Column("error_2d_swapped_px", "2D swapped", "px"),
    Column("swapped_share", "share swapped", "%"),
    Column("pck_tenth", "PCK height/10", "%", "↑"),
    Column("error_2d_mm", "2D error in the world", "mm"),
    Column("error_2d_percent", "2D of height", "%"),
    Column("error_2d_swapped_percent", "2D swapped of height", "%"),
    Column("heading_error_deg", "Heading error", "°"),
    Column("heading_wrong_share", "Heading wrong", "%"),
)
_IN_THE_WORLD = ("error_2d_mm", "error_2d_percent", "error_2d_swapped_percent", "pck_tenth")
_HEADING = ("heading_error_deg", "heading_wrong_share")
# What fits 80 characters.
PRINTED = tuple(c for c in COLUMNS if c.key not in ("n_mpjpe_mm", *_IN_THE_WORLD, *_HEADING))
# Of a body of known height, a share of which says more than 150 mm: that is all of a mouse.
PRINTED_OF_KNOWN_HEIGHT = tuple(
    c
    for c in COLUMNS
    if c.key not in ("pck_150", "auc", *_IN_THE_WORLD, *_HEADING) or c.key == "pck_tenth"
)
PER_CAMERA = tuple(
    c
    for c in COLUMNS
    if c.key in ("p_mpjpe_mm", "n_mpjpe_mm", "error_2d_px", "swapped_share", *_IN_THE_WORLD)
)
PER_HEADING = tuple(
    c for c in COLUMNS if c.key in ("p_mpjpe_mm", "n_mpjpe_mm", "error_2d_px", *_HEADING)
)
ALIGNED_COLUMNS = tuple(
    Column(f"{metric}_{alignment}_{joints}", f"{heading} {alignment}, {joints}", "%", "↑")
    for metric, heading in (("pck_150", "PCK 150"), ("auc", "AUC"))
    for alignment in ("root", "procrustes")
    for joints in ("evaluated", "all")
)

# Row of metrics.json -> its name in print, what it sees of a test image, what it learns from.
BASELINES = {
    "mean_pose": ("Mean pose", "nothing", "true 3D poses"),
    "test_mean_pose": ("Mean of these poses", "nothing", "the true 3D poses that are scored"),
    "own_lifter": ("Its lifter, true 2D", "true 2D pose where labelled", "as the model"),
    "supervised_lifter": ("Supervised lifter", "true 2D pose", "true 3D poses"),
    "unsupervised_lifter": ("Unsupervised lifter", "true 2D pose", "2D poses"),
    "supervised_image": ("Supervised image net", "image", "images with true 3D poses"),
}
OURS = ("image", "images, unpaired 2D poses")


@dataclass(frozen=True)
class Row:
    """A line of a table; ``ours`` marks the model that the report is about."""

    cells: tuple[str, ...]
    ours: bool = False


@dataclass(frozen=True)
class Table:
    """Headings, units and rows of text; the first ``labels`` columns are words."""

    headings: tuple[str, ...]
    units: tuple[str, ...]
    rows: tuple[Row, ...]
    labels: int


def score_table(metrics: Mapping[str, Any], columns: tuple[Column, ...] = COLUMNS) -> Table:
    """Models by metrics, over all test images."""
    labelled = {name: (row_labels(name), row["overall"]) for name, row in metrics["rows"].items()}
    rows = {**labelled, **_over_seeds(metrics["rows"])}
    return _table(("Model", "Sees", "Learns from"), rows, columns, metrics["model"])


def group_table(
    metrics: Mapping[str, Any], group: str, heading: str, columns: tuple[Column, ...] = COLUMNS
) -> Table:
    """Our model's metrics for each group of images: ``per_activity``, ``per_camera`` ..."""
    groups = metrics["rows"][metrics["model"]].get(group, {})
    labelled = {name: ((name,), scores) for name, scores in groups.items()}
    return _table((heading,), labelled, (IMAGES, *columns))


def interval_table(metrics: Mapping[str, Any]) -> Table:
    """Of every row, the 95 % interval of its scores over moments; empty without intervals."""
    rows = {n: row["interval"] for n, row in metrics["rows"].items() if row.get("interval")}
    keys = {key for scores in rows.values() for key in scores}
    columns = [column for column in COLUMNS if column.key in keys]
    cells = [
        Row(
            (
                row_labels(name)[0],
                *(" to ".join(f"{v:.{c.digits}f}" for v in scores[c.key]) for c in columns),
            ),
            ours=name == metrics["model"],
        )
        for name, scores in rows.items()
    ]
    headings = ("Model, 95 %", *(column.heading for column in columns))
    return Table(headings, ("", *(column.measure for column in columns)), tuple(cells), labels=1)


def activity_table(metrics: Mapping[str, Any]) -> Table:
    """P-MPJPE of every model for each activity."""
    scored = {
        name: row["per_activity"]
        for name, row in metrics["rows"].items()
        if HEADLINE.key in row["overall"]
    }
    activities = sorted({activity for scores in scored.values() for activity in scores})
    rows = [
        Row((activity, *(HEADLINE.text(scores.get(activity, {})) for scores in scored.values())))
        for activity in activities
    ]
    headings = ("Activity", *(row_labels(name)[0] for name in scored))
    return Table(headings, ("", *(HEADLINE.measure for _ in scored)), tuple(rows), labels=1)


def time_table(costs: Mapping[str, Cost]) -> Table:
    """Seconds of each stage, and of all, as each last ran."""
    rows = [Row((stage, *_seconds(cost))) for stage, cost in costs.items()]
    whole = Cost(
        sum(cost.seconds for cost in costs.values()),
        sum(cost.cpu_seconds for cost in costs.values()),
    )
    rows.append(Row(("all", *_seconds(whole))))
    return Table(("Stage", "Time", "CPU time"), ("", "s", "s"), tuple(rows), labels=1)


def _seconds(cost: Cost) -> tuple[str, str]:
    return f"{cost.seconds:.0f}", f"{cost.cpu_seconds:.0f}"


def _over_seeds(rows: Mapping[str, Any]) -> dict[str, Labelled]:
    """Mean and spread of rows that differ in their seed alone: NAME_0, NAME_1, ..."""
    seeds: dict[str, list[Mapping[str, float]]] = {}
    for row, scores in rows.items():
        name, _, seed = row.rpartition("_")
        if name and seed.isdecimal():
            seeds.setdefault(name, []).append(scores["overall"])
    lines: dict[str, Labelled] = {}
    for name, scores in seeds.items():
        if len(scores) > 1:
            columns = {key: [each[key] for each in scores] for key in scores[0]}
            for what, of in (("mean", mean), ("std", stdev)):
                words = f"{name}, {what} of {len(scores)} seeds"
                lines[words] = ((words, *OURS), {key: of(each) for key, each in columns.items()})
    return lines


def row_labels(row: str) -> tuple[str, str, str]:
    """A row's name in print, what it sees of a test image and what it learns from."""
    return BASELINES.get(row, (row, *OURS))


def print_scores(metrics: Mapping[str, Any], console: "Console | None" = None) -> None:
    """Print the score table of ``metrics.json`` to the terminal."""
    from rich.console import Console

    console = console or Console()
    height_known = any("pck_tenth" in row["overall"] for row in metrics["rows"].values())
    table = score_table(metrics, PRINTED_OF_KNOWN_HEIGHT if height_known else PRINTED)
    if table.labels == len(table.headings):
        console.print(f"{describe_data(metrics['data'])}: no true poses, so no scores")
        return
    # What a model sees and learns from would not fit beside its scores.
    shown = [0, *range(table.labels, len(table.headings))]
    console.print(_printed(table, shown, describe_data(metrics["data"])))
    for group, heading, columns in (
        ("per_camera", "Camera", PER_CAMERA),
        ("per_heading", "Heading", PER_HEADING),
    ):
        by = group_table(metrics, group, heading, columns)
        if by.rows:
            title = f"{metrics['model']}, by {heading.lower()}"
            console.print(_printed(by, range(len(by.headings)), title))
    for row, scores in metrics["rows"].items():
        if "heading_error_deg" in scores["overall"]:
            off, wrong = (scores["overall"][key] for key in _HEADING)
            console.print(
                f"{row_labels(row)[0]}: heading {off:.0f}° off in the median, by more than 90° in "
                f"{wrong:.0f} % of the images"
            )
    for row, scores in metrics["rows"].items():
        if HEADLINE.key in scores.get("interval", {}):
            low, high = scores["interval"][HEADLINE.key]
            console.print(
                f"{row_labels(row)[0]}: P-MPJPE {HEADLINE.text(scores['overall'])} mm, "
                f"95 % interval {low:.1f} to {high:.1f} over moments"
            )


def print_times(costs: Mapping[str, Cost], console: "Console | None" = None) -> None:
    """Print what each stage has cost, if that is known."""
    from rich.console import Console

    if costs:
        table = time_table(costs)
        title = "Time of each stage"
        (console or Console()).print(_printed(table, range(len(table.headings)), title))


def _printed(table: Table, shown: Sequence[int], title: str) -> "RichTable":
    """The columns ``shown`` of a table, for the terminal."""
    from rich import box
    from rich.table import Table as RichTable

    printed = RichTable(
        box=box.SIMPLE_HEAD,
        title=title,
        title_justify="left",
        padding=0,
        pad_edge=False,
    )
    for number in shown:
        heading = f"{table.headings[number]}\n{table.units[number].replace(' ', NO_BREAK)}"
        cells = [row.cells[number] for row in table.rows]
        width = max(len(word) for text in (heading, *cells) for word in text.split())
        if number:
            printed.add_column(heading, justify="right", width=width, vertical="bottom")
        else:
            printed.add_column(heading, no_wrap=True)
    for row in table.rows:
        printed.add_row(*(row.cells[n] for n in shown), style="bold" if row.ours else "")
    return printed


def describe_data(data: Mapping[str, Any]) -> str:
    """What was scored, in a line: data set, number and kind of test images."""
    kind = "rendered (synthetic)" if data["synthetic"] else "real"
    rate = data.get("film_fps")
    film = f", steadied over time ({rate:g} frames per second)" if rate else ""
    return f"{data['name']}: {data['test_images']} {kind} test images{film}"


def _table(
    labels: tuple[str, ...],
    labelled: Mapping[str, Labelled],
    columns: tuple[Column, ...],
    ours: str = "",
) -> Table:
    """A table of scores, its columns those that at least one row has a value for."""
    keys = {key for _, scores in labelled.values() for key in scores}
    shown = [column for column in columns if column.key in keys]
    rows = [
        Row((*words, *(column.text(scores) for column in shown)), ours=name == ours)
        for name, (words, scores) in labelled.items()
    ]
    return Table(
        headings=(*labels, *(column.heading for column in shown)),
        units=(*("" for _ in labels), *(column.measure for column in shown)),
        rows=tuple(rows),
        labels=len(labels),
    )
