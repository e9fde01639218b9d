"""Optimisers and their schedule."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from skelift.config import TrainConfig


@dataclass(frozen=True)
class Recipe:
    """How one network moves."""

    learning_rate: float  # at the first step
    weight_decay: float = 0.0  # Adam's, that is of the L2 norm
    per_step: float = 1.0  # factor on the learning rate per step, besides the common schedule


class Optimisers:
    """One Adam per network, by name; gradients clipped and learning rates scheduled alike."""

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        recipes: Mapping[str, Recipe],
        config: TrainConfig,
    ) -> None:
        self.clip, self.decay, self.steps = config.clip, config.decay, config.steps
        self.recipes = recipes
        self.weights = {name: list(network.parameters()) for name, network in networks.items()}
        beta1, beta2 = config.betas
        self.adams = {
            name: torch.optim.Adam(
                weights,
                lr=recipes[name].learning_rate,
                betas=(beta1, beta2),
                weight_decay=recipes[name].weight_decay,
                fused=True,
            )
            for name, weights in self.weights.items()
        }

    def step(self, loss: Tensor, step: int, names: Sequence[str]) -> None:
        """Move the named networks down the gradient of ``loss``."""
        for name in names:
            self.adams[name].zero_grad(set_to_none=True)
        loss.backward()
        for name in names:
            if self.clip:
                nn.utils.clip_grad_norm_(self.weights[name], self.clip)
            adam = self.adams[name]
            adam.param_groups[0]["lr"] = self.rate(name, step)
            adam.step()

    def rate(self, name: str, step: int) -> float:
        """A network's learning rate: linear down to ``decay``, times its own factor per step."""
        linear = 1 - (1 - self.decay) * step / max(self.steps - 1, 1)
        recipe = self.recipes[name]
        return recipe.learning_rate * linear * recipe.per_step**step

    def state(self) -> dict[str, Tensor]:
        """Adam's moments and step counts, by name."""
        return {
            f"{name}.{number}.{key}": torch.as_tensor(value)
            for name, adam in self.adams.items()
            for number, moments in adam.state_dict()["state"].items()
            for key, value in moments.items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take back what ``state`` gave."""
        for name, adam in self.adams.items():
            moments: dict[int, dict[str, Tensor]] = {}
            for path, value in state.items():
                owner, number, key = path.rsplit(".", 2)
                if owner == name:
                    like = self.weights[name][int(number)]
                    moments.setdefault(int(number), {})[key] = _laid_out(value, like)
            groups = adam.state_dict()["param_groups"]
            adam.load_state_dict({"state": moments, "param_groups": groups})


def _laid_out(moment: Tensor, weight: Tensor) -> Tensor:
    """A moment in its weight's memory format: another one takes kernels that round differently."""
    if moment.shape != weight.shape:
        return moment
    return torch.empty_like(weight).copy_(moment)


def freeze(weights: Iterable[Tensor], frozen: bool) -> None:
    """Stop (or let) gradients reach the given weights."""
    for weight in weights:
        weight.requires_grad_(not frozen)
