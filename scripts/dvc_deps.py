"""The source files in the deps of dvc.yaml: ``python scripts/dvc_deps.py`` writes them.

A stage depends on all files that its module imports, directly or not, at the top or in a function.
Left out are ``conf/``, whose values are in params.yaml, and packages' files without code.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
PACKAGE = SOURCE / "skelift"
DVC = ROOT / "dvc.yaml"


def dependencies(stage: str) -> list[str]:
    """The source files, or folders of them, that a stage of dvc.yaml has to depend on."""
    needed = closure(f"skelift.stages.{stage.replace('-', '_')}")
    return [path.relative_to(ROOT).as_posix() for path in _folded(needed, PACKAGE)]


def closure(module: str) -> set[Path]:
    """Files that a module of the package needs: modules, and data files that they read."""
    found: set[Path] = set()
    waiting = {module}
    while waiting:
        name = waiting.pop()
        file = _file(name)
        if file and file not in found:
            found |= {file, *_data_files(file)}
            waiting |= set(_imports(file))
        if parent := name.rpartition(".")[0]:  # importing a module imports its packages
            waiting.add(parent)
    return {file for file in found if _counts(file)}


def write() -> None:
    """Replace the source files in the deps of all stages."""
    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    content = yaml.load(DVC)
    for name, stage in content["stages"].items():
        others = [dependency for dependency in stage["deps"] if not dependency.startswith("src/")]
        stage["deps"] = others + dependencies(name)
    yaml.dump(content, DVC)


def _folded(needed: set[Path], folder: Path) -> Iterator[Path]:
    """The needed files below a folder; a folder of which all is needed stands for its files."""
    for path in sorted(folder.iterdir()):
        if path in needed:
            yield path
        elif path.is_dir() and (inside := {file for file in path.rglob("*") if _counts(file)}):
            yield from [path] if inside <= needed else _folded(needed, path)


def _counts(path: Path) -> bool:
    """Whether it is a source file that can change what a stage makes."""
    if not path.is_file() or "__pycache__" in path.parts or PACKAGE / "conf" in path.parents:
        return False
    return path.name != "__init__.py" or len(ast.parse(path.read_text()).body) > 1


def _file(module: str) -> Path | None:
    """The file of a module or package of the project; None of any other name."""
    path = SOURCE / module.replace(".", "/")
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in candidates if file.is_file()), None)


def _imports(file: Path) -> Iterator[str]:
    """Names that a file may import; some, such as those of functions, are not modules."""
    tree = ast.parse(file.read_text())
    # What ``skelift`` itself offers is imported when a user asks for it; no stage does.
    for node in tree.body if file == PACKAGE / "__init__.py" else _walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{file}:{node.lineno}: a relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and str(node.value).startswith("skelift."):
            yield str(node.value)  # import_module("skelift.data.folder")


def _data_files(file: Path) -> Iterator[Path]:
    """Files that are not Python, of the packages that a file reads data of."""
    named = {_file(name) for name in _imports(file) if f'files("{name}")' in file.read_text()}
    for module in named | ({file} if "__file__" in file.read_text() else set()):
        assert module
        yield from (path for path in module.parent.rglob("*") if path.suffix != ".py")


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under ``if TYPE_CHECKING``, which never run."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from _walk(child)


if __name__ == "__main__":
    write()
