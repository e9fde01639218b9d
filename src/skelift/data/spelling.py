"""Names in users' files that are nearly a known one: what they hold would be left out, unsaid."""

from collections.abc import Collection
from difflib import get_close_matches

ALIKE = 0.8  # difflib's ratio; "distorsion" and "distortion" have 0.9


def check_spelling(names: Collection[str], known: Collection[str]) -> None:
    """ValueError for a name that is not known, and looks like one that is."""
    for name in sorted(set(names) - set(known)):
        for meant in get_close_matches(name, sorted(set(known) - set(names)), 1, ALIKE):
            raise ValueError(f"{name} is not known; write {meant}, or leave it out")
