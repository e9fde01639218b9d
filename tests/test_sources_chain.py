"""Each public data set, in its own layout, goes through every stage on a tiny model."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layouts import write_3dhp, write_h36m, write_handdb, write_simplified
from tiny_run import overrides

from skelift.config import compose
from skelift.data.format import Dataset
from skelift.stages import evaluate, prepare, pretrain_flow, report, train, validate

STEPS = [
    "train.steps=20",
    "flow.pca=8",
    "evaluate.baselines=[mean_pose]",
    "evaluate.shown=3",
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "write", "more", "has_3d"),
    [
        ("h36m", write_h36m, [], True),
        ("h36m", partial(write_simplified, frames=40), ["model.units=crop"], False),
        ("mpi_inf_3dhp", write_3dhp, [], True),
        ("handdb", write_handdb, ["model.units=crop"], False),
    ],
    ids=["h36m", "h36m_simplified", "mpi_inf_3dhp", "handdb"],
)
def test_from_layout_to_report(
    tmp_path: Path, name: str, write: Callable[[Path], Any], more: list[str], has_3d: bool
) -> None:
    write(tmp_path / "root")
    options = [f"data.{name}.root={tmp_path / 'root'}", f"paths.reports={tmp_path / 'reports'}"]
    config = compose([f"data={name}", *overrides(tmp_path, "run", *STEPS, *options, *more)])
    for stage in (prepare, validate, pretrain_flow, train):
        stage.run(config)
    metrics = json.loads(evaluate.run(config).read_text())
    page = report.run(config).read_text()
    scores = metrics["rows"]["skelift"]["overall"]
    data = Dataset(config.paths.data)
    assert scores["images"] == data.counts["test"]
    assert np.isfinite(scores["error_2d_px"])
    if has_3d:
        assert set(metrics["rows"]) == {"skelift", "mean_pose"}
        assert np.isfinite([scores["p_mpjpe_mm"], scores["pck_150"], scores["auc"]]).all()
        named = metrics["protocol"]["joints"]
        assert ("thorax" in named.split(";")[0]) == (name == "mpi_inf_3dhp")
    else:
        assert set(metrics["rows"]) == {"skelift"}
        assert not any("3d" in key or "mm" in key or "pck" in key for key in scores)
        assert "No 3D score is claimed" in page
