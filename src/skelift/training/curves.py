"""Statistics of a run: one JSON line an interval, and DVCLive curves."""

import json
from pathlib import Path
from typing import Any

from skelift.errors import InputError
from skelift.files import atomic_file
from skelift.training.loop import Interval

FILE = "stats.jsonl"


class Curves:
    """Keeps ``stats.jsonl`` beside the checkpoints, and curves for ``dvc plots`` in the model.

    Args:
        checkpoints: folder of the checkpoint that the run goes on from.
        out: the model's folder.
        first: steps already done; later lines, of a run that was killed, are dropped.
        live: also write DVCLive curves.
    """

    def __init__(self, checkpoints: Path, out: Path, first: int, *, live: bool) -> None:
        self.file, self.out = checkpoints / FILE, out
        self.rows = [row for row in _read(self.file) if row["step"] <= first]
        self._live = _dvclive(out / "dvclive") if live else None
        self._write()
        for row in self.rows:
            self._log(row)

    def add(self, interval: Interval) -> None:
        """Take in the statistics of an interval."""
        row = {"step": interval.step, **interval.statistics}
        self.rows.append(row)
        with self.file.open("a") as stream:
            stream.write(json.dumps(row) + "\n")
        self._log(row)

    def finish(self) -> None:
        """Put the whole history beside the model."""
        with atomic_file(self.out / FILE) as unfinished:
            unfinished.write_text(_lines(self.rows))
        if self._live:
            self._live.end()

    def _write(self) -> None:
        with atomic_file(self.file) as unfinished:
            unfinished.write_text(_lines(self.rows))

    def _log(self, row: dict[str, Any]) -> None:
        if not self._live:
            return
        self._live.step = row["step"]
        for name, value in row.items():
            if name != "step":
                self._live.log_metric(name, value)
        self._live.make_summary()


def _read(file: Path) -> list[dict[str, Any]]:
    if not file.exists():
        return []
    whole = [line for line in file.read_text().splitlines() if line.endswith("}")]
    return [json.loads(line) for line in whole]


def _lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _dvclive(folder: Path) -> Any:
    try:
        from dvclive import Live
    except ModuleNotFoundError:
        raise InputError(
            "train.dvclive=true needs DVCLive: pip install 'skelift[pipeline]', or set it to false"
        ) from None
    return Live(str(folder), save_dvc_exp=False, dvcyaml=None, report=None)
