"""Memory that a step frees is kept, by the page faults of a process of its own."""

import os
import platform
import subprocess
import sys

import pytest

STEPS = """
import resource
import numpy as np
from skelift import memory
{before}
for step in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(2**17) for _ in range(32)]
    del arrays
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES = 32 * 2**20 // os.sysconf("SC_PAGESIZE")


def faults(before: str, **environment: str) -> int:
    """Page faults of the third of three steps that take 32 MiB each."""
    unset = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    program = STEPS.format(before=before)
    done = subprocess.run(
        [sys.executable, "-c", program], env=unset | environment, capture_output=True, text=True
    )
    assert not done.returncode, done.stderr
    return int(done.stdout.split()[-1])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries")
def test_a_step_takes_the_memory_that_the_last_one_freed() -> None:
    assert faults("") > PAGES / 2
    assert faults("memory.keep_freed()") < PAGES / 100


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries")
def test_what_the_user_has_set_is_kept() -> None:
    given_back = {"MALLOC_TRIM_THRESHOLD_": "131072", "MALLOC_MMAP_THRESHOLD_": "131072"}
    assert faults("memory.keep_freed()", **given_back) > PAGES / 2


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from skelift import memory

    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr("ctypes.CDLL", None)
    memory.keep_freed()
