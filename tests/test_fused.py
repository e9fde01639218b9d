"""The CPU kernels of training give what torch gives in float64, on any number of threads."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu

from skelift.models import fused
from skelift.models.discriminator import Discriminator
from skelift.models.layers import BatchNormReLU, Enlarge, InstanceNorm
from skelift.models.lifter import Lifter
from skelift.models.omega import Omega
from skelift.models.phi import Phi

# Channels that fill lanes, that do not, and that are more than there are lanes; odd sides.
SHAPES = [
    (4, 8, 12, 12),
    (3, 16, 24, 24),
    (2, 3, 7, 5),
    (5, 1, 4, 6),
    (2, 128, 3, 3),
    (3, 70, 4, 2),
    (1, 8, 6, 6),
]


def image(*shape: int) -> Tensor:
    """Not centred, and of channels of different size."""
    rng = torch.Generator().manual_seed(sum(shape))
    spread = 0.5 + torch.rand(1, shape[1], 1, 1, generator=rng)
    x = torch.randn(shape, generator=rng) * spread + 1
    return x.to(memory_format=torch.channels_last)


def gradients(y: Tensor, of: list[Tensor]) -> list[Tensor]:
    """For an upstream gradient that is not constant."""
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
    return list(torch.autograd.grad((y * weights).sum(), of))


def check(mine: list[Tensor], exact: list[Tensor]) -> None:
    """To 1e-5 of the largest number."""
    for a, b in zip(mine, exact, strict=True):
        assert a.shape == b.shape
        assert (a - b).abs().max() <= 1e-5 * b.abs().max().clamp(min=1e-3)


@pytest.mark.parametrize("slope", [0.0, 0.2])
@pytest.mark.parametrize("shape", SHAPES)
def test_instance_norm(shape: tuple[int, ...], slope: float) -> None:
    x = image(*shape).requires_grad_()
    y = InstanceNorm(shape[1], slope)(x)
    assert "Norm" in type(y.grad_fn).__name__
    exact_x = x.detach().double().requires_grad_()
    exact = leaky_relu(nn.InstanceNorm2d(shape[1])(exact_x), slope)
    check([y, *gradients(y, [x])], [exact, *gradients(exact, [exact_x])])


@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "_LEAST_BATCH_NORM", 0)
    norm, plain = BatchNormReLU(shape[1]), nn.BatchNorm2d(shape[1]).double()
    for each in (norm, plain):
        nn.init.constant_(each.weight, 1.5)
        nn.init.constant_(each.bias, -0.25)
    x = image(*shape).requires_grad_()
    y = norm(x)
    assert "Norm" in type(y.grad_fn).__name__
    exact_x = x.detach().double().requires_grad_()
    exact = plain(exact_x).relu()
    of, exact_of = [x, norm.weight, norm.bias], [exact_x, plain.weight, plain.bias]
    check([y, *gradients(y, of)], [exact, *gradients(exact, exact_of)])
    for buffer in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.allclose(getattr(norm, buffer).double(), getattr(plain, buffer).double())


def test_weights_that_are_no_float32_are_not_read_as_such() -> None:
    x = image(2, 8, 4, 4)
    with pytest.raises(AssertionError):
        fused.batch_norm(x, torch.ones(8).double(), torch.zeros(8), 1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_enlarge(shape: tuple[int, ...]) -> None:
    x = image(*shape).requires_grad_()
    y = Enlarge()(x)
    exact_x = x.detach().double().requires_grad_()
    exact = interpolate(exact_x, scale_factor=2, mode="bilinear", align_corners=False)
    check([y, *gradients(y, [x])], [exact, *gradients(exact, [exact_x])])


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "phi": lambda: Phi(3, width=4),
    "omega": lambda: Omega(3, 5, width=4),
    "disc": lambda: nn.Sequential(Discriminator(3, width=4, scales=2)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_learn_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient of each weight, with the kernels and without."""
    monkeypatch.setattr(fused, "_LEAST_BATCH_NORM", 0)
    torch.manual_seed(0)
    network = NETWORKS[name]().to(memory_format=torch.channels_last)
    x = image(3, 3, 48, 48)

    def learned() -> list[Tensor]:
        answer = network(x)
        flat = torch.cat([a.flatten() for a in answer]) if name == "disc" else answer
        return gradients(flat, list(network.parameters()))

    mine = learned()
    monkeypatch.setattr(fused, "fits", lambda x: False)
    network.double()
    x = x.double()
    exact = learned()
    # Rounding lets single units fall to the other side of their kink.
    for a, b in zip(mine, exact, strict=True):
        assert (a - b).norm() <= 0.01 * max(b.norm(), 1e-3 * exact[0].norm())


def test_results_do_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "_LEAST_BATCH_NORM", 0)
    threads = torch.get_num_threads()
    x = image(6, 8, 16, 16).requires_grad_()
    layers = (InstanceNorm(8), BatchNormReLU(8), Enlarge())

    def made() -> list[Tensor]:
        answers = [layer(x) for layer in layers]
        return [*answers, *(g for y in answers for g in gradients(y, [x]))]

    try:
        torch.set_num_threads(1)
        alone = made()
        torch.set_num_threads(2)
        together = made()
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_predictions_keep_torchs_kernels() -> None:
    """What ships and is exported computes as it always did."""
    x = image(2, 8, 8, 8)
    assert fused.fits(x)
    with torch.no_grad():
        assert not fused.fits(x)
    assert not fused.fits(x.double())
    assert not fused.fits(x.bfloat16())
    assert not fused.fits(x.contiguous())
    eager = BatchNormReLU(8).eval()
    assert torch.equal(eager(x), nn.BatchNorm2d(8).eval()(x).relu())


def test_batches_that_need_no_gradient_are_read_as_one() -> None:
    torch.manual_seed(0)
    omega = Omega(3, 5, width=4).to(memory_format=torch.channels_last)
    s, drawn = image(2, 3, 16, 16), image(3, 3, 16, 16) / 2
    s.requires_grad_()
    apart = omega(s, drawn)
    together = omega(torch.cat([s, drawn]))
    of = [s, *omega.parameters()]
    check([apart, *gradients(apart, of)], [together, *gradients(together, of)])


def test_depths_are_those_of_the_whole_lifter() -> None:
    torch.manual_seed(0)
    lifter, y = Lifter(7, 16), torch.randn(4, 7, 2)
    assert torch.equal(lifter.depths(y), lifter(y)[0])
