"""Write the components' README.md files from their code: ``python -m scripts.component_readmes``.

Inputs, outputs, types and defaults come from the components' signatures and docstrings, the verb
from metadata.yaml, caching and retries from the compiled pipeline.
"""

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from docstring_parser import parse
from kfp.dsl.container_component_class import ContainerComponent

from pipelines.compile import COMPILED

COMPONENTS = Path(__file__).parents[1] / "components"
TABLE = re.compile(r"(?<=<!-- components -->\n).*?(?=<!-- /components -->)", re.DOTALL)


def readmes() -> dict[Path, str]:
    """Path and content of each README, that of the folder of all components included."""
    folders = sorted(file.parent for file in COMPONENTS.glob("*/component.py"))
    overview = COMPONENTS / "README.md"
    rows = "".join(
        f"| [{folder.name}]({folder.name}/README.md) | {_verb(folder)} | {_images(folder)} |\n"
        for folder in folders
    )
    table = f"| Component | Calls | Image |\n| --- | --- | --- |\n{rows}"
    return {folder / "README.md": _readme(folder) for folder in folders} | {
        overview: TABLE.sub(lambda _: table, overview.read_text())
    }


def _readme(folder: Path) -> str:
    module = import_module(f"components.{folder.name}.component")
    parts = [
        f"# {folder.name.replace('_', ' ').capitalize()}",
        "<!-- Made by `make manifests` from component.py, metadata.yaml and the pipeline. -->",
        inspect.getdoc(module) or "",
        f"Calls {_verb(folder)}.",
    ]
    components = _components(folder)
    for component in components:
        if len(components) > 1:
            parts.append(f"## {component.name}")
        parts += _section(component)
    return "\n\n".join(parts) + "\n"


def _section(component: ContainerComponent) -> Iterator[str]:
    """A component's description and its tables."""
    doc = parse(inspect.getdoc(component.pipeline_func) or "")
    text = {item.arg_name: _prose(item.description) for item in doc.params}
    yield _prose(doc.description)
    yield f"Image: `{_image(component)}`. {_policy(component.name)}"
    spec = component.component_spec
    rows = [
        f"| `{name}` | {_kind(item)} | {_default(item)} | {text[name]} |"
        for name, item in (spec.inputs or {}).items()
    ]
    yield "\n".join(["| Input | Type | Default | |", "| --- | --- | --- | --- |", *rows])
    rows = [f"| `{name}` | {_kind(item)} | {text[name]} |" for name, item in spec.outputs.items()]
    yield "\n".join(["| Output | Type | |", "| --- | --- | --- |", *rows])


def _prose(text: str | None) -> str:
    """One line of Markdown; docstrings write code between double backticks."""
    line = " ".join((text or "").split()).replace("``", "`")
    return (
        line[:1].upper() + line[1:] if line[:1].isalpha() and "." not in line.split()[0] else line
    )


def _components(folder: Path) -> list[ContainerComponent]:
    module = import_module(f"components.{folder.name}.component")
    return [item for item in vars(module).values() if isinstance(item, ContainerComponent)]


def _verb(folder: Path) -> str:
    calls = yaml.safe_load((folder / "metadata.yaml").read_text())["calls"]
    return ", ".join(f"`{call}`" for call in calls)


def _images(folder: Path) -> str:
    return ", ".join(dict.fromkeys(map(_image, _components(folder))))


def _image(component: ContainerComponent) -> str:
    """Target of the Dockerfile."""
    return str(component.component_spec.implementation.container.image).rpartition("-")[2]


def _kind(item: Any) -> str:
    return str(item.type).removeprefix("system.").partition("@")[0]


def _default(item: Any) -> str:
    return f"`{item.default!r}`" if item.optional else "required"


def _policy(name: str) -> str:
    """Whether the pipeline caches and retries a component."""
    spec = next(iter(yaml.safe_load_all(COMPILED.read_text())))
    dags = [spec["root"], *spec["components"].values()]
    tasks = {k: task for dag in dags for k, task in dag.get("dag", {}).get("tasks", {}).items()}
    task = tasks[name.replace("_", "-")]
    cached = "Cached" if task["cachingOptions"].get("enableCache") else "Never cached"
    retries = task.get("retryPolicy", {}).get("maxRetryCount")
    return f"{cached}. {f'Retried {retries} times' if retries else 'Not retried'}."


if __name__ == "__main__":
    for path, content in readmes().items():
        path.write_text(content)
