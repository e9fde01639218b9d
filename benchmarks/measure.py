"""Time and peak memory of calls, and the JSON that reports them beside the goals."""

import ctypes
import gc
import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import torch

from skelift.files import write_json
from skelift.processes import cores

_CLEAR_REFS, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
_CPUINFO = Path("/proc/cpuinfo")
_RESET_PEAK = "5"
RESULTS = Path("reports/benchmarks")


def best_seconds(
    calls: Mapping[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Shortest time of each call, by the wall or, with ``time.process_time``, of the CPU.

    The calls take turns, so that a busy machine slows all of them; each is run once before.
    """
    for call in calls.values():
        call()
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            started = clock()
            call()
            best[name] = min(best[name], clock() - started)
    return best


def peak_bytes(call: Callable[[], object]) -> int | None:
    """How far the resident memory of this process rises above its start while a call runs.

    The kernel's own count (VmHWM, reset before), so whoever allocates is seen: torch, NumPy,
    numba. None where the kernel offers no such count (not Linux). Call once before measuring:
    what is only allocated the first time (thread stacks, compiled code) is not the call's.
    """
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)  # pages freed before would hide new ones
        _CLEAR_REFS.write_text(_RESET_PEAK)
    except (OSError, AttributeError):
        return None
    before = _resident("VmRSS")
    call()
    return max(_resident("VmHWM") - before, 0)


def tree_cpu_seconds(process: int) -> float:
    """CPU time, user and system, of a process and all that it began and that still run."""
    times = [each.cpu_times() for each in _tree(process)]
    return sum(each.user + each.system for each in times)


def tree_bytes(process: int) -> int:
    """Resident memory of a process and all that it began; shared pages are counted once (PSS)."""
    total = 0
    for each in _tree(process):
        with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            total += each.memory_full_info().pss
    return total


def _tree(process: int) -> list[psutil.Process]:
    root = psutil.Process(process)
    return [root, *root.children(recursive=True)]


def report(
    measured: dict[str, Any], goals: Mapping[str, tuple[str, float]], file: str | Path
) -> bool:
    """Print measurements, the machine, and for each goal whether it is met, as one JSON object.

    Args:
        measured: numbers by name.
        goals: name -> (``at least`` or ``at most``, bound).
        file: gets the same; the name of a benchmark stands for its file in ``RESULTS``.

    Returns:
        Whether all goals are met.
    """
    verdicts = {}
    for name, (relation, bound) in goals.items():
        value = measured[name]
        met = value is not None and (value >= bound if relation == "at least" else value <= bound)
        verdicts[name] = {"goal": f"{relation} {bound:g}", "met": bool(met)}
    whole = {**measured, "goals": verdicts, "machine": machine()}
    print(json.dumps(whole, indent=2))
    path = result_file(file) if isinstance(file, str) else file
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, whole)
    return all(verdict["met"] for verdict in verdicts.values())


def result_file(name: str) -> Path:
    """Where a benchmark's JSON is."""
    return RESULTS / f"{name}.json"


def machine() -> dict[str, Any]:
    """What the figures depend on besides the code; ``load`` tells whether others were at work."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "usable_cores": cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load": [round(each, 2) for each in os.getloadavg()],  # of 1, 5 and 15 minutes
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "date": time.strftime("%Y-%m-%d"),
    }


def _processor() -> str:
    """Its name; Python gives the architecture alone on Linux."""
    named = [line for line in _lines(_CPUINFO) if line.startswith("model name")]
    return named[0].partition(":")[2].strip() if named else platform.processor()


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def _resident(field: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(field)
