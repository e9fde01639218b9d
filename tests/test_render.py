"""kappa (Eq. 2), both paths of it, against the plain broadcast over pixels x limbs in float64."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny import load_skeleton
from torch import Tensor

from skelift import render
from skelift.render import Kappa

SIZE = 24
Path = Callable[[Kappa, Tensor], Tensor]
FORMS = [(25.0, False), (900.0, True)]


def fused(kappa: Kappa, u: Tensor) -> Tensor:
    """The CPU kernel."""
    return kappa(u)


def tensors(kappa: Kappa, u: Tensor) -> Tensor:
    """What runs where there is no kernel."""
    return render._OnDevice.apply(u, kappa)


PATHS = pytest.mark.parametrize("path", [fused, tensors])


def renderer(skeleton: str, sides: bool, gamma: float, squared: bool, size: int = SIZE) -> Kappa:
    return Kappa.of(load_skeleton(skeleton), size, sides=sides, gamma=gamma, squared=squared)


def random_poses(kappa: Kappa, count: int = 3, seed: int = 0) -> NDArray[np.float64]:
    """Poses whose joints partly lie outside of the image."""
    joints = kappa.bones.max() + 1
    return np.random.default_rng(seed).uniform(-1.1, 1.1, (count, joints, 2)).astype(np.float32)


def drawn_in_numpy(kappa: Kappa, u: NDArray[np.floating]) -> NDArray[np.float64]:
    """Eq. 2 word for word in float64, the minimum over r in closed form."""
    u = u.astype(np.float64)
    axis = (np.arange(kappa.size) + 0.5) * 2 / kappa.size - 1
    e = np.stack(np.meshgrid(axis, axis), -1)[None, :, :, None]  # (1, S, S, 1, 2)
    u_i, u_j = (u[:, None, None, kappa.bones[:, k]] for k in (0, 1))
    r = ((e - u_j) * (u_i - u_j)).sum(-1) / ((u_i - u_j) ** 2).sum(-1)
    r = r.clip(0, 1)[..., None]
    distance = np.linalg.norm(e - r * u_i - (1 - r) * u_j, axis=-1)
    nearest = np.stack(
        [distance[..., kappa.channel == c].min(-1) for c in range(kappa.channels)], 1
    )
    return np.exp(-kappa.gamma * (nearest**2 if kappa.squared else nearest))


def gradient_by_broadcast(
    kappa: Kappa, u: NDArray[np.floating], upstream: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Autograd through the plain broadcast, float64."""
    poses = torch.tensor(u, dtype=torch.float64, requires_grad=True)
    axis = (torch.arange(kappa.size, dtype=torch.float64) + 0.5) * 2 / kappa.size - 1
    e = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)[None, :, :, None]
    u_i, u_j = (poses[:, None, None, kappa.bones[:, k]] for k in (0, 1))
    r = ((e - u_j) * (u_i - u_j)).sum(-1) / ((u_i - u_j) ** 2).sum(-1)
    r = r.clamp(0, 1)[..., None]
    squares = (e - r * u_i - (1 - r) * u_j).square().sum(-1)
    own = [squares[..., torch.tensor(kappa.channel == c)].min(-1).values
           for c in range(kappa.channels)]  # fmt: skip
    nearest = torch.stack(own, 1)
    image = torch.exp(-kappa.gamma * (nearest if kappa.squared else nearest.sqrt()))
    image.backward(torch.tensor(upstream, dtype=torch.float64))
    return poses.grad.numpy()


@PATHS
@pytest.mark.parametrize(("gamma", "squared"), FORMS)
@pytest.mark.parametrize(
    ("skeleton", "sides"), [("h36m17", False), ("h36m17", True), ("hand21", True)]
)
def test_drawing_and_gradient_are_those_of_the_broadcast(
    skeleton: str, sides: bool, gamma: float, squared: bool, path: Path
) -> None:
    kappa = renderer(skeleton, sides, gamma, squared)
    poses = random_poses(kappa)
    u = torch.tensor(poses, requires_grad=True)
    image = path(kappa, u)
    np.testing.assert_allclose(image.detach(), drawn_in_numpy(kappa, poses), atol=1e-5)
    upstream = np.random.default_rng(1).normal(size=image.shape).astype(np.float32)
    image.backward(torch.tensor(upstream))
    expected = gradient_by_broadcast(kappa, poses, upstream)
    np.testing.assert_allclose(u.grad, expected, atol=1e-4 * np.abs(expected).max())


