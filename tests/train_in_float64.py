"""``skelift train`` in double precision: ``python -m torch.distributed.run ... FILE OVERRIDES``.

In fp32 a run from scratch is badly conditioned: weights that differ by 1e-7 give first gradients
of Phi that differ by some per cent, so fp32 curves cannot tell a fault from rounding. In float64
they can.
"""

import sys

import torch
from torch import Tensor

from skelift import render
from skelift.config import compose
from skelift.render import Kappa
from skelift.stages import train


def draw(kappa: Kappa, u: Tensor) -> Tensor:
    """What devices without kernels run, since the fused kernel is float32."""
    drawn: Tensor = render._OnDevice.apply(u.double(), kappa)
    return drawn


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double
    Kappa.__call__ = draw
    train.run(compose(sys.argv[1:]))
