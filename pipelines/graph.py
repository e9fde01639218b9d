"""A picture of the compiled pipeline: ``python -m pipelines.graph [FILE.png]``.

Made from the specification alone: what is drawn is what a cluster is given.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipelines.compile import COMPILED

PICTURE = Path(__file__).parents[1] / "docs" / "pipeline.png"
_COLOURS = {"-cpu": "#dce9f7", "-gpu": "#fde2c4", "-serve": "#dcf3df"}


@dataclass(frozen=True)
class Node:
    """A task or a group of tasks (a condition, a loop).

    Attributes:
        name: unique; of a task its name in the specification.
        group: the group that it stands in; empty at the top.
        label: what people read.
        image: of a task, the image that it runs in.
        after: tasks that it depends on.
        is_group: whether others stand in it.
    """

    name: str
    group: str
    label: str
    image: str
    after: tuple[str, ...]
    is_group: bool


def tasks_of(spec: dict[str, Any]) -> list[Node]:
    """All tasks and groups of a specification, outer ones first."""
    return list(_walk(spec, spec["root"]["dag"], "", {}))


def draw(compiled: Path, picture: Path) -> Path:
    """Draw a compiled pipeline to a PNG file."""
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyBboxPatch

    nodes = tasks_of(next(iter(yaml.safe_load_all(compiled.read_text()))))
    tasks = [node for node in nodes if not node.is_group]
    rows = _rows(tasks)
    at = _places(nodes, tasks, rows)
    width, height = 1 + max(x for x, _ in at.values()), 1 + max(rows.values())
    figure = Figure(figsize=(2.6 * width + 0.6, 0.95 * height + 0.6), dpi=110)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.75, width - 0.25), ylim=(height - 0.1, -0.75))
    axes.axis("off")
    for group in (node for node in nodes if node.is_group):
        inside = [at[task.name] for task in tasks if _is_inside(task, group, nodes)]
        left, right = min(x for x, _ in inside), max(x for x, _ in inside)
        top, bottom = min(y for _, y in inside), max(y for _, y in inside)
        depth = 0.04 * len(_groups(group.name, nodes))
        box = FancyBboxPatch(
            (left - 0.5 + depth, top - 0.42 + depth),
            right - left + 1 - 2 * depth,
            bottom - top + 0.78 - 2 * depth,
            boxstyle="round,pad=0,rounding_size=0.05",
            fill=False,
            edgecolor="#667788",
            linestyle="--",
        )
        axes.add_patch(box)
        axes.text(
            left - 0.47 + depth, top - 0.33 + depth, group.label, fontsize=7.5, color="#445566"
        )
    for task in tasks:
        for before in task.after:
            axes.annotate(
                "",
                xy=(at[task.name][0], at[task.name][1] - 0.17),
                xytext=(at[before][0], at[before][1] + 0.17),
                arrowprops={"arrowstyle": "->", "color": "#8899aa", "shrinkA": 0, "shrinkB": 0},
            )
    for task in tasks:
        x, y = at[task.name]
        target = f"-{task.image.rpartition('-')[2]}"
        axes.add_patch(
            FancyBboxPatch(
                (x - 0.36, y - 0.17),
                0.72,
                0.34,
                boxstyle="round,pad=0,rounding_size=0.06",
                facecolor=_COLOURS[target],
                edgecolor="#334455",
                zorder=3,
            )
        )
        axes.text(x, y - 0.03, task.label, ha="center", va="center", fontsize=9.5, zorder=4)
        axes.text(x, y + 0.1, target[1:], ha="center", va="center", fontsize=6.5, zorder=4)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, metadata={"Software": None}, facecolor="white")
    return picture


def _walk(
    spec: dict[str, Any], dag: dict[str, Any], group: str, passed: dict[str, tuple[str, ...]]
) -> Iterator[Node]:
    """Tasks of a DAG; ``passed``: input of the DAG -> the tasks that it comes from."""
    ends: dict[str, tuple[str, ...]] = {}
    for name, task in sorted(dag["tasks"].items(), key=lambda item: _order(item[0], dag["tasks"])):
        component = spec["components"][task["componentRef"]["name"]]
        before = _sources(task, passed, ends)
        if "dag" in component:
            yield Node(name, group, _label(name, task), "", before, is_group=True)
            inner = {
                key: _sources({"inputs": {"all": {key: value}}}, passed, ends)
                for inputs in task.get("inputs", {}).values()
                for key, value in inputs.items()
            }
            yield from _walk(spec, component["dag"], name, inner)
            ends[name] = _last(spec, component["dag"])
        else:
            image = spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
            yield Node(name, group, _label(name, task), image["image"], before, is_group=False)
            ends[name] = (name,)


def _sources(
    task: dict[str, Any], passed: dict[str, tuple[str, ...]], ends: dict[str, tuple[str, ...]]
) -> tuple[str, ...]:
    found: list[str] = []
    for inputs in task.get("inputs", {}).values():
        for value in inputs.values():
            for kind in ("taskOutputParameter", "taskOutputArtifact"):
                if kind in value:
                    found += ends.get(value[kind]["producerTask"], ())
            for kind in ("componentInputParameter", "componentInputArtifact"):
                found += passed.get(value.get(kind, ""), ())
    for name in task.get("dependentTasks", []):
        found += ends.get(name, ())
    return tuple(dict.fromkeys(found))


def _last(spec: dict[str, Any], dag: dict[str, Any]) -> tuple[str, ...]:
    """Tasks whose results leave a DAG."""
    outputs = dag.get("outputs", {})
    producers = [
        selector["producerSubtask"]
        for kind in outputs.values()
        for value in kind.values()
        for key in ("artifactSelectors", "valueFromParameter")
        for selector in ([value[key]] if isinstance(value.get(key), dict) else value.get(key, []))
    ]
    return tuple(dict.fromkeys(producers))


def _order(name: str, tasks: dict[str, Any], seen: frozenset[str] = frozenset()) -> tuple[int, str]:
    """Depth of a task among its siblings."""
    before = [n for n in tasks[name].get("dependentTasks", []) if n in tasks and n not in seen]
    depth = max((_order(n, tasks, seen | {name})[0] + 1 for n in before), default=0)
    return depth, name


def _label(name: str, task: dict[str, Any]) -> str:
    label = str(task.get("taskInfo", {}).get("name", name))
    condition = task.get("triggerPolicy", {}).get("condition")
    if condition:
        says = condition.replace("inputs.parameter_values['pipelinechannel--", "").replace("']", "")
        return f"if {says}"
    return f"for each of {label}" if "parameterIterator" in task else label


def _rows(tasks: list[Node]) -> dict[str, int]:
    rows: dict[str, int] = {}
    for task in tasks:
        rows[task.name] = max((rows[b] + 1 for b in task.after if b in rows), default=0)
    return rows


def _places(
    nodes: list[Node], tasks: list[Node], rows: dict[str, int]
) -> dict[str, tuple[float, float]]:
    """One column for each branch at the top; what belongs to none stands in their middle."""
    branches = [node.name for node in nodes if node.is_group and not node.group]
    middle = (len(branches) - 1) / 2
    at: dict[str, tuple[float, float]] = {}
    taken: dict[tuple[float, int], int] = {}
    for task in tasks:
        groups = _groups(task.name, nodes)
        outer = [name for name in groups if name in branches]
        column = float(branches.index(outer[0])) if outer else middle
        beside = taken.get((column, rows[task.name]), 0)
        taken[column, rows[task.name]] = beside + 1
        at[task.name] = (column + beside, float(rows[task.name]))
    return at


def _groups(name: str, nodes: list[Node]) -> list[str]:
    """Groups around a node, the innermost first."""
    by_name = {node.name: node for node in nodes}
    found: list[str] = []
    while by_name[name].group:
        name = by_name[name].group
        found.append(name)
    return found


def _is_inside(task: Node, group: Node, nodes: list[Node]) -> bool:
    return group.name in _groups(task.name, nodes)


if __name__ == "__main__":
    print(draw(COMPILED, Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE))
