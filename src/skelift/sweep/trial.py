"""One trial: train with some overrides, score on clips held out of the training images."""

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path

from skelift.config import Config, SweepConfig, to_yaml, vary
from skelift.data.hold_out import HeldOut, Part, spread
from skelift.errors import InputError
from skelift.evaluation.label_free import score_without_labels
from skelift.evaluation.predictions import predict_split
from skelift.evaluation.scores import measure
from skelift.files import atomic_file, read_json, write_json
from skelift.models.io import load_model
from skelift.models.posenet import PoseNet
from skelift.sweep.space import Values, apply, overrides
from skelift.training.distributed import World, join
from skelift.training.one_model import train_one
from skelift.training.trainer import Trainer

LABEL_FREE = "label_free"
BEST = "best.yaml"
_GLANCE = 512  # held-out images that a score during a trial uses


@dataclass(frozen=True)
class Trial:
    """Result of a trial; its JSON is what trials on a cluster hand over.

    Attributes:
        number: 0 is the configuration as it stands.
        values: key -> value that the trial tried.
        metric: what ``score`` is.
        score: on the held-out clips; lower is better.
    """

    number: int
    values: Values
    metric: str
    score: float


def run_trial(
    config: Config,
    number: int,
    values: Values,
    title: str,
    report: Callable[[float, int], None] | None = None,
) -> Trial:
    """Train and score one trial; ``report(score, step)`` is called on the way and may raise.

    Killed and started again with the same values, it resumes from its checkpoint.
    """
    sweep = config.sweep
    trial = vary(apply(config, values), sweep.overrides)
    folder = Path(config.paths.checkpoints) / "sweep" / _digest(trial)
    trial.paths = replace(
        trial.paths, checkpoints=str(folder / "checkpoints"), model=str(folder / "model")
    )
    data = HeldOut(config.paths.data, sweep.held_out, sweep.seed)
    _check_metric(sweep.score, data.split("test"))
    with join(trial.train.device) as world:
        watch = _Watch(trial, data.split("test"), world, report) if report else None
        train_one(trial, data, world, title, score_without_labels, watch)
        pose, _ = load_model(Path(trial.paths.model), world.device)
        score = _score(trial, pose, data.split("test"), world)
    shutil.rmtree(folder)
    return Trial(number, values, sweep.score, score)


def choose_best(trials: Sequence[Trial]) -> Trial:
    """The trial with the lowest score; the earlier one of equals.

    Raises:
        InputError: no trial has a finite score, or they were scored by different metrics.
    """
    scored = [trial for trial in trials if math.isfinite(trial.score)]
    if not scored:
        raise InputError(f"{len(trials)} trials, none with a finite score; see their logs")
    metrics = sorted({trial.metric for trial in scored})
    if len(metrics) > 1:
        raise InputError(f"trials scored by {' and '.join(metrics)}; run all with one sweep.score")
    return min(scored, key=lambda trial: (trial.score, trial.number))


def write_trial(folder: Path, trial: Trial) -> Path:
    """Write ``trial-NNNNN.json``."""
    file = folder / f"trial-{trial.number:05d}.json"
    write_json(file, asdict(trial))
    return file


def read_trials(places: Sequence[str]) -> list[Trial]:
    """Trials from their JSON files, or from folders of these."""
    files = [
        file
        for place in map(Path, places)
        for file in (sorted(place.rglob("trial-*.json")) if place.is_dir() else [place])
    ]
    trials = []
    for file in files:
        content = read_json(file, "skelift sweep sweep.trial=N")
        try:
            trials.append(Trial(**content))
        except TypeError as error:
            raise InputError(
                f"{file}: not the result of a trial ({error}); run the trial again"
            ) from None
    return trials


def write_best(folder: Path, config: Config, trials: Sequence[Trial]) -> Path:
    """Write ``best.yaml``, the whole configuration with the winner's values, and ``sweep.json``."""
    best = choose_best(trials)
    final = replace(config, sweep=replace(config.sweep, trial=None, results=[]))
    write_json(
        folder / "sweep.json",
        {
            "score": best.metric,
            "judged_on": f"clips held out of the training images (share {config.sweep.held_out})",
            "best": asdict(best),
            "trials": [asdict(trial) for trial in trials],
        },
    )
    with atomic_file(folder / BEST) as unfinished:
        chosen = " ".join(overrides(best.values)) or "the configuration as it stood"
        unfinished.write_text(
            f"# Trial {best.number} of {len(trials)}, {best.metric} {best.score:.6g}: {chosen}\n"
            + to_yaml(apply(final, best.values))
        )
    return folder / BEST


class _Watch:
    """Scores the model a few times during its training, on some of the held-out images."""

    def __init__(
        self, config: Config, held_out: Part, world: World, report: Callable[[float, int], None]
    ) -> None:
        self.config, self.held_out, self.world, self.report = config, held_out, world, report
        self.every = max(config.train.steps // (config.sweep.reports + 1), 1)
        self.next = self.every

    def __call__(self, trainer: Trainer, step: int) -> None:
        if step < self.next or step >= self.config.train.steps:
            return
        self.next = step + self.every
        trainer.pose.eval()
        try:
            self.report(_score(self.config, trainer.pose, self.held_out, self.world, _GLANCE), step)
        finally:
            trainer.pose.train()


def _score(
    config: Config, pose: PoseNet, held_out: Part, world: World, count: int | None = None
) -> float:
    some = spread(held_out, count) if count else held_out
    if config.sweep.score == LABEL_FREE:
        return score_without_labels(pose, some, world.device, config.evaluate.batch)
    predicted = predict_split(pose, some, world.device, config.evaluate.batch)
    measured = measure(
        pose.skeleton,
        predicted_3d_mm=predicted.joints_3d_mm,
        true_3d_mm=some.joints_3d_mm,
        predicted_2d_px=predicted.joints_2d,
        true_2d_px=some.joints_2d,
    )
    return float(measured[config.sweep.score].mean())


def _check_metric(metric: str, held_out: Part) -> None:
    known = [LABEL_FREE]
    known += ["p_mpjpe_mm", "n_mpjpe_mm", "mpjpe_mm"] if held_out.joints_3d_mm is not None else []
    known += ["error_2d_px", "error_2d_swapped_px"] if held_out.joints_2d is not None else []
    if metric not in known:
        raise InputError(f"sweep.score={metric}: with these data choose {', '.join(known)}")


def _digest(config: Config) -> str:
    trained = replace(config, sweep=SweepConfig())
    return sha256(to_yaml(trained).encode()).hexdigest()[:16]
