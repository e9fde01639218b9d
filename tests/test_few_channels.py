"""Convolutions by blocks of pixels give what torch gives in float64."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from skelift.models import few_channels
from skelift.models.few_channels import Convolution

# Batch, channels, height, width, channels of the result, kernel.
SHAPES = [
    (2, 3, 48, 48, 8, 7),
    (3, 3, 5, 12, 8, 7),  # not square
    (2, 1, 4, 4, 8, 7),  # smaller than the kernel
    (1, 3, 16, 16, 5, 3),
    (2, 3, 8, 8, 1, 1),
    (2, 8, 8, 16, 3, 5),
]


def image(*shape: int) -> Tensor:
    rng = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=rng).to(memory_format=torch.channels_last)


@pytest.mark.parametrize(("batch", "inputs", "height", "width", "outputs", "kernel"), SHAPES)
def test_few_channels(
    batch: int, inputs: int, height: int, width: int, outputs: int, kernel: int
) -> None:
    torch.manual_seed(0)
    convolution = Convolution(inputs, outputs, kernel).to(memory_format=torch.channels_last)
    x = image(batch, inputs, height, width).requires_grad_()
    y = convolution(x)
    assert "Blocks" in type(y.grad_fn).__name__
    assert y.is_contiguous(memory_format=torch.channels_last)
    exact_x = x.detach().double().requires_grad_()
    weight = convolution.weight.detach().double().requires_grad_()
    exact = conv2d(exact_x, weight, padding=kernel // 2)
    upstream = image(batch, outputs, height, width)
    mine = torch.autograd.grad(y, [x, convolution.weight], upstream)
    truth = torch.autograd.grad(exact, [exact_x, weight], upstream.double())
    assert torch.equal(convolution(x.contiguous()), y)  # drawn poses lie so
    for a, b in zip([y, *mine], [exact, *truth], strict=True):
        assert a.shape == b.shape
        assert (a - b).abs().max() <= 1e-5 * b.abs().max()


def test_an_image_that_needs_no_gradient_gets_none() -> None:
    convolution = Convolution(3, 8, 7).to(memory_format=torch.channels_last)
    x = image(2, 3, 16, 16)
    convolution(x).sum().backward()
    assert x.grad is None
    assert convolution.weight.grad is not None


def test_all_else_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictions, many channels, widths that no blocks fill, other numbers and layouts."""

    def refuse(*_: Tensor) -> Tensor:
        raise AssertionError

    monkeypatch.setattr(few_channels._Blocks, "apply", refuse)
    few, many = (
        Convolution(3, count, 7).to(memory_format=torch.channels_last) for count in (8, 16)
    )
    x = image(2, 3, 16, 16)
    with pytest.raises(AssertionError):
        few(x)
    with torch.no_grad():
        few(x)
    with torch.autocast("cpu", torch.bfloat16):
        few(x)
    many(x)
    few(image(2, 3, 16, 18))
    few.double()(x.double())
    Convolution(3, 8, 7)(x.contiguous())
