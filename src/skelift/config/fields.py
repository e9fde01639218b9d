"""What the values of a key may be, written at its type: ``batch: Count = 16``.

A key with a fixed set of values is a ``Literal``; every other string and number has one of these
types. Numbers are strict: neither booleans nor strings are taken for them.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any

from annotated_types import Interval, Len
from pydantic import AfterValidator, AllowInfNan, BeforeValidator, Strict
from pydantic_core import PydanticCustomError


def must(hold: Callable[[Any], object], said: str) -> AfterValidator:
    """A condition on a value; ``said`` completes "must be ..."."""

    def check(value: Any) -> Any:
        if hold(value):
            return value
        raise PydanticCustomError("condition", "{said}", {"said": f"must be {said}"})

    return AfterValidator(check)


def form(pattern: str, said: str) -> AfterValidator:
    """The form of a whole string."""
    return must(re.compile(pattern, re.DOTALL).fullmatch, said)


_Int = Annotated[int, Strict()]
_Float = Annotated[float, Strict(), AllowInfNan(False)]

Flag = Annotated[bool, Strict()]
Whole = Annotated[_Int, Interval(ge=0)]
Reach = Annotated[_Int, Interval(ge=0, le=10**9)]  # frames
Pixel = Annotated[_Int, Interval(ge=0, le=10**9)]  # a coordinate of an image
Level = Annotated[_Int, Interval(ge=0, le=255)]  # of a colour channel
Count = Annotated[_Int, Interval(ge=1)]
Seed = Annotated[_Int, Interval(ge=0, le=2**31 - 1)]
Pairs = Annotated[_Int, Interval(ge=2)]  # batch sizes of losses that compare samples
Number = Annotated[_Float, Interval()]
NonNegative = Annotated[_Float, Interval(ge=0)]
Positive = Annotated[_Float, Interval(gt=0)]
Fraction = Annotated[_Float, Interval(ge=0, le=1)]
Share = Annotated[_Float, Interval(gt=0, lt=1)]  # something on either side
Momentum = Annotated[_Float, Interval(ge=0, lt=1)]
Factor = Annotated[_Float, Interval(gt=0, le=1)]
Angle = Annotated[_Float, Interval(ge=-360, le=360)]
Tilt = Annotated[_Float, Interval(ge=-90, le=90)]
Spread = Annotated[_Float, Interval(ge=0, le=180)]  # std or range of an angle

Pair, Triple, NotEmpty = Len(2, 2), Len(3, 3), Len(1)
Rising = must(lambda pair: pair[0] <= pair[1], "two numbers, the smaller first")
MeanStd = must(lambda pair: pair[1] >= 0, "a mean and a std, which is 0 or more")

Name = Annotated[str, form(r".*\S.*", "a name")]
Text = Annotated[str, "any text"]
File = Annotated[str, "a path, or empty"]
Folder = Annotated[str, form(r".*\S.*", "a path")]
Override = Annotated[str, form(r".*\S.*", "an override KEY=VALUE")]
_PART = "(person|clip|camera|activity)"
Layout = Annotated[
    str, form(f"{_PART}(/{_PART})*", "any of person, clip, camera, activity, joined by /")
]
Device = Annotated[
    str,
    form(r"auto|(cpu|cuda|mps|xpu)(:\d+)?", "auto, cpu, cuda, mps, xpu or one of many: cuda:1"),
]
Uri = Annotated[str, form(r"(s3://.*)?", "s3://BUCKET/PREFIX, or empty")]
# YAML takes "on" and "off" for booleans; among choices they are names.
OnOff = BeforeValidator(
    lambda value: ("on" if value else "off") if isinstance(value, bool) else value
)
