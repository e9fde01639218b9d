"""What a stage costs is noted where it is asked for, beside what is known of others."""

import time
from pathlib import Path

import pytest

from skelift.errors import InputError
from skelift.times import VARIABLE, noted, read_costs


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "reports/times.json"
    monkeypatch.setenv(VARIABLE, str(path))
    return path


def test_stages_stand_beside_each_other_and_the_last_run_counts(file: Path) -> None:
    for stage in ("prepare", "train", "prepare"):
        with noted(stage):
            time.sleep(0.02)
    costs = read_costs(file)
    assert list(costs) == ["prepare", "train"]
    assert all(cost.seconds >= 0.02 for cost in costs.values())
    # Of the whole process: the last stage comes after all the others.
    assert costs["prepare"].cpu_seconds >= costs["train"].cpu_seconds > 0


def test_nothing_is_noted_of_a_stage_that_fails_or_unasked(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="no images"), noted("train"):
        raise InputError("no images")
    monkeypatch.delenv(VARIABLE)
    with noted("train"):
        pass
    assert not file.exists()
    assert not read_costs(file)


@pytest.mark.parametrize("content", ["{", "[1]", '{"train": {"hours": 1}}', '{"train": 3}'])
def test_a_broken_file_stops_a_stage_before_it_runs(content: str, file: Path) -> None:
    file.parent.mkdir()
    file.write_text(content)
    with pytest.raises(InputError, match=r"times\.json: .*removing it"), noted("train"):
        pytest.fail("the stage has run")
