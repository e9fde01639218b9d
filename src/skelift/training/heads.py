"""Fitting of the heads, when the core has its final weights."""

from dataclasses import replace
from typing import cast

import torch

from skelift.config import Config, HeadConfig, HeadsConfig
from skelift.data.format import Dataset
from skelift.data.loading import EpochSampler
from skelift.errors import InputError
from skelift.models.heads import HEADS, FitData, Head
from skelift.models.pipeline import PosePipeline
from skelift.training.loop import Terms, fit

LEARNING_RATE = 1e-3


def enabled_heads(heads: HeadsConfig) -> dict[str, HeadConfig]:
    """Name -> configuration of the heads that are on, in the order of ``HEADS``."""
    sections: dict[str, HeadConfig] = {name: getattr(heads, name) for name in HEADS}
    return {name: section for name, section in sections.items() if section.enabled}


def check_heads(config: Config, data: Dataset, start: PosePipeline | None) -> None:
    """InputError where a head cannot be fitted, or not be taken from ``train.start``."""
    for name, section in enabled_heads(config.heads).items():
        HEADS[name].check(config, data)
        if not section.steps and (start is None or name not in start.heads):
            raise InputError(
                f"heads.{name}.steps=0 keeps the weights that train.start has, and it has none; "
                f"set train.start=shipped, heads.{name}.steps or heads.{name}.enabled=false"
            )


def fit_heads(
    heads: HeadsConfig, data: FitData, seed: int, start: PosePipeline | None, title: str
) -> dict[str, Head]:
    """Name -> head, fitted or as the start has it, in the order in which the pipeline runs them."""
    fitted: dict[str, Head] = {}
    for name, section in enabled_heads(heads).items():
        if section.steps:
            seen = replace(data, heads=fitted)
            fitted[name] = fit_head(name, seen, section.steps, seed, f"{title}: {name}")
        else:
            assert start is not None  # see check_heads
            fitted[name] = cast(Head, start.heads[name])
    return fitted


def fit_head(name: str, data: FitData, steps: int, seed: int, title: str) -> Head:
    """Adam on one head, learning rate falling from 1e-3 to zero.

    A function of its arguments alone, on a CPU bit by bit.
    """
    device = data.poses.device
    torch.manual_seed(seed)
    head = HEADS[name].of(data.core).to(device)
    examples = head.examples(data)
    order = EpochSampler(len(examples[0]), head.batch, seed)
    rng = torch.Generator().manual_seed(seed)
    adam = torch.optim.Adam(head.parameters(), LEARNING_RATE, weight_decay=head.weight_decay)

    def step(number: int) -> Terms:
        rows = torch.from_numpy(order[number]).to(device)
        loss = head.loss(*(values[rows] for values in examples), rng=rng)
        adam.param_groups[0]["lr"] = LEARNING_RATE * (1 - number / steps)
        adam.zero_grad()
        loss.backward()
        adam.step()
        return {name: loss}

    fit(step, steps, title=title, batch=head.batch)
    return head.eval()
