"""Triton's kernels against float64 on the CPU: on a GPU, else in Triton's interpreter.

Triton comes with torch's CUDA builds; where it is not installed there is nothing to test.
"""

import os
import subprocess
import sys

import pytest
import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def test_kernels_in_the_interpreter() -> None:
    """The same checks without a GPU, in a process of its own: the mode is chosen on import."""
    pytest.importorskip("triton", reason="Triton comes with the CUDA builds of torch")
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", __file__]
    env = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout


@pytest.mark.gpu
@pytest.mark.parametrize("sides", [False, True])
@pytest.mark.parametrize(("gamma", "squared"), [(25.0, False), (900.0, True)])
@pytest.mark.parametrize("size", [24, 40])
def test_kappa(size: int, gamma: float, squared: bool, sides: bool) -> None:
    from tiny import load_skeleton

    from skelift import render_cuda, render_device
    from skelift.render import Kappa

    kappa = Kappa.of(load_skeleton("h36m17"), size, sides=sides, gamma=gamma, squared=squared)
    rng = torch.Generator().manual_seed(size)
    u = (2.2 * torch.rand(3, 17, 2, generator=rng) - 1.1).to(DEVICE)
    upstream = torch.randn(3, kappa.channels, size, size, generator=rng).to(DEVICE)
    drawn, nearest = render_cuda.draw(u, kappa.limbs, size, kappa.fall_off)
    exact = render_device.draw(u.double(), kappa.limbs, size, kappa.fall_off)
    torch.testing.assert_close(drawn.double(), exact[0], atol=1e-5, rtol=0)
    moved = render_cuda.gradient(u, kappa.limbs, kappa.fall_off, drawn, nearest, upstream)
    expected = render_device.gradient(
        u.double(), kappa.limbs, kappa.fall_off, *exact, upstream.double()
    )
    atol = 1e-4 * expected.abs().max().item()
    torch.testing.assert_close(moved.double(), expected, atol=atol, rtol=0)
    again = render_cuda.gradient(u, kappa.limbs, kappa.fall_off, drawn, nearest, upstream)
    assert torch.equal(again, moved)


@pytest.mark.gpu
@pytest.mark.parametrize("slope", [0.0, 0.2])
@pytest.mark.parametrize("shape", [(2, 24, 13, 11), (3, 40, 4, 4), (1, 3, 16, 16)])
def test_instance_norm(shape: tuple[int, int, int, int], slope: float) -> None:
    from torch.nn.functional import instance_norm, leaky_relu

    from skelift.models import fused_cuda

    rng = torch.Generator().manual_seed(0)
    x = (3 * torch.randn(shape, generator=rng) + 20).to(DEVICE)
    x = x.to(memory_format=torch.channels_last).requires_grad_()
    upstream = torch.randn(shape, generator=rng).to(DEVICE)
    y = fused_cuda.instance_norm(x, 1e-5, slope)
    y.backward(upstream)
    exact = x.detach().double().requires_grad_()
    expected = leaky_relu(instance_norm(exact, eps=1e-5), slope)
    expected.backward(upstream.double())
    torch.testing.assert_close(y.double(), expected, atol=2e-5, rtol=0)
    assert x.grad is not None
    assert exact.grad is not None
    torch.testing.assert_close(x.grad.double(), exact.grad, atol=1e-5, rtol=1e-4)
