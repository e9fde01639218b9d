"""Threads follow the affinity, the cgroups' quotas and what the user has set; limits by hand."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from skelift import processes, threads
from skelift.cgroup import quota
from skelift.cli import main
from skelift.processes import cores

V2 = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
V1 = (
    "30 23 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    "31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "32 30 0:28 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
)
HYBRID = V1 + "33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
# Docker without a cgroup namespace: the host's name of the group, mounted as the whole tree.
OWN = "31 30 0:27 /docker/a1 /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
V1_CPU = "sys/fs/cgroup/cpu,cpuacct"

CASES = {
    "no cgroups at all": ("", "", {}, None),
    "v2 without a limit": ("0::/\n", V2, {"sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
    "v2": ("0::/\n", V2, {"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
    "v2, other period": ("0::/\n", V2, {"sys/fs/cgroup/cpu.max": "5000 20000\n"}, 0.25),
    "v2 nested, outer one tighter": (
        "0::/pods/pod/job\n",
        V2,
        {
            "sys/fs/cgroup/pods/cpu.max": "max 100000\n",
            "sys/fs/cgroup/pods/pod/cpu.max": "200000 100000\n",
            "sys/fs/cgroup/pods/pod/job/cpu.max": "400000 100000\n",
        },
        2.0,
    ),
    "v2 nested, inner one tighter": (
        "0::/pods/pod\n",
        V2,
        {
            "sys/fs/cgroup/pods/cpu.max": "800000 100000\n",
            "sys/fs/cgroup/pods/pod/cpu.max": "300000 100000\n",
        },
        3.0,
    ),
    "v2, a neighbour's limit is not ours": (
        "0::/a\n",
        V2,
        {"sys/fs/cgroup/a/cpu.max": "max 100000\n", "sys/fs/cgroup/b/cpu.max": "50000 100000\n"},
        None,
    ),
    "v2, outside of what is mounted": (
        "0::/../outer\n",
        V2,
        {"sys/fs/cgroup/cpu.max": "250000 100000\n"},
        2.5,
    ),
    "v1 without a limit": (
        "3:cpuset:/\n4:cpu,cpuacct:/\n",
        V1,
        {f"{V1_CPU}/cpu.cfs_quota_us": "-1\n", f"{V1_CPU}/cpu.cfs_period_us": "100000\n"},
        None,
    ),
    "v1 nested": (
        "3:cpuset:/x\n4:cpu,cpuacct:/kube/pod\n",
        V1,
        {
            f"{V1_CPU}/kube/cpu.cfs_quota_us": "300000\n",
            f"{V1_CPU}/kube/cpu.cfs_period_us": "200000\n",
            f"{V1_CPU}/kube/pod/cpu.cfs_quota_us": "400000\n",
            f"{V1_CPU}/kube/pod/cpu.cfs_period_us": "100000\n",
        },
        1.5,
    ),
    "v1 beside a v2 without controllers": (
        "4:cpu,cpuacct:/kube\n0::/system\n",
        HYBRID,
        {
            f"{V1_CPU}/kube/cpu.cfs_quota_us": "50000\n",
            f"{V1_CPU}/kube/cpu.cfs_period_us": "100000\n",
        },
        0.5,
    ),
    "v1, the group's own mount": (
        "4:cpu:/docker/a1\n",
        OWN,
        {
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "700000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        7.0,
    ),
}


def tree(root: Path, groups: str, mounts: str, files: Mapping[str, str]) -> Path:
    """A folder with ``proc`` and ``sys`` as the kernel shows them."""
    contents = {"proc/self/cgroup": groups, "proc/self/mountinfo": mounts, **files}
    for name, text in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize("case", CASES)
def test_quota_is_the_tightest_of_the_groups(case: str, tmp_path: Path) -> None:
    groups, mounts, files, expected = CASES[case]
    assert quota(tree(tmp_path, groups, mounts, files)) == expected


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("max", 4), ("10000", 1), ("100000", 1), ("150000", 2), ("300000", 3), ("900000", 4)],
)
def test_cores_are_those_of_affinity_and_quota(
    limit: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 5, 6}, raising=False)
    root = tree(tmp_path, "0::/\n", V2, {"sys/fs/cgroup/cpu.max": f"{limit} 100000\n"})
    assert cores(root) == expected


def settled(python: str, spin: bool = False, **environment: str) -> list[str]:
    """What a fresh process that ``settle``s before it loads anything prints."""
    ours = ("OMP_", "NUMBA_", "OPENCV_", "GOMP_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    program = f"from skelift import threads\nthreads.settle(spin={spin})\n{python}"
    done = subprocess.run(
        [sys.executable, "-c", program], env=clean | environment, capture_output=True, text=True
    )
    assert not done.returncode, done.stderr
    return done.stdout.split()


COUNTS = (
    "import torch, numba, cv2\n"
    "print(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS, cv2.getNumThreads())"
)
MACHINE = os.cpu_count() or 1  # torch takes no more threads than that


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({threads.VARIABLE: "3"}, [3, 3, 3]),
        ({"OMP_NUM_THREADS": "3"}, [3, 3, 3]),
        ({"OMP_NUM_THREADS": "3,2"}, [3, 3, 3]),
        ({threads.VARIABLE: "3", "OMP_NUM_THREADS": "1"}, [1, 3, 3]),
        ({threads.VARIABLE: "3", "NUMBA_NUM_THREADS": "4"}, [3, 4, 3]),
        ({threads.VARIABLE: "3", "OPENCV_FOR_THREADS_NUM": "2"}, [3, 3, 2]),
    ],
)
def test_libraries_take_what_is_set(environment: dict[str, str], expected: list[int]) -> None:
    """Asked of the libraries themselves, in a process of their own."""
    of_torch, of_numba, of_opencv = map(int, settled(COUNTS, **environment))
    assert [of_torch, of_numba, of_opencv] == [min(expected[0], MACHINE), *expected[1:]]


def test_libraries_take_the_cores_unless_told() -> None:
    assert settled(COUNTS) == [str(cores())] * 3


MATCHED = """
import numba, torch
from skelift import threads
from skelift.models.layers import InstanceNorm
x = torch.rand(2, 8, 4, 4).to(memory_format=torch.channels_last)
for count in 1, 2, 1:
    torch.set_num_threads(count)
    threads.match_torch()
    InstanceNorm(8)(x)
    print(numba.get_num_threads(), torch.get_num_threads())
