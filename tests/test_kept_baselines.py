"""A baseline is trained again where anything that it depends on has changed, and else is not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import overrides, pretrained

from skelift.config import Config, compose
from skelift.data.format import Dataset
from skelift.errors import InputError
from skelift.evaluation import kept_baselines
from skelift.evaluation.baselines import BASELINES, Bench
from skelift.evaluation.kept_baselines import predictions
from skelift.evaluation.predictions import Predicted

NAME = "supervised_lifter"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrained(tmp_path_factory.mktemp("kept"))


@pytest.fixture
def bench(home: Path, tmp_path: Path) -> Bench:
    options = ["evaluate.lifter_steps=3", "evaluate.lifter_batch=4", f"paths.reports={tmp_path}"]
    config = compose(overrides(home, "run", *options))
    return Bench(config, Dataset(config.paths.data), torch.device("cpu"))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Gets the baseline's name whenever it is trained."""
    names: list[str] = []
    train = BASELINES[NAME]

    def counted(bench: Bench) -> Predicted:
        names.append(NAME)
        return train(bench)

    monkeypatch.setitem(BASELINES, NAME, counted)
    return names


def same(one: Predicted, other: Predicted) -> bool:
    return np.array_equal(one.joints_2d, other.joints_2d) and np.array_equal(
        one.joints_3d_mm, other.joints_3d_mm
    )


def test_a_second_run_takes_what_was_kept(bench: Bench, trained: list[str]) -> None:
    first, second = predictions(bench, NAME), predictions(bench, NAME)
    assert trained == [NAME]
    assert same(first, second)
    assert same(first, BASELINES[NAME](bench))


CHANGES: dict[str, Callable[[Config], Config]] = {
    "seed": lambda c: replace(c, train=replace(c.train, seed=c.train.seed + 1)),
    "clip": lambda c: replace(c, train=replace(c.train, clip=0.5)),
    "steps": lambda c: replace(c, evaluate=replace(c.evaluate, lifter_steps=4)),
    "width": lambda c: replace(c, model=replace(c.model, lifter_width=24)),
}
SAME: dict[str, Callable[[Config], Config]] = {
    "another training of the model": lambda c: replace(c, train=replace(c.train, steps=7)),
    "another loss": lambda c: replace(c, loss=replace(c.loss, gan=0.5)),
    "more images in the report": lambda c: replace(c, evaluate=replace(c.evaluate, shown=1)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_it_depends_on_trains_it_again(change: str, bench: Bench, trained: list[str]) -> None:
    predictions(bench, NAME)
    changed = replace(bench, config=CHANGES[change](bench.config))
    again = predictions(changed, NAME)
    assert trained == [NAME, NAME]
    assert same(again, BASELINES[NAME](changed))


@pytest.mark.parametrize("change", SAME)
def test_what_it_does_not_depend_on_does_not(change: str, bench: Bench, trained: list[str]) -> None:
    first = predictions(bench, NAME)
    changed = replace(bench, config=SAME[change](bench.config))
    assert same(first, predictions(changed, NAME))
    assert trained == [NAME]
    assert same(first, BASELINES[NAME](changed))


def test_other_code_or_data_or_flow_trains_it_again(
    bench: Bench, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    predictions(bench, NAME)
    with monkeypatch.context() as patch:
        patch.setattr(kept_baselines, "_code", lambda: "of another version")
        predictions(bench, NAME)
    with monkeypatch.context() as patch:
        patch.setattr(bench.data, "checksums", {"images": "others"})
        predictions(bench, NAME)
    with monkeypatch.context() as patch:
        patch.setattr(kept_baselines, "sha256", lambda path: "another flow")
        predictions(bench, NAME)
    assert len(trained) == 4


def test_a_broken_file_is_one_line(bench: Bench, tmp_path: Path) -> None:
    predictions(bench, NAME)
    file = tmp_path / "baselines" / f"{NAME}.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(InputError, match=f"{file}: cannot be read .*removing it"):
        predictions(bench, NAME)
