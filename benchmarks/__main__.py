"""Run benchmarks one after the other, and print one table of all their goals.

``python -m benchmarks``: all of them, the best part of an hour; ``python -m benchmarks renderer
read``: those. Each writes its JSON to ``reports/benchmarks``. The exit code is 1 where a benchmark
failed or a goal is missed.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import children
from benchmarks.measure import RESULTS, result_file
from skelift.files import read_json

NAMES = (
    *("renderer", "train_step", "scaling", "neighbours", "synthesize", "prepare", "read"),
    *("serve", "soak", "deaths"),
)
HEADS = ("benchmark", "figure", "value", "goal", "met")


def main() -> int:
    """Run, print and judge."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    names = parser.parse_args().names or NAMES
    if unknown := [name for name in names if name not in NAMES]:
        parser.error(f"{unknown[0]}: not found; choose of {', '.join(NAMES)}")
    for name in names:
        result_file(name).unlink(missing_ok=True)  # a failed run shows no figures of an older one
        print(f"{name} ...", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], stdout=subprocess.DEVNULL)
    rows = [row for name in names for row in goals_of(name, result_file(name))]
    print(table(rows))
    print(f"all figures: {RESULTS}/NAME.json")
    return 0 if all(row[-1] == "yes" for row in rows) else 1


def goals_of(name: str, file: Path) -> list[tuple[str, ...]]:
    """Rows of the table: the goals of one benchmark, or that it failed."""
    if not file.exists():
        return [(name, "failed, see above", "", "", "no")]
    measured: dict[str, Any] = read_json(file, f"python -m benchmarks.{name}")
    return [
        (name, figure, number(measured[figure]), verdict["goal"], "yes" if verdict["met"] else "no")
        for figure, verdict in measured["goals"].items()
    ]


def number(value: float | None) -> str:
    """A figure in three or more digits."""
    if value is None:
        return "not measured"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows below their heads, as Markdown."""
    lines = [HEADS, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADS))]
    cells = [
        [cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines
    ]
    cells.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


if __name__ == "__main__":
    children.run(main)
