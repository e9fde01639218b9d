"""Sweeps: the space, held-out clips, trials alone and together, the resumable study."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_run
from tiny import load_skeleton, tiny_dataset

from skelift.cli import main
from skelift.config import Config, compose
from skelift.data.format import Dataset
from skelift.data.hold_out import HeldOut
from skelift.errors import InputError
from skelift.evaluation.label_free import label_free_score
from skelift.stages import sweep, train
from skelift.sweep import study
from skelift.sweep.space import Values, apply, check_sweep, trial_values
from skelift.sweep.trial import Trial, choose_best, read_trials

BRIEF = [
    "train.steps=15",
    "sweep.overrides=['train.steps=10']",
    "sweep.reports=1",
    "evaluate.batch=8",
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run.pretrained(tmp_path_factory.mktemp("sweep"))


def overrides(home: Path, run: str, *more: str) -> list[str]:
    return tiny_run.overrides(home, run, *BRIEF, f"paths.reports={home / run / 'reports'}", *more)


def test_trials_are_the_same_everywhere_and_cover_the_space() -> None:
    config = compose()
    check_sweep(config)
    other = replace(config.sweep, seed=1)
    space = config.sweep.space
    assert trial_values(config.sweep, 0) == {}
    trials = [trial_values(config.sweep, number) for number in range(1, 33)]
    assert trials[6] == trial_values(replace(config.sweep), 7)
    assert trials != [trial_values(other, n) for n in range(1, 33)]
    for key, values in space.items():
        tried = [trial[key] for trial in trials]
        if values.choices:
            assert all(abs(tried.count(choice) - 16) <= 2 for choice in values.choices)
            continue
        assert values.low is not None
        assert values.high is not None
        assert all(values.low <= value <= values.high for value in tried)
        # Evenly in the logarithm: half of the trials below the geometric mean.
        middle = np.sqrt(values.low * values.high)
        assert abs(sum(value < middle for value in tried) - 16) <= 2


@pytest.mark.parametrize(
    ("experiment", "searched"),
    [("paper", False), ("full", True), ("quickstart", True), ("finetune", False)],
)
def test_the_default_space_fits_the_losses(experiment: str, searched: bool) -> None:
    config = compose([f"experiment={experiment}"])
    check_sweep(config)
    assert ("loss.cycle_weight_init" in config.sweep.space) == searched
    assert "loss.flow" in config.sweep.space


def test_values_of_a_trial_reach_the_configuration() -> None:
    config = compose()
    values = trial_values(config.sweep, 3)
    varied = apply(config, values)
    for key, value in values.items():
        section, name = key.split(".")
        assert getattr(getattr(varied, section), name) == value != getattr(
            getattr(config, section), name
        ) or isinstance(value, str)
    assert compose([f"{k}={v}" for k, v in values.items()]) == varied


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+sweep.space={flow.steps: {low: 1, high: 2}}", "flow.steps is not searched"),
        ("+sweep.space={loss.flwo: {low: 1, high: 2}}", "did you mean loss.flow"),
        ("+sweep.space={loss.gan: {low: 2, high: 1}}", "low=2.0, high=1.0"),
        ("+sweep.space={loss.gan: {low: 0, high: 1, log: true}}", "above 0"),
        ("+sweep.space={train.batch: {low: 1.5, high: 2.5}}", "train.batch"),
        ("sweep.held_out=1", "must be below 1"),
        ("+variants.a=['train.steps=1']", "one model"),
        ("sweep.score=pck", "must be label_free, p_mpjpe_mm"),
    ],
)
def test_bad_sweep_is_one_line_before_anything_is_trained(
    home: Path, override: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", *overrides(home, "bad", "sweep.trial=1", override)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (home / "bad").exists()


def test_held_out_clips_come_from_training_images_alone(home: Path) -> None:
    whole, part = Dataset(home / "data"), HeldOut(home / "data", 0.4, seed=0)
    train_clips, held_clips = (
        set(part.split(name).samples["clip"].tolist()) for name in ("train", "test")
    )
    everything = whole.split("train").samples["clip"].tolist()
    assert train_clips | held_clips == set(everything)
    assert not train_clips & held_clips
    assert len(held_clips) == round(0.4 * len(set(everything)))
    held = part.split("test")
    rows = [row for row, clip in enumerate(everything) if clip in held_clips]
    original = whole.split("train")
    assert len(held) == len(rows)
    assert (held.images[:] == original.images[np.array(rows)]).all()
    assert (held.images[1] == original.images[rows[1]]).all()
    assert held.joints_2d is not None
    assert original.joints_2d is not None
    assert (held.joints_2d == original.joints_2d[rows]).all()
    assert part.checksums != whole.checksums  # a checkpoint of the whole is not resumed


def test_label_free_score_sees_what_is_wrong(tmp_path: Path) -> None:
    body = load_skeleton("h36m17")
    test = Dataset(tiny_dataset(tmp_path / "data", test=24, size=64)).split("test")
    assert test.joints_2d is not None
    assert test.joints_3d_mm is not None
    joints_2d, joints_3d = np.array(test.joints_2d), np.array(test.joints_3d_mm)
    seen = (test.masks[:], test.samples["person"])
    true = label_free_score(body, joints_2d, joints_3d, *seen)
    assert true["proportion_spread"] < 1e-3  # relative lengths of stick people do not change
    flat = joints_3d * [1, 1, 0]
    assert label_free_score(body, joints_2d, flat, *seen)["proportion_spread"] > 10
    one = np.broadcast_to(joints_2d.mean(0), joints_2d.shape)
    same = label_free_score(body, one, joints_3d[:1].repeat(24, 0), *seen)
    assert same["silhouette_misfit"] > true["silhouette_misfit"] + 10
    assert same["label_free"] > true["label_free"]


def test_trials_run_alone_and_the_winner_feeds_the_training(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [sweep.run(compose(overrides(home, "alone", f"sweep.trial={n}"))) for n in range(3)]
    printed = capsys.readouterr().out
    trials = read_trials([str(file) for file in files])
    assert f"label_free={trials[2].score:.6g}" in printed  # what Katib reads
    assert [trial.number for trial in trials] == [0, 1, 2]
    assert len({trial.score for trial in trials}) == 3

    best = sweep.run(compose(overrides(home, "alone", f"sweep.results=[{files[0].parent}]")))
    winner = min(trials, key=lambda trial: trial.score)
    chosen = compose(file=best)
    whole = compose(overrides(home, "alone"))
    assert chosen == apply(whole, winner.values)
    assert chosen.train.steps == 15  # a trial's shortcuts are not the winner's
    model = train.run(compose(file=best))
    assert json.loads((model / "model.json").read_text())["steps"] == 15
    assert not list((home / "alone" / "checkpoints").glob("sweep/*"))


def test_best_is_finite_and_of_one_metric() -> None:
    trials = [Trial(n, {}, "a", s) for n, s in enumerate([float("nan"), 2.0, 1.0, 1.0])]
    assert choose_best(trials).number == 2
    with pytest.raises(InputError, match="none with a finite score"):
        choose_best(trials[:1])
    with pytest.raises(InputError, match="a and b"):
        choose_best([*trials, Trial(4, {}, "b", 0.0)])


def search_config(home: Path, run: str, trials: int) -> Config:
    return compose(overrides(home, run, f"sweep.trials={trials}"))


def trial_test_double(monkeypatch: pytest.MonkeyPatch, score: Callable[[Values], float]) -> None:
    """A test double of training: the score is a function of the values alone."""

    def run_trial(
        config: Config, number: int, values: Values, title: str, report: Callable[..., bool]
    ) -> Trial | None:
        value = score(values)
        return None if report(value, 5) else Trial(number, values, "label_free", value)

    monkeypatch.setattr(study, "run_trial", run_trial)


def test_search_is_gone_on_with(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trial_test_double(monkeypatch, lambda values: abs(values.get("loss.render", 9.0) - 2))
    folder = home / "study/reports/sweep"
    sweep.run(search_config(home, "study", 3))
    first = json.loads((folder / "sweep.json").read_text())["trials"]
    best = sweep.run(config := search_config(home, "study", 6))
    after = json.loads((folder / "sweep.json").read_text())
    printed = capsys.readouterr().out
    assert "going on with 3 trials of 6" in printed
    assert "6/6" in printed
    assert after["trials"][:3] == first
    assert first[0]["values"] == {}
    assert compose(file=best) == apply(config, after["best"]["values"])
    with pytest.raises(InputError, match="another configuration, space or data set"):
        sweep.run(compose(overrides(home, "study", "sweep.score=p_mpjpe_mm")))
    with pytest.raises(InputError, match="another configuration, space or data set"):
        sweep.run(compose(overrides(home, "study", "sweep.trials=6", "train.learning_rate=0.01")))


def test_hopeless_trials_are_stopped(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter(range(8))
    trial_test_double(monkeypatch, lambda values: float(next(scores)))  # ever worse
    finished = study.search(search_config(home, "pruned", 8), home / "pruned")
    assert [trial.number for trial in finished] == [0, 1, 2, 3]


@pytest.mark.slow
def test_killed_search_tries_the_same_trial_again(home: Path) -> None:
    arguments = overrides(
        home, "killed", "sweep.trials=3", "sweep.overrides=['train.steps=120']", "train.batch=4"
    )
    command = [sys.executable, "-m", "skelift", "sweep", *arguments]
    process = subprocess.Popen(command)
    trials = home / "killed/checkpoints/sweep"
    journal = home / "killed/reports/sweep/study.journal"

    def in_the_second_trial() -> bool:
        return "loss.silhouette" in (journal.read_text() if journal.exists() else "") and any(
            trials.glob("*/checkpoints/last.safetensors")
        )

    while process.poll() is None and not in_the_second_trial():
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    (left,) = (path for path in trials.iterdir() if path.is_dir())  # a killed run leaves its lock
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "starting afresh" not in done.stdout
    assert not left.exists()  # it was resumed, to its end
    results = json.loads((home / "killed/reports/sweep/sweep.json").read_text())["trials"]
    assert len(results) == 3
    assert len({json.dumps(trial["values"]) for trial in results}) == 3
