"""Masks that cannot be a body's: the sign of an inverted, empty or missing one."""

from collections import Counter
from dataclasses import dataclass, field

import cv2
import numpy as np

from skelift.data.images import Mask, border_of

MOST = 0.5  # a body covers less of its image's border
NOTHING = "covers nothing"
NOT_BLACK = "its background is not black"
SMALLEST = 8  # pixels of a body's longer side


def mask_fault(mask: Mask) -> str:
    """What is wrong with a mask (0 and 255), as the end of a sentence; empty for a body's."""
    _, _, width, height = cv2.boundingRect(mask)
    if not width:
        return NOTHING
    if max(width, height) < SMALLEST:
        return f"covers {width} x {height} pixels only"
    if np.count_nonzero(border_of(mask)) <= MOST * 2 * sum(mask.shape):
        return ""
    if mask.all():
        return "covers all of the image"
    inverse = np.asarray(cv2.bitwise_not(mask), dtype=np.uint8)
    return "covers most of the image's border" if mask_fault(inverse) else "looks inverted"


@dataclass
class MaskFaults:
    """Which frames have a mask that cannot be a body's."""

    counts: Counter[str] = field(default_factory=Counter)
    first: str = ""  # place and fault, as a clause

    def add(self, place: str, fault: str) -> None:
        """Note the fault of a frame; see ``mask_fault``, or a clause on its background."""
        clause = f"its mask {fault}" if fault != NOT_BLACK else fault
        self.counts[clause] += 1
        self.first = self.first or f"{place}: {clause}"

    def summary(self) -> str:
        """How many there are, of each kind; the first is named."""
        kinds = ", ".join(f"{count}: {clause}" for clause, count in self.counts.most_common())
        return f"{self.counts.total()} images ({kinds}; the first is {self.first.split(': ')[0]})"
