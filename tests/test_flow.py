"""The flow over 2D poses (Eq. 7-8): determinant, density, PCA, and that it learns poses."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import tiny_dataset
from torch import nn

from skelift.config import FlowConfig
from skelift.data.format import Dataset
from skelift.data.loading import PoseLoader
from skelift.errors import InputError
from skelift.files import read_json
from skelift.geometry import normalise
from skelift.models.flow import CouplingBlock, PoseFlow
from skelift.training.flow import load_flow, pretrain

CPU = torch.device("cpu")


def scrambled(joints: int, pca: int, strength: float = 1.0) -> PoseFlow:
    """A flow whose every weight matters, in float64."""
    torch.manual_seed(0)
    flow = PoseFlow(joints, pca, blocks=3, hidden=8)
    for block in flow.blocks:
        nn.init.normal_(block.subnet[-1].weight, std=5 * strength)
        nn.init.normal_(block.subnet[-1].bias, std=strength)
        nn.init.normal_(block.scale, std=strength)
        nn.init.normal_(block.offset, std=strength / 2)
    return flow.double()


def test_log_determinant_is_that_of_the_jacobian() -> None:
    flow = scrambled(joints=5, pca=7)
    for y_bar in torch.randn(4, 7, dtype=torch.float64):
        jacobian = torch.autograd.functional.jacobian(lambda x: flow(x[None])[0][0], y_bar)
        expected = torch.linalg.slogdet(jacobian)
        _, log_det = flow(y_bar[None])
        assert expected.sign == 1  # rotations without reflection, positive scales
        assert log_det.item() == pytest.approx(expected.logabsdet.item(), rel=1e-9)


def test_density_integrates_to_one() -> None:
    """Eq. 7 on a grid: 2 joints, 2 coefficients, which are the first two coordinates."""
    flow = scrambled(joints=2, pca=2, strength=0.5)
    axis = torch.arange(-25, 25, 0.04, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    y = torch.zeros(len(grid), 2, 2, dtype=torch.float64)
    y[:, 0] = grid
    with torch.no_grad():
        density = torch.exp(-flow.nll(y)) / (2 * math.pi)  # of N = 2 coefficients
    assert (density.sum() * 0.04**2).item() == pytest.approx(1, abs=1e-3)
    assert density[axis.abs().max() == grid.abs().amax(1)].max() < 1e-6  # none beyond the grid


def test_untrained_flow_is_a_standard_normal() -> None:
    flow, y = PoseFlow(5, pca=7), torch.randn(3, 5, 2)
    expected = 0.5 * y.flatten(1)[:, :7].square().sum(1)
    torch.testing.assert_close(flow.nll(y), expected)


def test_each_blocks_rotation_is_its_own_and_the_seeds() -> None:
    flow, again, other = (PoseFlow(17, seed=seed) for seed in (1, 1, 2))
    for block in flow.blocks:
        identity = block.rotation @ block.rotation.T
        torch.testing.assert_close(identity, torch.eye(26), atol=1e-5, rtol=0)
        assert torch.linalg.det(block.rotation).item() == pytest.approx(1, abs=1e-4)
    rotations = [[b.rotation for b in f.blocks] for f in (flow, again, other)]
    assert all(torch.equal(a, b) for a, b in zip(rotations[0], rotations[1], strict=True))
    assert not torch.allclose(rotations[0][0], rotations[2][0])
    assert not torch.allclose(rotations[0][0], rotations[0][1])


def test_coupling_scales_are_clamped() -> None:
    """2 tanh(0.1 a): a wild subnet moves the density by at most e^2 a coefficient."""
    block = CouplingBlock(6, 4, torch.Generator().manual_seed(0))
    nn.init.normal_(block.subnet[-1].weight, std=1e4)
    _, log_det = block(torch.randn(20, 6))
    assert log_det.abs().max() <= 3 * 2 + 1e-4
    assert log_det.abs().max() > 1


def test_pca_is_centred_and_not_whitened() -> None:
    rng = np.random.default_rng(0)
    y = (rng.normal(size=(200, 12)) @ rng.normal(size=(12, 12)) + 3).reshape(200, 6, 2)
    flow = PoseFlow(6, pca=4)
    flow.fit_pca(torch.tensor(y, dtype=torch.float32))
    flat = y.reshape(200, 12)
    _, singular, vectors = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
    np.testing.assert_allclose(flow.mean, flat.mean(0), rtol=1e-5)
    y_bar = flow.project(torch.tensor(y, dtype=torch.float32)).numpy()
    expected = (flat - flat.mean(0)) @ vectors[:4].T
    np.testing.assert_allclose(np.abs(y_bar), np.abs(expected), atol=1e-3)  # up to the signs
    np.testing.assert_allclose(y_bar.std(0), singular[:4] / np.sqrt(200), rtol=1e-4)


def test_more_coefficients_than_a_pose_has_are_refused() -> None:
    PoseFlow(5, pca=8)
    with pytest.raises(InputError, match=r"flow\.pca=9"):
        PoseFlow(5, pca=9)


@pytest.mark.parametrize(("joints", "coefficients"), [(17, 26), (21, 26), (14, 26), (10, 18)])
def test_coefficients_fit_the_skeleton(joints: int, coefficients: int) -> None:
    flow = PoseFlow(joints, hidden=4)
    poses = torch.randn(64, joints, 2)
    poses -= poses[:, :1]
    flow.fit_pca(poses)
    assert flow.project(poses).shape == (64, coefficients)
    assert flow.nll(poses).isfinite().all()


CONFIG = FlowConfig(hidden=32, blocks=4, steps=200, batch=64, learning_rate=3e-3, noise=0.05)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("flow") / "data"
    return Dataset(tiny_dataset(folder, train=4, test=4, prior=400))


@pytest.fixture(scope="module")
def trained(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrain(data, CONFIG, "camera", tmp_path_factory.mktemp("flow") / "flow", CPU)


def prior_poses(data: Dataset, scale: float) -> torch.Tensor:
    relative = PoseLoader(data.prior, data.info.size, CPU).root_relative(0, "camera")
    return normalise(relative, scale)


def test_pretraining_keeps_the_best_of_the_held_out_clips(data: Dataset, trained: Path) -> None:
    report = read_json(trained / "flow.json", "")
    held_out = [row["nll_held_out"] for row in report["history"]]
    assert report["nll_held_out"] == min(held_out) < held_out[0]
    assert report["pca"] == 26
    flow = load_flow(trained, len(data.skeleton), CONFIG, CPU)
    assert flow.units == "camera"
    relative = PoseLoader(data.prior, data.info.size, CPU).root_relative(0, "camera")
    typical = relative[:, data.skeleton.head_index].norm(dim=1).mean().item()
    assert flow.scale == pytest.approx(typical) == pytest.approx(report["scale"])
    assert not any(p.requires_grad for p in flow.flow.parameters())


def test_trained_flow_tells_poses_from_nonsense(data: Dataset, trained: Path) -> None:
    flow = load_flow(trained, len(data.skeleton), CONFIG, CPU)
    poses = prior_poses(data, flow.scale)
    nll = flow.flow.nll(poses).mean()
    for nonsense in (
        poses[:, torch.randperm(len(data.skeleton))],  # joints in the wrong places
        -poses,  # upside down
        poses * 2,  # twice as large
    ):
        assert flow.flow.nll(nonsense).mean() > nll + 5


def test_pretraining_is_repeatable(data: Dataset, tmp_path: Path) -> None:
    short = replace(CONFIG, steps=20)
    weights = [
        (pretrain(data, short, "camera", tmp_path / name, CPU) / "flow.safetensors").read_bytes()
        for name in ("a", "b")
    ]
    assert weights[0] == weights[1]


def test_flow_of_another_shape_is_refused(data: Dataset, trained: Path) -> None:
    for key, other in {"pca": 20, "blocks": 8, "hidden": 64}.items():
        said = rf"flow\.safetensors: a flow of flow\.{key}=\d+, .* has flow\.{key}={other}; set"
        with pytest.raises(InputError, match=said):
            load_flow(trained, len(data.skeleton), replace(CONFIG, **{key: other}), CPU)
    with pytest.raises(InputError, match=r"flow\.safetensors: does not fit .*pretrain-flow"):
        load_flow(trained, len(data.skeleton) - 1, CONFIG, CPU)
    with pytest.raises(InputError, match=r"not found.*pretrain-flow"):
        load_flow(trained / "nowhere", len(data.skeleton), CONFIG, CPU)
