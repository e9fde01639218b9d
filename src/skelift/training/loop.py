"""The loop around a step: progress with ETA, statistics, the check for non-finite losses."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from rich.progress import TextColumn
from torch import Tensor

from skelift.errors import RunError
from skelift.progress import progress_bar

Terms = dict[str, Tensor]
Statistics = dict[str, float]


class NonFiniteLoss(RunError):
    """A loss became NaN or infinite; the message names step and term."""


@dataclass(frozen=True)
class Interval:
    """What happened in the steps since the last interval."""

    step: int  # steps done
    # Mean of every term (``loss/<term>``) and of what else a step measures, and ``per_second``.
    statistics: Statistics


Callback = Callable[[Interval], bool | None]


def fit(
    take_step: Callable[[int], Terms],
    steps: int,
    *,
    title: str,
    batch: int,
    interval: int = 50,
    first: int = 0,
    callbacks: Sequence[Callback] = (),
    over_all: Callable[[Tensor], Tensor] = lambda local: local,
    show: bool = True,
) -> None:
    """Take steps ``first`` ... ``steps - 1``, or fewer where a callback ends it.

    Args:
        take_step: does step number n and returns its loss terms (scalars on the device); what
            has a slash in its name is no loss, and only written down.
        steps: number of the last step + 1.
        title: what the progress bar says.
        batch: images (or poses) per step, for the speed in the statistics.
        interval: steps per line of statistics; the losses are read from the device only then.
        first: the first step (after a resume).
        callbacks: called in order after each interval; one that returns True ends the training.
        over_all: averages statistics over the processes that train together.
        show: draw a progress bar.

    Raises:
        NonFiniteLoss: a term is NaN or infinite. Checked before the callbacks are called, so
            nothing that they save comes from a broken step.
    """
    note = TextColumn("{task.fields[note]}")
    with progress_bar(note, show=show, transient=False) as progress:
        task = progress.add_task(title, total=steps, completed=first, note="")
        window: list[Terms] = []
        started = time.perf_counter()
        for step in range(first, steps):
            window.append({name: t.detach() for name, t in take_step(step).items()})
            progress.advance(task)
            if (step + 1) % interval and step + 1 < steps:
                continue
            means = _means(window, step + 1 - len(window), over_all)
            speed = batch * len(window) / (time.perf_counter() - started)
            done = Interval(step + 1, means | {"per_second": speed})
            loss = sum(mean for name, mean in means.items() if name.startswith("loss/"))
            progress.update(task, note=f"loss {loss:.4g}  {speed:.0f}/s")
            ends = [callback(done) for callback in callbacks]  # each of them is called
            if any(ends):
                return
            window, started = [], time.perf_counter()


def total(terms: Terms) -> Tensor:
    """Sum of the losses among the terms of a step."""
    return torch.stack([term for name, term in terms.items() if "/" not in name]).sum()


def _means(window: list[Terms], first: int, over_all: Callable[[Tensor], Tensor]) -> Statistics:
    names = list(dict.fromkeys(name for terms in window for name in terms))
    zero = torch.zeros_like(window[0][names[0]])  # of a term that is not in all steps
    rows = [torch.stack([terms.get(name, zero) for name in names]) for terms in window]
    table = over_all(torch.stack(rows)).cpu()
    bad = (~table.isfinite()).nonzero()
    if len(bad):
        row, column = bad[0].tolist()
        raise NonFiniteLoss(
            f"loss term {names[column]!r} is {table[row, column].item()} at step {first + row}"
        )
    means = zip(names, table.mean(0).tolist(), strict=True)
    return {name if "/" in name else f"loss/{name}": mean for name, mean in means}
