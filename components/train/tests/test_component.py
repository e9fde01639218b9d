from pathlib import Path

import pytest
from safetensors.torch import load_file

from components.conftest import TinyRun
from components.testing import run_component
from components.train.component import train
from skelift.training import trainer


def test_model_and_losses_come_out(tiny_run: TinyRun) -> None:
    outputs = tiny_run.trained
    assert (Path(outputs["model"].path) / "model.safetensors").exists()
    assert outputs["model"].metadata["steps"] == 6
    assert outputs["metrics"].metadata["step"] == 6
    assert any(name.startswith("loss_") for name in outputs["metrics"].metadata)


def test_killed_training_goes_on_from_its_checkpoint(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    whole, taken = trainer.Trainer.step, []

    def step(trainer: object, number: int) -> object:
        taken.append(number)
        if len(taken) == 5:
            raise Killed
        return whole(trainer, number)  # type: ignore[arg-type]

    monkeypatch.setattr(trainer.Trainer, "step", step)
    arguments = {**tiny_run.inputs, "checkpoints": str(tmp_path / "volume")}
    with pytest.raises(Killed):
        run_component(train, tmp_path / "first", **arguments)
    outputs = run_component(train, tmp_path / "second", **arguments)
    assert taken == [0, 1, 2, 3, 4, 4, 5]
    resumed, unbroken = (
        load_file(Path(o["model"].path) / "model.safetensors") for o in (outputs, tiny_run.trained)
    )
    assert resumed.keys() == unbroken.keys()
    assert all(bool((resumed[name] == unbroken[name]).all()) for name in resumed)
