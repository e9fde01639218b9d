import json
from pathlib import Path

import pytest
from kfp import dsl

from components.conftest import TinyRun
from components.gate.component import gate
from components.testing import artifact, refusal, run_component
from skelift.evaluation.gate import is_better


def metrics(score: float, name: str = "p_mpjpe_mm") -> dict[str, object]:
    return {
        "data": {"name": "tiny"},
        "model": "skelift",
        "rows": {"skelift": {"overall": {name: score}}},
    }


@pytest.mark.parametrize(
    ("score", "champion", "threshold", "better"),
    [
        (100, 101, 0.0, True),
        (100, 100, 0.0, False),
        (100, 101, 0.02, False),
        (98, 101, 0.02, True),
        (100, None, 0.5, True),
    ],
)
def test_better_by_the_threshold(
    score: float, champion: float | None, threshold: float, better: bool
) -> None:
    theirs = None if champion is None else metrics(champion)
    assert is_better(metrics(score), theirs, threshold).better is better


def test_label_free_score_decides_without_truth() -> None:
    verdict = is_better(metrics(20, "label_free"), metrics(30, "label_free"), 0.1)
    assert verdict.better
    assert "label_free" in verdict.reason


def test_champion_is_scored_on_the_same_images(tiny_run: TinyRun, tmp_path: Path) -> None:
    model = tiny_run.trained["model"]
    inputs = {
        **tiny_run.inputs,
        "scores": tiny_run.evaluated["scores"],
        "champion": str(tmp_path / "champion"),
    }
    first = run_component(gate, tmp_path / "first", **inputs)
    assert first["better"] is True

    (tmp_path / "champion").mkdir()
    (tmp_path / "champion" / "model").symlink_to(model.path)
    second = run_component(gate, tmp_path / "second", **inputs)
    assert second["better"] is False  # it is the same model
    shown = second["metrics"].metadata
    assert shown["champion_p_mpjpe_mm"] == pytest.approx(shown["p_mpjpe_mm"], rel=1e-6)


def test_threshold_is_a_share(tiny_run: TinyRun, tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    file.write_text(json.dumps(metrics(1)))
    inputs = tiny_run.inputs | {"scores": artifact(dsl.Artifact, file, "scores")}
    assert "gate_threshold=5.0" in refusal(gate, tmp_path / "out", threshold=5.0, **inputs)
