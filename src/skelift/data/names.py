"""Names in a user's file that no reader knows: misspelt ones are refused, the others are told."""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from skelift.errors import InputError

NEAR = 0.85  # likeness from which on a name is another one misspelt
UNITS = ("_mm", "_px")  # a name without its unit is that name


def check_names(
    path: Path,
    given: Iterable[str],
    known: Sequence[str],
    meant: Mapping[str, str] | None = None,
    of: str = "",
) -> None:
    """Refuse names that are nearly known ones, and say once, on stderr, which others are not read.

    Args:
        path: the file.
        given: the names in it.
        known: those that are read.
        meant: other tools' name of a known one -> the known one.
        of: what has the names, within the file.

    Raises:
        InputError: a name is unknown and nearly a known one, or is another tool's for it.
    """
    unread = [name for name in given if name not in known]
    where = f"{path}: {of}: " if of else f"{path}: "
    for name in unread:
        if near := (meant or {}).get(name) or _near(name, known):
            raise InputError(
                f"{where}{name} is not known, call it {near} if it is that, else rename or remove "
                f"it; read are {', '.join(known)}"
            )
    if unread:
        _say(f"{where}{', '.join(unread)} not read; known are {', '.join(known)}")


def _near(name: str, known: Sequence[str]) -> str:
    """The known name that a name is nearly; empty where there is none."""
    digits = re.sub(r"\D", "", name)  # 2D is not 3D misspelt
    lower = {other.lower(): other for other in known if re.sub(r"\D", "", other) == digits}
    for unit in UNITS:
        if name.lower() + unit in lower:
            return lower[name.lower() + unit]
    found = get_close_matches(name.lower(), lower, n=1, cutoff=NEAR)
    return lower[found[0]] if found else ""


@cache
def _say(line: str) -> None:
    """Print a line the first time: a file may be read for every folder of images."""
    print(line, file=sys.stderr)
