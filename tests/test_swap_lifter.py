"""The lifter of other runs in a finished model: that of one of them, or the mean of several."""

import json
from pathlib import Path

import pytest
import torch
from tiny import load_skeleton
from torch import Tensor

from scripts.swap_lifter import swap_lifter
from skelift.config import ModelConfig
from skelift.data.format import DatasetInfo
from skelift.errors import InputError
from skelift.geometry import DELTA
from skelift.models.io import load_model, save_model
from skelift.models.pipeline import PosePipeline
from skelift.models.posenet import PoseNet

CPU = torch.device("cpu")


def model(folder: Path, width: int, scale: float, body: str = "h36m17") -> Path:
    """``folder``, with a model of random weights."""
    torch.manual_seed(width)
    skeleton = load_skeleton(body)
    config = ModelConfig(width=4, disc_width=8, lifter_width=width)
    data = DatasetInfo("tiny", skeleton, 32, 0.1, True, "drawn for tests", "Apache-2.0")
    core = PoseNet(config, skeleton, scale)
    save_model(folder, PosePipeline(core), config, data, {}, name="tiny", crop_side=0.4)
    return folder


def lifted(folder: Path, y: Tensor) -> tuple[Tensor, Tensor]:
    """Depths, in units of the poses y, and elevations."""
    core = load_model(folder, CPU)[0].core
    d, elevation = core.lifter(y / (core.scale * DELTA))
    return d * core.scale, elevation


@pytest.mark.parametrize("runs", [1, 3])
def test_the_lifter_is_the_mean_of_those_of_the_runs(tmp_path: Path, runs: int) -> None:
    base = model(tmp_path / "base", 16, 0.17)
    others = [model(tmp_path / f"run{n}", 8 + n, 0.2 + n / 100) for n in range(runs)]
    swap_lifter(base, others, tmp_path / "out")
    y = torch.randn(50, 17, 2)
    depths, elevations = zip(*(lifted(folder, y) for folder in others), strict=True)
    found = lifted(tmp_path / "out", y)
    torch.testing.assert_close(found[0], sum(depths) / runs, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found[1], sum(elevations) / runs, rtol=1e-5, atol=1e-6)

    ours, out = (load_model(folder, CPU)[0] for folder in (base, tmp_path / "out"))
    x = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(ours.predict_2d(x), out.predict_2d(x))
    card = json.loads((tmp_path / "out" / "model.json").read_text())
    assert [lifter["model"]["lifter_width"] for lifter in card["lifters"]] == [8, 9, 10][:runs]


def test_a_run_that_is_named_twice_counts_twice(tmp_path: Path) -> None:
    base = model(tmp_path / "base", 16, 0.17)
    one, other = model(tmp_path / "one", 8, 0.2), model(tmp_path / "other", 9, 0.2)
    swap_lifter(base, [one, one, other], tmp_path / "out")
    y = torch.randn(50, 17, 2)
    twice, once = lifted(one, y)[0], lifted(other, y)[0]
    found = lifted(tmp_path / "out", y)[0]
    torch.testing.assert_close(found, (2 * twice + once) / 3, rtol=1e-5, atol=1e-6)


def test_lifters_of_other_bodies_and_units_are_refused(tmp_path: Path) -> None:
    base, other = model(tmp_path / "base", 16, 0.17), model(tmp_path / "hand", 8, 0.2, "hand21")
    with pytest.raises(InputError, match=r"hand: of skeleton .*, not "):
        swap_lifter(base, [base, other], tmp_path / "out")
    file = base / "model.json"
    file.write_text(file.read_text().replace('"units": "camera"', '"units": "crop"'))
    with pytest.raises(InputError, match=r"base: its model\.units is crop, not camera"):
        swap_lifter(model(tmp_path / "ours", 16, 0.17), [base], tmp_path / "out")
    assert not (tmp_path / "out").exists()
