"""No circle of imports in the package, be they at the top of a module or inside a function."""

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import skelift

ROOT = Path(skelift.__file__).parent


def modules() -> dict[str, Path]:
    """Name -> file of every module of the package."""
    files = sorted(ROOT.rglob("*.py"))
    names = [(path.relative_to(ROOT.parent).with_suffix("").parts, path) for path in files]
    return {".".join(parts).removesuffix(".__init__"): path for parts, path in names}


def imported(source: str, known: Mapping[str, object]) -> Iterator[str]:
    """Modules among ``known`` that a source imports, wherever in it; types alone do not count."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in known else node.module


def cycle(sources: Mapping[str, str]) -> list[str] | None:
    """A circle of imports among modules given by name and source, or None."""
    graph = {name: set(imported(source, sources)) for name, source in sources.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return None


def test_a_circle_is_found_at_the_top_and_inside_functions() -> None:
    top = {"p.a": "from p import b", "p.b": "import p.a", "p": ""}
    inside = {"p.a": "def f():\n    from p.b import g", "p.b": "from p.a import f"}
    types = {"p.a": "if TYPE_CHECKING:\n    from p import b", "p.b": "import p.a", "p": ""}
    assert set(cycle(top) or ()) == {"p.a", "p.b"}
    assert set(cycle(inside) or ()) == {"p.a", "p.b"}
    assert cycle(types) is None


def test_the_package_has_no_circle_of_imports() -> None:
    sources = {name: path.read_text() for name, path in modules().items()}
    assert len(sources) > 100
    found = cycle(sources)
    assert found is None, " -> ".join(found or ())