"""


def test_kernels_of_numba_take_as_many_threads_as_torch_and_leave_it_those() -> None:
    assert settled(MATCHED, **{threads.VARIABLE: "2"}) == ["1", "1", "2", "2", "1", "1"]


def test_threads_wait_asleep_unless_told() -> None:
    show = "import os; print(os.environ['OMP_WAIT_POLICY'])"
    assert settled(show) == ["passive"]
    assert settled(show, OMP_WAIT_POLICY="active") == ["active"]


SPINS = "import os; print(threads.spins(), os.environ.get('GOMP_SPINCOUNT'))"


@pytest.mark.skipif(processes.unlimited_cores() < 2, reason="one core, or a quota")
def test_threads_spin_where_all_cores_are_theirs_and_others_are_looked_for() -> None:
    assert settled(SPINS) == ["False", "None"]
    spins, count = settled(SPINS, spin=True)
    assert spins == "True"
    assert int(count) > 0
    assert settled(SPINS, spin=True, OMP_WAIT_POLICY="active", GOMP_SPINCOUNT="5")[0] == "False"
    # It would shorten the waiting that was asked for.
    assert settled(SPINS, spin=True, OMP_WAIT_POLICY="active") == ["False", "None"]
    assert settled(SPINS, spin=True, GOMP_SPINCOUNT="0") == ["False", "0"]
    assert settled(SPINS, spin=True, SKELIFT_THREADS="1") == ["False", "None"]


@pytest.mark.parametrize(("limit", "expected"), [("max", 4), ("350000", 0), ("400000", 4)])
def test_cores_are_unlimited_without_a_lower_quota(
    limit: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 5, 6}, raising=False)
    root = tree(tmp_path, "0::/\n", V2, {"sys/fs/cgroup/cpu.max": f"{limit} 100000\n"})
    assert processes.unlimited_cores(root) == expected


def test_openmp_takes_the_waiting_that_is_set() -> None:
    """libgomp itself says what it found, and says it once it is loaded."""
    program = "from skelift import threads\nthreads.settle()\nimport torch"
    clean = {name: v for name, v in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment = clean | {"OMP_DISPLAY_ENV": "true"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    if "OMP_WAIT_POLICY" not in done.stderr:
        pytest.skip("no OpenMP here that displays its settings")
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in done.stderr


def test_a_library_that_is_loaded_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """numba refuses a variable that changes under it."""
    for library, variable in (("torch", "OMP_NUM_THREADS"), ("numba", "NUMBA_NUM_THREADS")):
        monkeypatch.setitem(sys.modules, library, sys)
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("OPENCV_FOR_THREADS_NUM", "1")
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    threads.settle()
    assert "OMP_NUM_THREADS" not in os.environ
    assert "NUMBA_NUM_THREADS" not in os.environ


@pytest.mark.parametrize("value", ["", "0", "two", "-1", "1.5"])
def test_a_bad_number_is_one_line(
    value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(threads.VARIABLE, value)
    assert main(["report"]) == 2
    assert capsys.readouterr().err == (
        f"skelift report: error: {threads.VARIABLE}={value}: not a number of threads; set 1 or "
        "more, or unset it\n"
    )


def test_the_command_line_loads_nothing_that_has_threads_before_it_settles() -> None:
    loaded = (
        "import sys; from skelift import cli; cli._parser()\n"
        "print(*({'numpy', 'torch', 'numba', 'cv2'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_pools_have_as_many_workers_as_the_quota_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "quota", lambda root: 1.0)
    assert cores() == 1
