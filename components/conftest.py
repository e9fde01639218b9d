"""One tiny run, whose artifacts the components' tests share."""

from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl
from tiny import know_motion, tiny_dataset

from components.configure.component import configure
from components.evaluate.component import evaluate
from components.pretrain_flow.component import pretrain_flow
from components.testing import artifact, run_component
from components.train.component import train

TINY = [
    "data.size=32",
    "model.width=4",
    "model.disc_width=8",
    "model.disc_scales=1",
    "model.lifter_width=32",
    "flow.hidden=16",
    "flow.blocks=2",
    "train.batch=4",
    "train.interval=2",
    "train.checkpoint_every=2",
    "train.precision=fp32",
    "train.dvclive=false",
    "heads.front_back.steps=10",
    "heads.refiner.steps=10",
    "evaluate.baselines=[mean_pose]",
    "evaluate.shown=2",
    "sweep.overrides=['train.steps=2','heads.refiner.enabled=false','heads.front_back.enabled=false']",
]


class TinyRun:
    """Artifacts of a run, each made when the first test asks for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def config(self) -> dsl.Artifact:
        """params.yaml."""
        asked = {"experiment": "quickstart", "overrides": TINY, "train_steps": 6, "flow_steps": 10}
        return self._run("config", configure, sweep_trials=2, **asked)["config"]

    @cached_property
    def data(self) -> dsl.Artifact:
        """A data set of stick people."""
        folder = tiny_dataset(self.folder / "data", size=32)
        know_motion(folder)
        return artifact(dsl.Dataset, folder, "data")

    @cached_property
    def flow(self) -> dsl.Artifact:
        """The flow."""
        return self._run("flow", pretrain_flow, config=self.config, data=self.data)["flow"]

    @cached_property
    def inputs(self) -> dict[str, dsl.Artifact]:
        """What most components take."""
        return {"config": self.config, "data": self.data, "flow": self.flow}

    @cached_property
    def trained(self) -> dict[str, Any]:
        """Outputs of the training."""
        return self._run("train", train, **self.inputs)

    @cached_property
    def evaluated(self) -> dict[str, Any]:
        """Outputs of the evaluation."""
        return self._run("evaluate", evaluate, model=self.trained["model"], **self.inputs)

    def _run(self, name: str, component: Any, **arguments: Any) -> dict[str, Any]:
        return run_component(component, self.folder / name, **arguments)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """The run that the tests share."""
    return TinyRun(tmp_path_factory.mktemp("components"))
