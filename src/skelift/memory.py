"""What the C library does with the memory that a training step frees."""

import ctypes
import os
import platform

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_UNSET = {  # variable of glibc -> parameter and bytes
    "MALLOC_TRIM_THRESHOLD_": (_M_TRIM_THRESHOLD, 2**31 - 1),
    "MALLOC_MMAP_THRESHOLD_": (_M_MMAP_THRESHOLD, 2**25),  # the most that it takes
}


def keep_freed() -> None:
    """Keep what is freed for the next step, unless the environment says when to give it back.

    glibc hands free memory back to the system after each step and takes it again in the next, page
    by page: a thousand page faults per step of the quickstart. Other C libraries have no such
    setting.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    for variable, (parameter, size) in _UNSET.items():
        if variable not in os.environ:
            mallopt(parameter, size)
