import json
from pathlib import Path

import numpy as np

from components.conftest import TinyRun


def test_flow_and_its_likelihood_come_out(tiny_run: TinyRun) -> None:
    flow = tiny_run.flow
    about = json.loads((Path(flow.path) / "flow.json").read_text())
    assert (Path(flow.path) / "flow.safetensors").exists()
    assert flow.metadata["nll_held_out"] == about["nll_held_out"]
    assert np.isfinite(about["nll_held_out"])
