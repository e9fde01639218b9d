import json
from pathlib import Path

import pytest

from components.conftest import TinyRun
from components.sweep.component import choose, trial
from components.testing import run_component
from skelift.config import compose


@pytest.mark.slow
def test_winner_of_two_trials_configures_the_final_training(
    tiny_run: TinyRun, tmp_path: Path
) -> None:
    trials = [run_component(trial, tmp_path / str(n), number=n, **tiny_run.inputs) for n in (0, 1)]
    results = [json.loads(outputs["result"]) for outputs in trials]
    assert [result["number"] for result in results] == [0, 1]
    assert results[0]["values"] == {}
    assert results[1]["values"]

    # Whoever has the lower score wins: here the second one, by a changed score.
    results[1]["score"] = results[0]["score"] - 1
    outputs = run_component(
        choose, tmp_path / "best", config=tiny_run.config, results=[json.dumps(r) for r in results]
    )
    best, asked = compose((), Path(outputs["best"].path)), compose((), Path(tiny_run.config.path))
    assert outputs["metrics"].metadata["trial"] == 1
    key, value = next(iter(results[1]["values"].items()))
    group, name = key.split(".")
    assert getattr(getattr(best, group), name) == value
    assert best.train.steps == asked.train.steps
