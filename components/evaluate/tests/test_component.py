import json
from pathlib import Path

from components.conftest import TinyRun
from components.evaluate.component import evaluate
from components.testing import run_component


def test_scores_and_report_come_out(tiny_run: TinyRun, tmp_path: Path) -> None:
    model = tiny_run.trained["model"]
    outputs = run_component(evaluate, tmp_path, model=model, **tiny_run.inputs)
    rows = json.loads(Path(outputs["scores"].path).read_text())["rows"]
    shown = outputs["metrics"].metadata
    assert list(rows) == ["skelift", "mean_pose"]
    assert shown["p_mpjpe_mm"] == rows["skelift"]["overall"]["p_mpjpe_mm"]
    assert shown["label_free"] > 0
    assert outputs["scores"].metadata["headline"] == "p_mpjpe_mm"
    assert "<html" in Path(outputs["report"].path).read_text()