def test_channels_are_those_of_the_skeleton() -> None:
    assert renderer("h36m17", False, 25, False).channels == 1
    assert renderer("h36m17", True, 25, False).channels == 3  # left, right, centre
    assert renderer("hand21", True, 25, False).channels == 5  # fingers


@PATHS
@pytest.mark.parametrize(("gamma", "squared"), FORMS)
def test_limbs_are_as_wide_as_in_keypointgan(gamma: float, squared: bool, path: Path) -> None:
    """Half of the brightness 1.8 px off the limb at 128 px, in both forms."""
    kappa = Kappa(np.array([[0, 1]]), np.array([0]), 128, gamma, squared)
    middle = (2 * 64 + 1) / 128 - 1  # through the centres of row 64
    column = path(kappa, torch.tensor([[[-0.5, middle], [0.5, middle]]]))[0, 0, :, 64]
    assert column[64] == pytest.approx(1)
    assert column[65] > 0.5 > column[66]
    off = np.interp(0.5, column[64:70].numpy()[::-1], np.arange(6)[::-1])
    assert off == pytest.approx(1.8, abs=0.1)


@PATHS
@pytest.mark.parametrize("sides", [False, True])
def test_mirrored_pose_is_drawn_as_the_mirrored_image(sides: bool, path: Path) -> None:
    """Left and right are swapped, and so are the channels of the mirrored image."""
    skeleton = load_skeleton("h36m17")
    kappa = renderer("h36m17", sides, 25, False)
    u = torch.tensor(random_poses(kappa))
    mirrored = torch.cat([-u[..., :1], u[..., 1:]], -1)[:, skeleton.swap]
    swapped = {"left": "right", "right": "left", "centre": "centre"}
    names = skeleton.channel_names
    channels = [names.index(swapped[name]) for name in names] if sides else [0]
    expected = path(kappa, u).flip(3)[:, channels]
    torch.testing.assert_close(path(kappa, mirrored), expected, atol=2e-5, rtol=0)


@PATHS
def test_shifted_pose_is_drawn_shifted(path: Path) -> None:
    kappa = renderer("h36m17", False, 25, False)
    u = torch.tensor(random_poses(kappa) / 2)
    moved = u + torch.tensor([3, -2]) * 2 / SIZE
    expected = path(kappa, u)[:, :, 2:, :-3]
    torch.testing.assert_close(path(kappa, moved)[:, :, :-2, 3:], expected, atol=2e-5, rtol=0)


@PATHS
@pytest.mark.parametrize(("gamma", "squared"), FORMS)
def test_limb_without_length_is_a_dot(gamma: float, squared: bool, path: Path) -> None:
    """Both joints on a pixel's centre: no 0 / 0, not in the image and not in the gradient.

    All pixels pull alike from all sides but that one, whose direction is anybody's choice.
    """
    kappa = Kappa(np.array([[0, 1]]), np.array([0]), 9, gamma, squared)
    u = torch.zeros(1, 2, 2, requires_grad=True)
    image = path(kappa, u)
    assert image[0, 0, 4, 4].item() == pytest.approx(1, abs=1e-5)
    assert image.argmax() == 4 * 9 + 4
    image.sum().backward()
    assert u.grad.norm(dim=-1).max() <= (0.01 if squared else gamma)


@PATHS
def test_gradient_moves_a_pose_onto_a_drawing(path: Path) -> None:
    """What Eq. 9's second term is for: drawn near the target, the pose is pulled onto it."""
    kappa = renderer("h36m17", False, 25, False, size=32)
    target = torch.tensor(random_poses(kappa, count=1, seed=4) * 0.7)
    u = (target + 0.03).requires_grad_()
    adam = torch.optim.Adam([u], lr=3e-3)
    for _ in range(40):
        adam.zero_grad()
        (path(kappa, u) - path(kappa, target)).square().sum().backward()
        adam.step()
    assert (u - target).abs().mean() < 0.01
