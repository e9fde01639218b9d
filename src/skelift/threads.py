"""How many threads torch, numba, OpenCV and NumPy use, and how these wait for each other.

They read it from the environment as they are loaded, so whoever starts a process calls ``settle``
first. Threads that spin while they wait keep a core busy that a neighbour could use, and where
there are more of them than cores, or than a container's CPU limit pays for, they keep out the very
thread that they wait for. So they sleep, or spin where ``neighbours`` looks out for others.
"""

import os
import sys

from skelift.errors import InputError
from skelift.processes import cores, unlimited_cores

VARIABLE = "SKELIFT_THREADS"
_COUNTS = {  # each is read by its library as that is loaded
    "torch": "OMP_NUM_THREADS",
    "numba": "NUMBA_NUM_THREADS",
    "cv2": "OPENCV_FOR_THREADS_NUM",
}
_WAITING, _ASLEEP = "OMP_WAIT_POLICY", "passive"
_SPIN, _SOME = "GOMP_SPINCOUNT", "20000"  # about 0.2 ms


def settle(*, spin: bool = False) -> None:
    """Set in the environment what the user has not set, for this process and those it starts.

    Args:
        spin: threads that wait spin a little before they sleep, if this process may keep all
            cores busy; for what runs in ``neighbours.beside_others``.

    Raises:
        InputError: SKELIFT_THREADS is not a number of threads.
    """
    threads = count()
    for library, variable in _COUNTS.items():
        if library not in sys.modules:
            os.environ.setdefault(variable, str(threads))
    waiting = os.environ.setdefault(_WAITING, _ASLEEP)
    if spin and waiting == _ASLEEP and threads == unlimited_cores():
        os.environ.setdefault(_SPIN, _SOME)


def spins() -> bool:
    """Whether several threads of torch wait as ``settle(spin=True)`` says."""
    asked = os.environ.get(_WAITING), os.environ.get(_SPIN)
    return count() > 1 and asked == (_ASLEEP, _SOME)


def count() -> int:
    """Threads of this process: ``asked``, else OMP_NUM_THREADS, else the cores it may use."""
    # OpenMP's may be a list, one number per level of nesting.
    openmp = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return asked() or (int(openmp) if openmp.isdecimal() else 0) or cores()


def asked() -> int | None:
    """SKELIFT_THREADS; None where it is not set, InputError where it is no number of threads."""
    value = os.environ.get(VARIABLE)
    if value is None:
        return None
    if not value.isdecimal() or not int(value):
        raise InputError(f"{VARIABLE}={value}: not a number of threads; set 1 or more, or unset it")
    return int(value)


def match_torch() -> None:
    """Let this thread's kernels of numba run on as many threads as torch uses.

    numba and torch share one OpenMP pool: as numba starts, it sets its size to all cores, which
    changes how torch splits its sums from then on, and with that their last bits. So torch is left
    the number that it had.
    """
    import numba
    import torch

    threads = torch.get_num_threads()
    wanted = min(threads, numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
    if numba.get_num_threads() != wanted:
        numba.set_num_threads(wanted)
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
