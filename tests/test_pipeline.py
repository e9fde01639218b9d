"""dvc.yaml and params.yaml agree with the package; the whole pipeline runs, tiny, in a clone."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from skelift.cli import STAGES
from skelift.config import compose, to_yaml

ROOT = Path(__file__).parents[1]
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
ORDER = ["prepare", "validate", "pretrain-flow", "train", "evaluate", "report"]
TINY = [
    "data.size=32",
    "model.disc_scales=1",
    "data.synth.train=96",
    "data.synth.test=32",
    "data.synth.prior=256",
    "data.synth.workers=1",
    "flow.steps=20",
    "flow.hidden=16",
    "flow.blocks=2",
    "train.steps=24",
    "train.batch=4",
    "train.interval=2",
    "train.checkpoint_every=2",
    "evaluate.lifter_steps=10",
    "evaluate.unsupervised_steps=10",
    "evaluate.image_steps=4",
    "evaluate.lifter_batch=16",
]


def test_params_are_what_the_experiment_composes() -> None:
    composed = to_yaml(compose(["experiment=quickstart"]))
    assert (ROOT / "params.yaml").read_text() == composed, (
        "stale; run `make params EXPERIMENT=quickstart`"
    )


def test_stages_are_verbs_in_order() -> None:
    assert list(PIPELINE) == ORDER
    for name, stage in PIPELINE.items():
        assert name in STAGES
        more = " train.restart=true" if name == "train" else ""
        assert stage["cmd"] == f"skelift {name} --config params.yaml{more}"


@pytest.mark.parametrize("name", ORDER)
def test_stage_depends_on_code_and_parameters_that_exist(name: str) -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for dependency in PIPELINE[name]["deps"]:
        assert dependency.startswith("${paths.") or (ROOT / dependency).exists()
    for key in PIPELINE[name].get("params", []):
        section: Any = params
        for part in key.split("."):
            section = section[part]


def test_checkpoints_are_not_an_output() -> None:
    paths = compose().paths
    outputs = [getattr(paths, part) for part in ("data", "flow", "model", "reports")]
    assert not any(Path(paths.checkpoints).is_relative_to(output) for output in outputs)


class Clone:
    """A repository of its own that holds the working tree's files, with tiny settings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shown = self._run("git", "ls-files", "-co", "--exclude-standard", "-z", at=ROOT)
        for name in filter(None, shown.split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        (folder / "dvc.lock").unlink(missing_ok=True)
        (folder / "params.yaml").write_text(to_yaml(compose(TINY)))
        self._run("git", "init", "--quiet")
        self.commit()

    def commit(self) -> None:
        self._run("git", "add", "--all")
        self._run("git", "commit", "--quiet", "--message", "state")

    def dvc(self, *arguments: str) -> str:
        return self._run(str(Path(sys.executable).with_name("dvc")), *arguments)

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        command = [str(Path(sys.executable).with_name("dvc")), *arguments]
        return subprocess.Popen(
            command, cwd=self.folder, env=self.environment(), start_new_session=True
        )

    def environment(self) -> dict[str, str]:
        identity = {
            f"GIT_{role}_{part}": f"{part.lower()}@example.org"
            for role in ("AUTHOR", "COMMITTER")
            for part in ("NAME", "EMAIL")
        }
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return {**os.environ, **identity, "PATH": path, "OMP_NUM_THREADS": "1"}

    def _run(self, *command: str, at: Path | None = None) -> str:
        done = subprocess.run(
            command, cwd=at or self.folder, env=self.environment(), capture_output=True, text=True
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.mark.slow
def test_pipeline_runs_once_and_varies(tmp_path: Path) -> None:
    clone = Clone(tmp_path)
    paths = compose().paths

    clone.dvc("repro")
    metrics = json.loads((tmp_path / paths.reports / "metrics.json").read_text())
    assert metrics["rows"][metrics["model"]]["overall"]["p_mpjpe_mm"] > 0
    page = (tmp_path / paths.reports / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "up to date" in clone.dvc("repro")
    clone.commit()

    clone.dvc("exp", "run", "-S", "train.steps=30")
    rerun = yaml.safe_load((tmp_path / "params.yaml").read_text())["train"]["steps"]
    assert rerun == 30
    changed = json.loads(clone.dvc("params", "diff", "--json"))["params.yaml"]
    assert changed == {"train.steps": {"old": 24, "new": 30, "diff": 6}}
    compared = json.loads(clone.dvc("metrics", "diff", "--json"))
    assert any(key.endswith("p_mpjpe_mm") for key in compared[f"{paths.reports}/metrics.json"])

    clone.dvc("plots", "diff", "HEAD", "--out", "plots")
    assert "loss" in (tmp_path / "plots/index.html").read_text()


@pytest.mark.slow
def test_killed_repro_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    clone = Clone(tmp_path)
    paths = compose().paths
    clone.dvc("repro", "pretrain-flow")
    kept = tmp_path / paths.checkpoints / "stats.jsonl"

    killed = clone.start("repro", "train")
    while killed.poll() is None and not (kept.exists() and kept.read_text().count("\n") > 3):
        time.sleep(0.02)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / paths.model / "model.safetensors").exists()
    first = kept.read_text().splitlines()[0]

    clone.dvc("repro", "train")
    # The line holds the speed at the time: only the run that was killed can have written it.
    assert (tmp_path / paths.model / "stats.jsonl").read_text().splitlines()[0] == first
