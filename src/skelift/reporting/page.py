"""The report's HTML: text and PNGs in one file that loads nothing."""

from base64 import b64encode
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from skelift.reporting import tables
from skelift.reporting.tables import Table
from skelift.times import Cost

CAPTIONS = {
    "samples": (
        "Predictions",
        "Test images chosen at random. Colours tell left (blue) from right "
        "(orange), or the fingers of a hand from one another. 3D poses are root-relative, as "
        "predicted: not aligned with the truth, and all of a row at one scale. “From right” looks "
        "along the image from its right edge.",
    ),
    "worst": (
        "Worst cases",
        "The largest P-MPJPE of the test set, as in the paper's Fig. 5. Red is the prediction, "
        "aligned by a similarity without reflection; green is the truth.",
    ),
    "selection": (
        "Model selection without labels",
        "Checkpoints of several runs: the label-free score against P-MPJPE. A score that ranks "
        "them alike (rank correlation 1) can choose a model where no labels exist.",
    ),
    "curves": (
        "Training",
        "Each quantity over the training steps: faint as logged, strong as a running mean.",
    ),
}

GROUPS = (
    ("per_activity", "Activity"),
    ("per_facing", "Side seen"),
    ("per_heading", "Heading"),
    ("per_camera", "Camera"),
)

CARDS = {
    "p_mpjpe_mm": "P-MPJPE",
    "pck_150": "PCK 150",
    "auc": "AUC",
    "error_2d_px": "2D error",
    "error_2d_swapped_px": "2D error, swapped",
}


def render(
    metrics: Mapping[str, Any],
    images: Mapping[str, bytes],
    configuration: str,
    costs: Mapping[str, Cost],
) -> str:
    """The page's HTML.

    Args:
        metrics: content of ``metrics.json``.
        images: PNG files by name (keys of ``CAPTIONS``).
        configuration: the run's whole configuration, as text.
        costs: what the stages before the report have cost; may be empty.
    """
    template = Template((files("skelift.reporting") / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(" on ".join(dict.fromkeys((metrics["model"], metrics["data"]["name"])))),
        subtitle=escape(tables.describe_data(metrics["data"])),
        notice=_notice(metrics),
        cards=_cards(metrics),
        scores=_scores(metrics),
        **{name: _figure(name, images) for name in CAPTIONS},
        groups=_groups(metrics),
        times=_times(costs),
        protocol=_protocol(metrics),
        configuration=escape(configuration),
    )


def _notice(metrics: Mapping[str, Any]) -> str:
    if metrics["data"]["synthetic"]:
        text = (
            "<strong>Synthetic data.</strong> Every image here was rendered. The figures say how "
            "well the method does on these rendered bodies; they say nothing yet about Human3.6M "
            "or photographs."
        )
    elif not _overall(metrics):
        text = (
            "<strong>No score is claimed.</strong> The true poses of these images are unknown: "
            "what follows shows predictions only."
        )
    elif tables.HEADLINE.key not in _overall(metrics):
        text = (
            "<strong>No 3D score is claimed.</strong> Of these images only the true 2D joints "
            "are known: what is predicted in 3D is shown, and not scored."
        )
    else:
        return ""
    return f'<p class="notice">{text}</p>'


def _cards(metrics: Mapping[str, Any]) -> str:
    """The headline figures of our model, beside the mean pose's where there is one."""
    floor = metrics["rows"].get("mean_pose", {}).get("overall", {})
    cards = [
        f'<div class="card"><span>{escape(CARDS[column.key])} {column.better}</span>'
        f"<b>{column.text(_overall(metrics))} <i>{column.unit}</i></b>"
        + (f"<small>mean pose {column.text(floor)}</small>" if column.key in floor else "")
        + "</div>"
        for column in tables.COLUMNS
        if column.key in CARDS and column.key in _overall(metrics)
    ]
    return f'<div class="cards">{"".join(cards)}</div>' if cards else ""


def _scores(metrics: Mapping[str, Any]) -> str:
    if not _overall(metrics):
        return ""
    aligned = tables.score_table(metrics, tables.ALIGNED_COLUMNS)
    return (
        "<section><h2>Scores</h2><p>All rows are scored in one run on the same test images; "
        "this report's model is marked.</p>"
        f"{_table(tables.score_table(metrics))}"
        f"{_intervals(metrics)}"
        "<details><summary>PCK and AUC with each alignment and set of joints</summary>"
        f"{_table(aligned)}</details></section>"
    )


def _intervals(metrics: Mapping[str, Any]) -> str:
    table = tables.interval_table(metrics)
    return f"<h3>Intervals over moments</h3>{_table(table)}" if table.rows else ""


def _groups(metrics: Mapping[str, Any]) -> str:
    parts = []
    activities = tables.activity_table(metrics)
    if activities.rows:
        parts.append(f"<h2>P-MPJPE by activity, mm ↓</h2>{_table(activities)}")
    for group, heading in GROUPS:
        table = tables.group_table(metrics, group, heading)
        if table.rows and len(table.headings) > 2:
            parts.append(f"<h2>{escape(metrics['model'])} by {heading.lower()}</h2>{_table(table)}")
    return "".join(f"<section>{part}</section>" for part in parts)


def _times(costs: Mapping[str, Cost]) -> str:
    if not costs:
        return ""
    return (
        "<section><h2>Time of each stage</h2><p>CPU time is that of all threads and workers, "
        f"the start of Python included.</p>{_table(tables.time_table(costs))}</section>"
    )


def _protocol(metrics: Mapping[str, Any]) -> str:
    notes = {f"data: {k}": v for k, v in metrics["data"].items()} | metrics["protocol"]
    entries = [f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in notes.items()]
    return f"<dl>{''.join(entries)}</dl>"


def _figure(name: str, images: Mapping[str, bytes]) -> str:
    if name not in images:
        return ""
    heading, caption = CAPTIONS[name]
    source = b64encode(images[name]).decode("ascii")
    return (
        f"<section><h2>{heading}</h2><figure><div class='wide'>"
        f'<img alt="{heading}" src="data:image/png;base64,{source}"></div>'
        f"<figcaption>{caption}</figcaption></figure></section>"
    )


def _table(table: Table) -> str:
    head = "".join(
        f"<th{_word(n, table)}>{_unbroken(heading)}<small>{escape(unit)}</small></th>"
        for n, (heading, unit) in enumerate(zip(table.headings, table.units, strict=True))
    )
    body = "".join(
        ('<tr class="ours">' if row.ours else "<tr>")
        + "".join(f"<td{_word(n, table)}>{escape(cell)}</td>" for n, cell in enumerate(row.cells))
        + "</tr>"
        for row in table.rows
    )
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _word(column: int, table: Table) -> str:
    return ' class="word"' if column < table.labels else ""


def _unbroken(words: str) -> str:
    """Words that a narrow column breaks between, but not at their hyphens."""
    return " ".join(f"<span>{escape(word)}</span>" for word in words.split())


def _overall(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Our model's scores over all images, without the count of images."""
    overall = metrics["rows"][metrics["model"]]["overall"]
    return {key: value for key, value in overall.items() if key != "images"}
