"""An image of the compiled pipeline: ``python -m pipelines.graph [FILE.png]``.

Made from the specification alone: what is drawn is what a cluster is given.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipelines.compile import COMPILED

IMAGE = Path(__file__).parents[1] / "docs" / "pipeline.png"
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


def draw(compiled: Path, image: Path) -> Path:
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
        level = len(_groups(group.name, nodes))
        inset, upper = 0.05 * level, top - 0.5 + 0.14 * level
        box = FancyBboxPatch(
            (left - 0.5 + inset, upper),
            right - left + 1 - 2 * inset,
            bottom + 0.36 - inset - upper,
            boxstyle="round,pad=0,rounding_size=0.05",
            fill=False,
            edgecolor="#667788",
            linestyle="--",
        )
        axes.add_patch(box)
        axes.text(left - 0.47 + inset, upper + 0.09, group.label, fontsize=7.5, color="#445566")
    for before, after in _direct(tasks):
        axes.annotate(
            "",
            xy=(at[after][0], at[after][1] - 0.17),
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
    image.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(image, metadata={"Software": None}, facecolor="white")
    return image


def _walk(
    spec: dict[str, Any],
    dag: dict[str, Any],
    group: str,
    passed: dict[str, tuple[str, ...]],
    gates: tuple[str, ...] = (),
) -> Iterator[Node]:
    """Tasks of a DAG.

    ``passed``: input of the DAG -> the tasks that it comes from; ``gates``: tasks whose results
    decide whether it runs.
    """
    ends: dict[str, tuple[str, ...]] = {}
    for name, task in sorted(dag["tasks"].items(), key=lambda item: _order(item[0], dag["tasks"])):
        component = spec["components"][task["componentRef"]["name"]]
        before = tuple(dict.fromkeys((*_sources(task, passed, ends), *gates)))
        if "dag" in component:
            inputs = {
                key: value
                for some in task.get("inputs", {}).values()
                for key, value in some.items()
            }
            inner = {
                key: _sources({"inputs": {"all": {key: value}}}, passed, ends)
                for key, value in inputs.items()
            }
            condition = task.get("triggerPolicy", {}).get("condition", "")
            decide = tuple(
                n for key, names in inner.items() if f"'{key}'" in condition for n in names
            )
            # kfp wraps If and Else once more; that says nothing to people.
            wrapper = name.startswith("condition-branches")
            if not wrapper:
                yield Node(name, group, _label(name, task), "", before, is_group=True)
            around = group if wrapper else name
            yield from _walk(spec, component["dag"], around, inner, (*gates, *decide))
            ends[name] = _last(spec, component["dag"])
        else:
            image = spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
            yield Node(name, group, _label(name, task), image["image"], before, is_group=False)
            ends[name] = (name,)


def _direct(tasks: list[Node]) -> list[tuple[str, str]]:
    """Edges (before, after) that no longer way implies."""
    before = {task.name: set(task.after) for task in tasks}

    def all_before(name: str) -> set[str]:
        return before[name].union(*(all_before(n) for n in before[name]))

    return [
        (one, name)
        for name, direct in before.items()
        for one in direct
        if not any(one in all_before(other) for other in direct - {one})
    ]


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
        says = says.replace("!(sweep == true)", "not sweep").replace(" == true", "")
        says = re.sub(r"gate(-\d+)?-better", "the gate says better", says)
        return f"if {says}"
    return f"for each of the {label}" if "parameterIterator" in task else label


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
    for task in tasks:
        outer = [name for name in _groups(task.name, nodes) if name in branches]
        column = 1.15 * branches.index(outer[0]) if outer else 1.15 * middle
        at[task.name] = (column, float(rows[task.name]))
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
    print(draw(COMPILED, Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGE))
