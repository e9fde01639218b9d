"""The search on one machine: Optuna's TPE, median pruning, a study that can be resumed."""

import json
import math
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from skelift.config import Config, RangeConfig
from skelift.data.format import Dataset
from skelift.errors import InputError, RunError
from skelift.files import locked
from skelift.sweep.space import Values, bounds, overrides
from skelift.sweep.trial import Trial, run_trial
from skelift.training.identity import identity
from skelift.training.loop import NonFiniteLoss

if TYPE_CHECKING:
    import optuna

STUDY = "study.journal"
_VALUES = "values"


def search(config: Config, folder: Path) -> list[Trial]:
    """Run trials until ``sweep.trials`` are done, counting those of earlier calls.

    A trial that was killed is run again with the same values and resumes from its checkpoint.
    Trial 0 is the unchanged configuration; the first few others are random.

    Args:
        config: the run; ``config.sweep`` is the search.
        folder: where ``study.journal`` lies; it can be read with optuna-dashboard too.

    Returns:
        The trials that finished.

    Raises:
        InputError: another search is running there, or the study is of another space or data set.
        RunError: no trial finished.
    """
    with ExitStack() as stack:
        try:
            # Two searches in one study would take each other's running trials for killed ones.
            stack.enter_context(locked(folder / ".lock", wait=False))
        except BlockingIOError:
            raise InputError(
                f"{folder}: another `skelift sweep` is running there; wait for it, or take another "
                "paths.reports"
            ) from None
        study = _open_study(config, folder)
        _try_killed_ones_again(study)
        progress = _Progress(config.sweep.trials, study)
        while _done(study) < config.sweep.trials:
            _run_next(study, config, progress)
        finished = [_result(t, config) for t in study.trials if t.state.name == "COMPLETE"]
    if not finished:
        raise RunError(f"{folder / STUDY}: no trial finished; see the lines above")
    return finished


def _open_study(config: Config, folder: Path) -> "optuna.Study":
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ModuleNotFoundError:
        raise InputError("skelift sweep needs Optuna: pip install 'skelift[sweep]'") from None

    sweep = config.sweep
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        study_name=config.name,
        storage=JournalStorage(JournalFileBackend(str(folder / STUDY))),
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
    )
    # A resumed study must not repeat the random numbers of its first part.
    study.sampler = optuna.samplers.TPESampler(seed=sweep.seed + len(study.trials))
    judged = {
        "score": sweep.score,
        "held_out": [sweep.held_out, sweep.seed],
        "overrides": list(sweep.overrides),
        "space": {key: asdict(values) for key, values in sorted(sweep.space.items())},
        "run": identity(config, Dataset(config.paths.data)),
    }
    judged = json.loads(json.dumps(judged))  # as the journal keeps it
    if study.user_attrs.setdefault("judged", judged) != judged:
        raise InputError(
            f"{folder / STUDY}: a study of another configuration, space or data set; take "
            "another paths.reports, or remove the file"
        )
    study.set_user_attr("judged", judged)
    return study


def _try_killed_ones_again(study: "optuna.Study") -> None:
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params, user_attrs={_VALUES: trial.user_attrs.get(_VALUES)})


def _run_next(study: "optuna.Study", config: Config, progress: "_Progress") -> None:
    from optuna.trial import TrialState

    trial = study.ask()
    as_it_stands = trial.number == 0 or trial.user_attrs.get(_VALUES) == {}
    values = {} if as_it_stands else _suggest(trial, config)
    trial.set_user_attr(_VALUES, values)

    def report(score: float, step: int) -> bool:
        trial.report(score, step)
        return bool(trial.should_prune())

    title = f"trial {trial.number} ({_done(study) + 1}/{config.sweep.trials})"
    try:
        result = run_trial(config, trial.number, values, title, report)
        if result:
            study.tell(trial, result.score)
            progress.tell(trial.number, values, f"{result.score:.6g}")
        else:
            study.tell(trial, state=TrialState.PRUNED)
            progress.tell(trial.number, values, "pruned: worse than half of the others so far")
    except NonFiniteLoss as error:
        # Optuna ignores failed trials; this one has shown that its values are bad.
        study.tell(trial, math.inf)
        progress.tell(trial.number, values, str(error))


def _suggest(trial: "optuna.Trial", config: Config) -> Values:
    return {key: _suggest_one(trial, key, r) for key, r in config.sweep.space.items()}


def _suggest_one(trial: "optuna.Trial", key: str, values: RangeConfig) -> Any:
    if values.choices:
        return trial.suggest_categorical(key, list(values.choices))
    low, high = bounds(values)
    if values.integer:
        return trial.suggest_int(key, int(low), int(high), log=values.log)
    return float(f"{trial.suggest_float(key, low, high, log=values.log):.6g}")


def _done(study: "optuna.Study") -> int:
    return sum(trial.state.name in ("COMPLETE", "PRUNED") for trial in study.trials)


def _result(trial: "optuna.trial.FrozenTrial", config: Config) -> Trial:
    assert trial.value is not None
    return Trial(trial.number, trial.user_attrs[_VALUES], config.sweep.score, trial.value)


class _Progress:
    """One line per trial: its values, its outcome, the best so far, the time left."""

    def __init__(self, trials: int, study: "optuna.Study") -> None:
        self.trials, self.study = trials, study
        self.before, self.started, self.console = _done(study), time.monotonic(), Console()
        if self.before:
            self.console.print(f"going on with {self.before} trials of {trials} done")

    def tell(self, number: int, values: Values, outcome: str) -> None:
        done = _done(self.study)
        seconds = (time.monotonic() - self.started) / max(done - self.before, 1)
        left = time.strftime("%H:%M:%S", time.gmtime(seconds * (self.trials - done)))
        finished = [t.value for t in self.study.trials if t.value is not None]
        best = f"best {min(finished):.6g}, " if finished else ""
        tried = " ".join(overrides(values)) or "as it stands"
        self.console.print(
            f"trial {number}: {outcome} [{tried}]; {best}{done}/{self.trials}, {left} left",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
