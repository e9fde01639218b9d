"""What the values of a key may be, written at its type: ``batch: Count = 16``.

A key with a fixed set of values is a ``Literal``. Every other string and number carries one of the
marks below; tests/test_config.py fails on one that does not.
"""

import math
import re
from collections.abc import Sized
from dataclasses import dataclass
from typing import Annotated, Any, Protocol


class Mark(Protocol):
    """A condition on a value; ``str`` completes the sentence "must be ..."."""

    def admits(self, value: Any) -> bool:
        """Whether the value keeps the condition."""


@dataclass(frozen=True)
class Range:
    """Finite numbers from ``low`` to ``high``, without the ends that are ``open``."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def admits(self, value: Any) -> bool:
        """Whether the value is finite and in the range."""
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return math.isfinite(value) and above and below

    def __str__(self) -> str:
        low, high = f"{self.low:g}", f"{self.high:g}"
        if math.isinf(self.high):
            return "a finite number" if math.isinf(self.low) else f"{self._from(low)}"
        if self.open_low and self.open_high:
            return f"between {low} and {high}, both excluded"
        if self.open_low or self.open_high:
            return f"{self._from(low)} and {'below' if self.open_high else 'at most'} {high}"
        return f"from {low} to {high}"

    def _from(self, low: str) -> str:
        return f"above {low}" if self.open_low else f"{low} or more"


@dataclass(frozen=True)
class Length:
    """Lists of ``low`` to ``high`` values."""

    low: int
    high: float

    def admits(self, value: Sized) -> bool:
        """Whether the list is neither too short nor too long."""
        return self.low <= len(value) <= self.high

    def __str__(self) -> str:
        return f"a list of {self.low}{'' if self.low == self.high else ' or more'} values"


@dataclass(frozen=True)
class Words:
    """Words of a fixed set, joined by ``/``."""

    words: tuple[str, ...]

    def admits(self, value: str) -> bool:
        """Whether each word is in the set."""
        return set(value.split("/")) <= set(self.words)

    def __str__(self) -> str:
        return f"any of {', '.join(self.words)}, joined by /"


@dataclass(frozen=True)
class Pattern:
    """Strings of a form, which ``said`` describes."""

    form: str
    said: str

    def admits(self, value: str) -> bool:
        """Whether the whole string has the form."""
        return re.fullmatch(self.form, value) is not None

    def __str__(self) -> str:
        return self.said


@dataclass(frozen=True)
class Free:
    """Any string: a ``what`` that no configuration can check."""

    what: str
    empty: bool = True

    def admits(self, value: str) -> bool:
        """Whether the string is not empty, where it must not be."""
        return self.empty or bool(value.strip())

    def __str__(self) -> str:
        return f"a {self.what}"


Whole = Annotated[int, Range(0)]
Count = Annotated[int, Range(1)]
Pairs = Annotated[int, Range(2)]  # batch sizes of losses that compare samples
Number = Annotated[float, Range()]
NonNegative = Annotated[float, Range(0)]
Positive = Annotated[float, Range(0, open_low=True)]
Fraction = Annotated[float, Range(0, 1)]
Share = Annotated[float, Range(0, 1, open_low=True, open_high=True)]  # something on either side
Momentum = Annotated[float, Range(0, 1, open_high=True)]
Factor = Annotated[float, Range(0, 1, open_low=True)]
Angle = Annotated[float, Range(-360, 360)]
Tilt = Annotated[float, Range(-90, 90)]
Spread = Annotated[float, Range(0, 180)]  # std of an angle

Name = Annotated[str, Free("name", empty=False)]
Text = Annotated[str, Free("text")]
File = Annotated[str, Free("path")]
Folder = Annotated[str, Free("path", empty=False)]
Override = Annotated[str, Free("override KEY=VALUE", empty=False)]
Layout = Annotated[str, Words(("person", "clip", "camera", "activity"))]
Device = Annotated[
    str,
    Pattern(r"auto|(cpu|cuda|mps|xpu)(:\d+)?", "auto, cpu, cuda, mps, xpu or one of many: cuda:1"),
]
Uri = Annotated[str, Pattern(r"(s3://.*)?", "s3://BUCKET/PREFIX, or empty")]
