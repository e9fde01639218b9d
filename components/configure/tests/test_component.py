import json
from errno import ENOSPC
from pathlib import Path

import pytest

from components.configure.component import configure
from components.conftest import TINY
from components.testing import refusal, run_component
from skelift.config import compose, to_yaml
from skelift.kubeflow import step


def parameters(**changes: object) -> dict[str, object]:
    return {"experiment": "quickstart", "overrides": TINY, "train_steps": 7} | changes


def test_configuration_is_what_the_command_line_composes(tmp_path: Path) -> None:
    outputs = run_component(configure, tmp_path, **parameters(sweep_trials=3))
    composed = to_yaml(compose(["experiment=quickstart", *TINY, "train.steps=7"]))
    assert Path(outputs["config"].path).read_text() == composed
    assert outputs["trials"] == [0, 1, 2]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"overrides": ["train.stpes=5"]}, "did you mean train.steps"),
        ({"experiment": "quickstrat"}, "quickstart"),
        ({"train_steps": -1}, "train.steps=-1"),
        ({"sweep_trials": 0}, "sweep_trials=0"),
    ],
)
def test_wrong_parameter_ends_with_one_line(
    tmp_path: Path, change: dict[str, object], complaint: str
) -> None:
    assert complaint in refusal(configure, tmp_path, **parameters(**change))
    assert not (tmp_path / "executor_output.json").exists()


def test_nothing_but_an_executor_input_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    assert step.main(["configure", "--executor-input", json.dumps({"inputs": {}})]) == 2
    assert "ExecutorInput" in capsys.readouterr().err


def test_a_full_disk_ends_a_step_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(task: object) -> None:
        raise OSError(ENOSPC, "No space left on device", "/a/b")

    monkeypatch.setitem(step.STEPS, "configure", full)
    given = {"inputs": {}, "outputs": {"outputFile": "/a/c"}}
    assert step.main(["configure", "--executor-input", json.dumps(given)]) == 1
    said = capsys.readouterr().err
    assert said == "skelift step configure: error: /a/b: No space left on device\n"
