"""``skelift train`` in double precision: ``python -m torch.distributed.run ... FILE OVERRIDES``.

In fp32 a run from scratch is badly conditioned: weights that differ by 1e-7 give first gradients
of Phi that differ by some per cent, so fp32 curves cannot tell a fault from rounding. In float64
they can.
"""

import sys

import torch
from torch import Tensor

from skelift.config import compose
from skelift.render import Kappa
from skelift.stages import train


def draw(kappa: Kappa, u: Tensor) -> Tensor:
    """The tensor path of kappa, since the fused kernel is float32."""
    return kappa._fall_off(kappa._squared_distances(u.double()))


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double
    Kappa.__call__ = draw
    train.run(compose(sys.argv[1:]))
