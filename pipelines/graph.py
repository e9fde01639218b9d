"""A flowchart of the compiled pipeline in docs/kubeflow.md: ``python -m pipelines.graph``."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from pipelines.compile import COMPILED

PAGE = Path(__file__).parents[1] / "docs" / "kubeflow.md"
BLOCK = re.compile(r"(?<=<!-- pipeline -->\n).*?(?=<!-- /pipeline -->)", re.DOTALL)
COLOURS = {"cpu": "#dce9f7", "gpu": "#fde2c4", "serve": "#dcf3df"}  # by image


def flowchart(compiled: Path = COMPILED) -> str:
    """The compiled pipeline as a Mermaid flowchart: its steps, conditions and loops."""
    spec = next(iter(yaml.safe_load_all(compiled.read_text())))
    classes = [f"classDef {name} fill:{fill},color:#000" for name, fill in COLOURS.items()]
    lines = "\n".join(["flowchart TB", *classes, *_lines(spec, spec["root"]["dag"]["tasks"])])
    return f"```mermaid\n{lines}\n```\n"


def _lines(spec: dict[str, Any], tasks: dict[str, Any]) -> Iterator[str]:
    for name, task in tasks.items():
        label, component = (
            task["taskInfo"]["name"],
            spec["components"][task["componentRef"]["name"]],
        )
        if "dag" in component:
            yield f'subgraph {name}["{_group(label, task)}"]'
            yield from _lines(spec, component["dag"]["tasks"])
            yield "end"
        else:
            executor = spec["deploymentSpec"]["executors"][component["executorLabel"]]
            yield f'{name}["{label}"]:::{executor["container"]["image"].rpartition("-")[2]}'
    before = {name: set(task.get("dependentTasks", [])) for name, task in tasks.items()}
    for name, needed in before.items():
        implied = set().union(*(before[other] for other in needed))
        yield from (f"{other} --> {name}" for other in sorted(needed - implied))


def _group(label: str, task: dict[str, Any]) -> str:
    if "parameterIterator" in task:
        return f"for each of the {label}"
    return f"if {label.replace('-', ' ')}" if "triggerPolicy" in task else "either"


def refreshed(page: str) -> str:
    """The page with the flowchart in its marked block."""
    return BLOCK.sub(lambda _: flowchart(), page)


if __name__ == "__main__":
    PAGE.write_text(refreshed(PAGE.read_text()))
