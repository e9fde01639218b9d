"""On CI (``CI=true``) a skipped test fails the session, unless allowed_skips.txt names it.

A line there is ``TEST: REASON``; TEST is a test's id, with or without its parameters, or a file.
"""

import os
from pathlib import Path

import pytest

ALLOWED = Path(__file__).with_name("allowed_skips.txt")


def allowed(text: str) -> tuple[str, ...]:
    """Tests and files that may be skipped."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    for line in lines:
        if not line.partition(": ")[2].strip():
            raise pytest.UsageError(f"{ALLOWED.name}: {line}: no reason; write TEST: REASON")
    return tuple(line.partition(": ")[0] for line in lines)


def is_allowed(test: str, entries: tuple[str, ...]) -> bool:
    return any(test == entry or test.startswith((f"{entry}[", f"{entry}::")) for entry in entries)


class Skips:
    """Collects the skipped tests of a session; with xdist, in the process that has the workers."""

    def __init__(self, entries: tuple[str, ...]) -> None:
        self.entries = entries
        self.refused: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self._add(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._add(report)

    def _add(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if not is_allowed(report.nodeid, self.entries):
            self.refused.append(report.nodeid)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.refused and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for test in self.refused:
            terminalreporter.write_line(
                f"{test}: skipped on CI; install what it needs, or name it in {ALLOWED.name}",
                red=True,
            )


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("CI") == "true" and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Skips(allowed(ALLOWED.read_text())))
