"""Each stage of dvc.yaml depends on the source files that it imports, and on no others."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from scripts.dvc_deps import ROOT, closure, dependencies

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


@pytest.mark.parametrize("name", STAGES)
def test_deps_are_the_sources_that_the_stage_imports(name: str) -> None:
    listed = [dependency for dependency in STAGES[name]["deps"] if dependency.startswith("src/")]
    expected = dependencies(name)
    missing = "\n".join(f"      - {d}" for d in expected if d not in listed)
    extra = "\n".join(f"      - {d}" for d in listed if d not in expected)
    assert listed == expected, (
        f"dvc.yaml, {name}: run `python scripts/dvc_deps.py`; missing:\n{missing}\nextra:\n{extra}"
    )


@pytest.mark.parametrize("name", STAGES)
def test_deps_hold_what_python_imports(name: str) -> None:
    """Compared with what the interpreter has loaded once the stage's module is imported."""
    module = f"skelift.stages.{name.replace('-', '_')}"
    program = (
        f"import sys, {module}\n"
        "loaded = (m.__file__ for n, m in sys.modules.items() if n.startswith('skelift'))\n"
        "print(*filter(None, loaded))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    loaded = {Path(file) for file in done.stdout.split() if not file.endswith("__init__.py")}
    assert ROOT / f"src/{module.replace('.', '/')}.py" in loaded
    assert loaded <= closure(module)


def test_imports_in_functions_tables_and_data_files_count() -> None:
    prepare = closure("skelift.stages.prepare")
    package = ROOT / "src/skelift"
    assert package / "data/sources/handdb.py" in prepare  # named in the table of loaders
    assert package / "assets/bodies.npz" in prepare
    assert package / "data/validation.py" in closure("skelift.stages.validate")  # in a function
    assert package / "reporting/page.html" in closure("skelift.stages.report")
    assert package / "reporting/page.html" not in closure("skelift.stages.evaluate")


@pytest.mark.parametrize("target", ["demo", "sweep"])
def test_make_takes_the_folder_of_reports_from_params(target: str) -> None:
    """``sweep.reports`` is another key of that name."""
    folder = yaml.safe_load((ROOT / "params.yaml").read_text())["paths"]["reports"]
    commands = subprocess.run(
        ["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    expected = {
        "demo": [
            f"SKELIFT_TIMES={folder}/times.json dvc repro",
            f"python -m skelift.reporting {folder}",
        ],
        "sweep": [f"cp {folder}/sweep/best.yaml params.yaml"],
    }[target]
    assert not set(expected) - set(commands)
