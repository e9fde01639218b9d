"""One trial: train with some overrides, score on clips held out of the training images."""

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path

from skelift.config import Config, SweepConfig, to_yaml, vary
from skelift.data.format import Split
from skelift.data.hold_out import HeldOut, spread
from skelift.errors import InputError
from skelift.evaluation.label_free import score_without_labels
from skelift.evaluation.predictions import predict_split
from skelift.evaluation.scores import measure
from skelift.files import atomic_file, read_json, write_json
from skelift.models.io import load_model
from skelift.models.pipeline import PosePipeline
from skelift.sweep.space import Values, apply, overrides
from skelift.training.callbacks import Reporting
from skelift.training.distributed import World, join
from skelift.training.train import train_model

LABEL_FREE = "label_free"
BEST = "best.yaml"
_SCORED_IN_ITS_COURSE = 512  # held-out images, of each score before the last


@dataclass(frozen=True)
class Trial:
    """Result of a trial; its JSON is what trials on a cluster hand over."""

    number: int  # 0 is the configuration as it stands
    values: Values  # key -> value that the trial tried
    metric: str  # what ``score`` is
    score: float  # on the held-out clips; lower is better


def run_trial(
    config: Config,
    number: int,
    values: Values,
    title: str,
    report: Callable[[float, int], bool],
) -> Trial | None:
    """Train and score one trial, by the weights that would ship.

    Killed and started again with the same values, it resumes from its checkpoint.

    Args:
        config: the run whose ``sweep`` it is a trial of.
        number: see ``Trial``.
        values: key -> value to try.
        title: what the progress bar says.
        report: is told score and step in its course and at its end, by one process of several;
            True prunes the trial.

    Returns:
        The result; None of a pruned trial.
    """
    sweep = config.sweep
    trial = vary(apply(config, values), sweep.overrides)
    folder = Path(config.paths.checkpoints) / "sweep" / _digest(trial)
    trial.paths = replace(
        trial.paths, checkpoints=str(folder / "checkpoints"), model=str(folder / "model")
    )
    data = HeldOut(config.paths.data, sweep.held_out, sweep.seed)
    held_out = data.split("test")
    _check_metric(sweep.score, held_out)
    with join(trial.train.device) as world, world.claimed(folder.parent, by=f"trial-{folder.name}"):
        score_images = partial(_score, trial, world)
        label_free = partial(
            score_without_labels,
            device=world.device,
            batch=trial.evaluate.batch,
            prior=data.prior,
        )
        some = spread(held_out, _SCORED_IN_ITS_COURSE)
        reporting = Reporting(some, score_images, report, sweep.reports)
        finished, score = train_model(trial, data, world, title, label_free, reporting), 0.0
        if world.is_main and finished:
            pipeline, _ = load_model(Path(trial.paths.model), world.device)
            score = score_images(pipeline, held_out)
            report(score, trial.train.steps)
        score = world.from_main(score)
        if world.is_main:
            shutil.rmtree(folder)
    return Trial(number, values, sweep.score, score) if finished else None


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


def _score(config: Config, world: World, pipeline: PosePipeline, images: Split) -> float:
    if config.sweep.score == LABEL_FREE:
        return score_without_labels(pipeline, images, world.device, config.evaluate.batch)
    predicted = predict_split(pipeline, images, world.device, config.evaluate.batch)
    measured = measure(
        pipeline.core.skeleton,
        predicted_3d_mm=predicted.joints_3d_mm,
        true_3d_mm=images.joints_3d_mm,
        predicted_2d_px=predicted.joints_2d,
        true_2d_px=images.joints_2d,
    )
    return float(measured[config.sweep.score].mean())


def _check_metric(metric: str, held_out: Split) -> None:
    known = [LABEL_FREE]
    known += ["p_mpjpe_mm", "n_mpjpe_mm", "mpjpe_mm"] if held_out.joints_3d_mm is not None else []
    known += ["error_2d_px", "error_2d_swapped_px"] if held_out.joints_2d is not None else []
    if metric not in known:
        raise InputError(f"sweep.score={metric}: with these data choose {', '.join(known)}")


def _digest(config: Config) -> str:
    trained = replace(config, sweep=SweepConfig())
    return sha256(to_yaml(trained).encode()).hexdigest()[:16]
