"""The lifter of other runs in a finished model: that of one of them, or the mean of several."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny import load_skeleton
from torch import Tensor

from scripts.swap_lifter import random_poses, swap_lifter
from skelift.config import ModelConfig
from skelift.data.format import DatasetInfo
from skelift.errors import InputError
from skelift.geometry import DELTA
from skelift.models.io import load_model, save_model, write_model
from skelift.models.lifter import Lifter
from skelift.models.pipeline import PosePipeline
from skelift.models.posenet import PoseNet

CPU = torch.device("cpu")


def model(folder: Path, width: int, scale: float, body: str = "h36m17") -> Path:
    """``folder``, with a model of random weights that mostly agrees with others on depths."""
    torch.manual_seed(width)
    skeleton = load_skeleton(body)
    config = ModelConfig(width=4, disc_width=8, lifter_width=width)
    data = DatasetInfo("tiny", skeleton, 32, 0.1, True, "drawn for tests", "Apache-2.0")
    core = PoseNet(config, skeleton, scale)
    core.lifter.depth[-1].bias.data = torch.linspace(-3, 3, len(skeleton))  # so that they agree
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


def change(folder: Path, how: Callable[[Lifter], object]) -> Path:
    """``folder``, with its model's lifter changed."""
    pipeline, card = load_model(folder, CPU)
    how(pipeline.core.lifter)
    write_model(folder, pipeline, card)
    return folder


def test_a_lifter_mirrored_in_depth_is_refused(tmp_path: Path) -> None:
    one, other = model(tmp_path / "one", 8, 0.2), model(tmp_path / "other", 9, 0.2)
    twin = change(model(tmp_path / "twin", 9, 0.2), Lifter.mirror_depth)
    said = rf"twin: its depths contradict those of {one} \(correlation -0\.\d+\)"
    with pytest.raises(InputError, match=said):
        swap_lifter(one, [one, other, twin], tmp_path / "out")
    swap_lifter(one, [twin], tmp_path / "out")  # its own lifter may be a failed one


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    base, broken = model(tmp_path / "base", 16, 0.17), model(tmp_path / "broken", 8, 0.2)
    change(broken, lambda lifter: lifter.depth[-1].bias.data[:1].fill_(float("nan")))
    with pytest.raises(InputError, match=r"broken: its weights core\.lifter\.depth\.2\.bias are"):
        swap_lifter(base, [broken], tmp_path / "out")


def test_random_poses_have_the_bones_of_their_skeleton() -> None:
    skeleton = load_skeleton("h36m17")
    y = random_poses(skeleton)
    assert y.shape == (500, 17, 2)
    assert y[:, skeleton.root_index].abs().max() == 0
    # A bone of length l looks at most l long; here over root to head and DELTA, and perspective.
    bones = torch.as_tensor(skeleton.bone_indices)
    seen = (y[:, bones[:, 0]] - y[:, bones[:, 1]]).norm(dim=-1).quantile(0.9, dim=0)
    lengths = torch.tensor(skeleton.bone_lengths_mm)
    torch.testing.assert_close(seen / seen.mean(), lengths / lengths.mean(), rtol=0.1, atol=0)


def swap(*arguments: object, limit: str = "unlimited") -> "subprocess.CompletedProcess[str]":
    """The script, which may write files of ``limit`` blocks."""
    shell = f'ulimit -f {limit}; exec "$0" -m scripts.swap_lifter "$@"'
    command = ["bash", "-c", shell, sys.executable, *map(str, arguments)]
    root = Path(__file__).parents[1]
    return subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)


@pytest.mark.parametrize("named", ["model", "lifter", "older"])
def test_no_model_is_replaced(named: str, tmp_path: Path) -> None:
    places = {name: model(tmp_path / name, 8, 0.2) for name in ("model", "lifter", "older")}
    before = (places[named] / "model.safetensors").read_bytes()
    ended = swap(places["model"], places["lifter"], "--out", places[named])
    said = f"{places[named]}: is a model, and would be replaced; name a new folder"
    assert (ended.returncode, ended.stderr) == (2, f"swap_lifter: error: {said}\n")
    assert (places[named] / "model.safetensors").read_bytes() == before


def test_out_has_to_be_named(tmp_path: Path) -> None:
    ended = swap(*(model(tmp_path / name, 8, 0.2) for name in ("model", "lifter", "other")))
    assert ended.returncode == 2
    assert "--out" in ended.stderr


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    base, out = model(tmp_path / "base", 8, 0.2), tmp_path / "out"
    ended = swap(base, base, "--out", out, limit="40")
    said = f"swap_lifter: error: {out / 'model.safetensors'}: File too large\n"
    assert (ended.returncode, ended.stderr) == (1, said)
    assert not out.exists()
