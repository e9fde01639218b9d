"""Sessions of pytest in processes of their own: which skips fail on CI."""

import os
import subprocess
import sys
from pathlib import Path

import ci_skips
import pytest

TESTS = """
import pytest

@pytest.mark.parametrize("way", [1, 2])
def test_skipped(way):
    pytest.skip("nothing here")

@pytest.mark.xfail
def test_expected_failure():
    assert False

def test_good():
    pass
"""


def run(
    folder: Path, allowed: str, *options: str, ci: str = "true"
) -> subprocess.CompletedProcess[str]:
    (folder / "test_some.py").write_text(TESTS)
    (folder / "ci_skips.py").write_text(Path(ci_skips.__file__).read_text())
    (folder / "allowed_skips.txt").write_text(allowed)
    environment = os.environ | {"CI": ci, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-m", "pytest", "-p", "ci_skips", "--rootdir", ".", *options]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["one process", "xdist"])
def test_a_skip_fails_on_ci_and_is_named(tmp_path: Path, options: tuple[str, ...]) -> None:
    done = run(tmp_path, "", *options)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "test_some.py::test_skipped[2]: skipped on CI" in done.stdout
    assert "test_expected_failure: skipped" not in done.stdout


@pytest.mark.parametrize("entry", ["test_some.py", "test_some.py::test_skipped"])
def test_an_allowed_skip_passes(tmp_path: Path, entry: str) -> None:
    assert run(tmp_path, f"# a comment\n{entry}: not on this machine\n").returncode == 0


def test_another_entry_allows_nothing(tmp_path: Path) -> None:
    assert run(tmp_path, "test_some.py::test_skip: another test\n").returncode == 1


def test_an_entry_needs_a_reason(tmp_path: Path) -> None:
    done = run(tmp_path, "test_some.py\n")
    assert done.returncode == 4
    assert "no reason" in done.stderr


def test_a_skip_passes_elsewhere(tmp_path: Path) -> None:
    assert run(tmp_path, "", ci="").returncode == 0


def test_committed_entries_name_files_that_exist() -> None:
    root = ci_skips.ALLOWED.parents[1]
    for entry in ci_skips.allowed(ci_skips.ALLOWED.read_text()):
        assert (root / entry.partition("::")[0]).is_file(), entry
