"""scripts/full_size.sh, from rendering to report, with twenty steps on a CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "full_size.sh"
# The package's own bodies and motion stand for those of docs/datasets.md, which are not in it.
ASSETS = ["data.synth.bodies=assets", "data.synth.motion=assets"]


def run(folder: Path, *args: str) -> str:
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [str(SCRIPT), *args], cwd=folder, env=env, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.slow
def test_a_dry_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    full, lifters = run(tmp_path, "--dry").split(" -- ")
    dry = [*full.split(), *ASSETS, "--", *lifters.split(), *ASSETS]
    assert "out of time" in run(tmp_path, "out", "1", *dry)
    assert not (tmp_path / "data").exists()
    run(tmp_path, "out", "540", *dry)
    out = tmp_path / "out"
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["data"]["size"] == 48
    rows = (out / "stats.jsonl").read_text().splitlines()
    assert json.loads(rows[-1])["step"] == 20
    for name in ("model.safetensors", "model.json", "report.html"):
        assert (out / name).stat().st_size > 0
    log = (out / "stages.log").read_text()
    done = [line.split(" ", 1)[1].split(":")[0] for line in log.splitlines() if "code 0" in line]
    trained = ("full", "lifter_plain", "lifter", "lifter_varied")
    stages = ("prepare", "pretrain-flow", "train")
    expected = [f"{stage} {name}" for name in trained for stage in stages]
    assert done == [*expected, "evaluate full", "report full"]
    card = json.loads((out / "model.json").read_text())
    assert [run["name"] for run in card["lifters"]] == ["lifter_plain", "lifter_varied"]
    assert card["heads"] == ["upright", "refiner", "pose_facing", "front_back", "joint_facing"]
    assert card["model"]["lifter_width"] == 2 * 32
    assert run(tmp_path, "out", "540", *dry).strip() == "done"
