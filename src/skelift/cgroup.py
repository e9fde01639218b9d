"""How much processor time the cgroup of this process may spend, as a container's CPU limit sets it.

Linux shares out CPU time per group of processes: version 2 in ``cpu.max``, version 1 in
``cpu.cfs_quota_us`` and ``cpu.cfs_period_us``. Groups are nested, and each limits all below it.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def quota(root: Path = Path("/")) -> float | None:
    """CPUs whose whole time this process's groups may spend, such as 1.5; None without a limit.

    ``root`` is the folder that holds ``proc`` and ``sys``.
    """
    limits = [limit for folder in _groups(root) if (limit := _limit(folder)) is not None]
    return min(limits, default=None)


def _groups(root: Path) -> Iterator[Path]:
    """Folders of the groups of this process that are mounted here, inner ones first."""
    own = dict(_own_groups(root))
    for kind, mount, top in _mounts(root):
        if kind not in own:
            continue
        group = PurePosixPath(own[kind])
        # A container may see the mount of its own group alone, under the name that the host gives.
        inner = group.relative_to(top) if group.is_relative_to(top) else PurePosixPath()
        folder = root / mount.lstrip("/")
        yield from (folder / part for part in (inner, *inner.parents) if ".." not in part.parts)


def _own_groups(root: Path) -> Iterator[tuple[str, str]]:
    """``cgroup`` (version 1's cpu controller) or ``cgroup2`` -> path in its hierarchy."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, group = line.split(":", 2)
        if not controllers:
            yield "cgroup2", group
        elif "cpu" in controllers.split(","):
            yield "cgroup", group


def _mounts(root: Path) -> Iterator[tuple[str, str, str]]:
    """Kind as above, folder, and which group is mounted there; see proc_pid_mountinfo(5)."""
    for line in _lines(root / "proc/self/mountinfo"):
        fields, _, rest = line.partition(" - ")
        _, _, _, top, mount, *_ = fields.split()
        kind, _, options = rest.split()
        if kind == "cgroup2" or (kind == "cgroup" and "cpu" in options.split(",")):
            yield kind, mount, top


def _limit(group: Path) -> float | None:
    """CPUs that one group may spend; None where it has no limit, as the outermost has none."""
    spent = _lines(group / "cpu.max")
    words = spent[0].split() if spent else []
    if not words:
        words = _lines(group / "cpu.cfs_quota_us") + _lines(group / "cpu.cfs_period_us")
    if len(words) != 2 or words[0] in ("max", "-1"):
        return None
    return int(words[0]) / int(words[1])


def _lines(file: Path) -> list[str]:
    """Lines of a file of the kernel; none where it has no such file."""
    return file.read_text().splitlines() if file.is_file() else []
