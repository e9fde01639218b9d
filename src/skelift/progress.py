"""The progress bar of everything that takes long: count, elapsed and remaining time, on stderr."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Item = TypeVar("Item")


def progress_bar(
    *more: ProgressColumn, in_bytes: bool = False, show: bool = True, transient: bool = True
) -> Progress:
    """A bar for ``add_task`` and ``advance``; ``more`` columns stand at its end.

    Args:
        more: further columns.
        in_bytes: the count is of bytes.
        show: False keeps it silent.
        transient: it disappears at the end.
    """
    console = Console(stderr=True)
    # Of a bar that disappears, a file or pipe would only keep an empty line.
    shown = show and (console.is_terminal or not transient)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn() if in_bytes else MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        *more,
        console=console,
        transient=transient,
        disable=not shown,
    )


def track(items: Iterable[Item], title: str, total: int) -> Iterator[Item]:
    """Yield the items with a bar that counts them."""
    with progress_bar() as progress:
        yield from progress.track(items, total=total, description=title)
