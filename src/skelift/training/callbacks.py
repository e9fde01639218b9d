"""What happens between the steps: curves, checkpoints, label-free validation, sweep reports."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from skelift.data.format import Split
from skelift.errors import InputError
from skelift.files import STATISTICS, atomic_file, naming
from skelift.models.io import MADE_BY, save_snapshot, snapshots
from skelift.models.pipeline import PosePipeline
from skelift.models.posenet import PoseNet
from skelift.models.tensors import load_tensors, save_tensors
from skelift.training.identity import differences
from skelift.training.loop import Interval
from skelift.training.trainer import Trainer

CHECKPOINT = "last.safetensors"
LABEL_FREE, IDENTITY = "label_free", "identity"
Score = Callable[[PosePipeline], float]


@dataclass
class Checkpoints:
    """Saves all that the next step depends on; a killed run is resumed from there."""

    folder: Path  # where ``last.safetensors`` and the snapshots lie
    trainer: Trainer
    identity: dict[str, Any]  # of the run, see ``identity.identity``
    saved: int = 0  # steps

    @property
    def file(self) -> Path:
        """The last checkpoint."""
        return self.folder / CHECKPOINT

    def __call__(self, interval: Interval) -> None:
        """Save every ``checkpoint_every`` steps, and at the last."""
        train = self.trainer.train
        if interval.step - self.saved >= train.checkpoint_every or interval.step == train.steps:
            about = {"step": str(interval.step), IDENTITY: json.dumps(self.identity)}
            save_tensors(self.file, self.trainer.state(), about)
            self.saved = interval.step

    def resume(self) -> int:
        """Restore the last checkpoint of the same run; returns the number of steps done.

        Raises:
            InputError: the checkpoint is of another run, and ``train.restart`` is not set.
        """
        files = [file for file in (self.file, *snapshots(self.folder).values()) if file.exists()]
        if not files:
            return 0
        try:
            state, about = load_tensors(files[0], MADE_BY)
        except InputError:
            raise InputError(f"{files[0]}: cannot be read; remove it to start over") from None
        if IDENTITY not in about:
            changed = ["the version of skelift"]
        else:
            changed = differences(json.loads(about[IDENTITY]), self.identity)
        if changed and self.trainer.train.restart:
            print(f"{files[0]}: of another run (different: {', '.join(changed)}); starting over")
            return 0
        if changed:
            raise InputError(
                f"{files[0]}: a checkpoint of another run (different: {', '.join(changed)}); set "
                "train.restart=true to start over, or another paths.checkpoints"
            )
        if files[0] == self.file:
            self.trainer.restore(state)
            self.saved = int(about["step"])
        return self.saved

    def clear(self) -> None:
        """Remove what a run before this one left, which starts from its first step."""
        for file in (self.file, *snapshots(self.folder).values()):
            file.unlink(missing_ok=True)

    @property
    def last(self) -> str:
        """The last checkpoint, in words."""
        return f"{self.file} (step {self.saved})" if self.saved else "none yet"


class Curves:
    """Keeps ``stats.jsonl`` beside the checkpoints, and curves for ``dvc plots`` in the model.

    Args:
        checkpoints: folder of the checkpoint that the run is resumed from.
        out: the model's folder.
        first: steps already done; later lines, of a run that was killed, are dropped.
        live: also write DVCLive curves.
    """

    def __init__(self, checkpoints: Path, out: Path, first: int, *, live: bool) -> None:
        self.file, self.out = checkpoints / STATISTICS, out
        self.rows = [row for row in _read(self.file) if row["step"] <= first]
        self._live = _dvclive(out / "dvclive") if live else None
        _write(self.file, self.rows)
        for row in self.rows:
            self._log(row)

    def __call__(self, interval: Interval) -> None:
        """Take in the statistics of an interval."""
        row = {"step": interval.step, **interval.statistics}
        self.rows.append(row)
        with naming(self.file), self.file.open("a") as stream:
            stream.write(json.dumps(row) + "\n")
        self._log(row)

    def finish(self) -> None:
        """Put the whole history beside the model."""
        _write(self.out / STATISTICS, self.rows)
        if self._live:
            self._live.end()

    def _log(self, row: dict[str, Any]) -> None:
        if not self._live:
            return
        self._live.step = row["step"]
        for name, value in row.items():
            if name != "step":
                self._live.log_metric(name, value)
        self._live.make_summary()


class Validation:
    """Keeps snapshots beside the checkpoints and ends a run that does not improve.

    The first process scores, for all, by a label-free ``score`` of a pipeline on training images;
    lower is better. A run that is killed and started again reads the scores of its earlier
    snapshots.
    """

    def __init__(self, trainer: Trainer, checkpoints: Checkpoints, score: Score) -> None:
        self.every, self.patience = trainer.train.snapshot_every, trainer.train.patience
        self.trainer, self.folder, self.score = trainer, checkpoints.folder, score
        self.about = {IDENTITY: json.dumps(checkpoints.identity)}
        self.scores: dict[int, float] = {}
        if self.patience and trainer.world.is_main:
            kept = {n: f for n, f in snapshots(self.folder).items() if n <= checkpoints.saved}
            self.scores = {
                n: float(about[LABEL_FREE])
                for n, about in ((n, load_tensors(file, MADE_BY)[1]) for n, file in kept.items())
                if LABEL_FREE in about  # not if patience was off when it was kept
            }

    def __call__(self, interval: Interval) -> bool:
        """Keep and score a snapshot where one is due; True when the run should end."""
        if not self.every or interval.step % self.every:
            return False
        if self.trainer.world.is_main:
            core, about = self.trainer.core, self.about
            if self.patience:
                with evaluating(core):
                    self.scores[interval.step] = self.score(PosePipeline(core))
                about = about | {LABEL_FREE: repr(self.scores[interval.step])}
            save_snapshot(self.folder, core.state_dict(), interval.step, about)
        return self.should_stop()

    def should_stop(self) -> bool:
        """Whether the last ``patience`` snapshots did not improve; all processes agree."""
        since = sum(step > self.best for step in self.scores) if self.scores else 0
        return self.trainer.world.agree(bool(self.patience) and since >= self.patience)

    @property
    def best(self) -> int:
        """Steps of the snapshot with the lowest score, the earlier one of equals."""
        return min(self.scores, key=lambda step: (self.scores[step], step))

    def shipped(self) -> tuple[int, Mapping[str, Tensor]]:
        """Steps and weights that would ship now: with ``patience`` the best, else the last."""
        if not self.scores:
            return self.trainer.train.steps, self.trainer.core.state_dict()
        return self.best, load_tensors(snapshots(self.folder)[self.best], MADE_BY)[0]


@dataclass(frozen=True)
class Reporting:
    """How a sweep follows a trial."""

    images: Split  # held out, scored in its course
    score: Callable[[PosePipeline, Split], float]  # lower is better
    report: Callable[[float, int], bool]  # is told score and step; True ends the trial
    count: int  # scores in its course


class SweepReport:
    """Scores the weights that would ship in the course of a trial; the search may end it.

    The first process scores, for all.
    """

    def __init__(self, trainer: Trainer, validation: Validation, reporting: Reporting) -> None:
        self.trainer, self.validation, self.reporting = trainer, validation, reporting
        self.every = max(trainer.train.steps // (reporting.count + 1), 1)
        self.next = self.every
        self.pruned = False

    def __call__(self, interval: Interval) -> bool:
        """Report where a score is due; True, on all processes, when the trial should end."""
        if interval.step < self.next or interval.step >= self.trainer.train.steps:
            return False
        self.next = interval.step + self.every
        core, to, worse = self.trainer.core, self.reporting, False
        if self.trainer.world.is_main:
            with evaluating(core, self.validation.shipped()[1]):
                worse = to.report(to.score(PosePipeline(core), to.images), interval.step)
        self.pruned = self.trainer.world.agree(worse)
        return self.pruned


@contextmanager
def uncompiled() -> Iterator[None]:
    """Networks that are compiled for the shapes of a step run as written, on any shape."""
    with torch.compiler.set_stance("force_eager"):
        yield


@contextmanager
def evaluating(core: PoseNet, weights: Mapping[str, Tensor] | None = None) -> Iterator[None]:
    """The core in evaluation mode, with other weights if given; afterwards as it was."""
    trained = {name: tensor.clone() for name, tensor in core.state_dict().items()}
    if weights is not None:
        core.load_state_dict(dict(weights))
    core.eval()
    try:
        with uncompiled():
            yield
    finally:
        core.train()
        core.load_state_dict(trained)


def _read(file: Path) -> list[dict[str, Any]]:
    if not file.exists():
        return []
    whole = [line for line in file.read_text().splitlines() if line.endswith("}")]
    return [json.loads(line) for line in whole]


def _write(file: Path, rows: list[dict[str, Any]]) -> None:
    with atomic_file(file) as unfinished:
        unfinished.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _dvclive(folder: Path) -> Any:
    try:
        from dvclive import Live
    except ModuleNotFoundError:
        raise InputError(
            "train.dvclive=true needs DVCLive: pip install 'skelift[pipeline]', or set it to false"
        ) from None
    return Live(str(folder), save_dvc_exp=False, dvcyaml=None, report=None)
