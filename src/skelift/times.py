"""What the stages of a run cost, where SKELIFT_TIMES names a JSON file for it."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from skelift.errors import InputError
from skelift.files import read_json, write_json

VARIABLE = "SKELIFT_TIMES"
_WRITER = f"{VARIABLE}=FILE skelift STAGE, after removing it"


@dataclass(frozen=True)
class Cost:
    """Of the process that finished a stage, its imports and workers included."""

    seconds: float  # by the clock
    cpu_seconds: float  # user and system, of all threads and ended workers


@contextmanager
def noted(stage: str) -> Iterator[None]:
    """Note what a stage has cost when it ends well; what the file says of other stages stays.

    Raises:
        InputError: the file is broken; nothing has run then.
    """
    name, started = os.environ.get(VARIABLE), time.perf_counter()
    if not name:
        yield
        return
    costs = read_costs(Path(name))
    yield
    spent = os.times()
    cpu_seconds = spent.user + spent.system + spent.children_user + spent.children_system
    cost = Cost(time.perf_counter() - started, cpu_seconds)
    write_json(Path(name), {each: asdict(c) for each, c in {**costs, stage: cost}.items()})


def read_costs(file: Path) -> Mapping[str, Cost]:
    """Stage -> what it cost when it last ran; empty where there is no file.

    Raises:
        InputError: the file is broken.
    """
    if not file.exists():
        return {}
    try:
        return {stage: Cost(**cost) for stage, cost in dict(read_json(file, _WRITER)).items()}
    except (TypeError, ValueError):
        raise InputError(f"{file}: not times of stages; recreate it with `{_WRITER}`") from None
