"""Teaching a small network of its own, when Phi, Omega and Lambda have their weights."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from skelift.training.loop import fit

LEARNING_RATE = 1e-3


def teach(
    network: nn.Module,
    loss: Callable[[int], Tensor],
    steps: int,
    *,
    name: str,
    title: str,
    batch: int,
    weight_decay: float = 0.0,
) -> dict[str, Tensor]:
    """Adam on one network, learning rate from 1e-3 to zero; returns its weights as ``name.*``.

    Args:
        network: what learns.
        loss: of step number n.
        steps: how many.
        name: of the network within the pipeline.
        title: what the progress bar says.
        batch: rows a step, for the speed that it shows.
        weight_decay: Adam's.
    """
    adam = torch.optim.Adam(network.parameters(), LEARNING_RATE, weight_decay=weight_decay)

    def step(number: int) -> dict[str, Tensor]:
        value = loss(number)
        adam.param_groups[0]["lr"] = LEARNING_RATE * (1 - number / steps)
        adam.zero_grad()
        value.backward()
        adam.step()
        return {name: value}

    fit(step, steps, title=title, batch=batch)
    return {f"{name}.{key}": weight for key, weight in network.state_dict().items()}
