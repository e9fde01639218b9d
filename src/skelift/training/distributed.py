"""Several processes, one run: what ``torchrun`` starts."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from skelift.collective import total
from skelift.device import usable_device
from skelift.errors import InputError
from skelift.files import claimed
from skelift.memory import keep_freed
from skelift.neighbours import beside_others


@dataclass(frozen=True)
class World:
    """This process among all that train together."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def claimed(self, *folders: Path, by: str) -> AbstractContextManager[None]:
        """Let the processes of this run be the only ones that write there, see ``files``."""
        return claimed(*folders, by=by) if self.is_main else nullcontext()

    def share(self, batch: int) -> slice:
        """This process's rows of a global batch."""
        if batch % self.size:
            raise InputError(
                f"train.batch={batch} cannot be shared by {self.size} processes; take a multiple"
            )
        local = batch // self.size
        return slice(self.rank * local, (self.rank + 1) * local)

    def mean(self, local: Tensor) -> Tensor:
        """Mean of a tensor over all processes; no gradient."""
        return total(local.detach()) / self.size

    def agree(self, mine: bool) -> bool:
        """Whether any process says so; all processes ask, and get the same answer."""
        return bool(self.mean(torch.tensor(float(mine), device=self.device)).item())

    def from_main(self, value: float) -> float:
        """The main process's value, on all processes."""
        mine = torch.tensor(value if self.is_main else 0.0, dtype=torch.float64)
        return self.mean(mine.to(self.device)).item() * self.size

    def parallel(self, module: nn.Module) -> nn.Module:
        """Average the module's gradients over all processes."""
        if self.size == 1:
            return module
        devices = [self.device.index] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(
            module, device_ids=devices, find_unused_parameters=True
        )


@contextmanager
def join(device: str) -> Iterator[World]:
    """Join the processes that ``torchrun`` started, or be the only one; each ``beside_others``.

    Memory that a step frees is kept for the next one.

    Args:
        device: ``auto`` (CUDA where there is one), or a torch device name.
    """
    size, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    chosen = _own_device(device, int(os.environ.get("LOCAL_RANK", 0)))
    keep_freed()
    with beside_others(), _group(chosen, rank, size):
        yield World(rank, size, chosen)


@contextmanager
def _group(device: torch.device, rank: int, size: int) -> Iterator[None]:
    """Connect this process to the others, if there are any."""
    if size == 1:
        yield
        return
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo", store=_store(), rank=rank, world_size=size
    )
    try:
        yield
    finally:
        dist.destroy_process_group()


def _store() -> Store:
    """Where the processes of this attempt find each other.

    torchrun's own store outlives the processes that it starts again: without a name of their own
    they would find the addresses of the dead.
    """
    store, _, _ = next(rendezvous("env://"))
    return PrefixStore(f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)


def _own_device(name: str, local_rank: int) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = usable_device(name, "train.device")
    if device.type == "cuda":
        device = torch.device("cuda", local_rank if device.index is None else device.index)
        torch.cuda.set_device(device)
    return device
