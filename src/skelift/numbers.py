"""Numbers from outside: real, finite and of the right sign, or one line that says which is not."""

import math
from argparse import ArgumentTypeError
from collections.abc import Callable
from numbers import Real
from typing import Any, TypeVar

Number = TypeVar("Number", int, float)


def is_real(value: Any) -> bool:
    """Whether a value is a finite number: no text, no truth value, no NaN, no infinity."""
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False


def is_positive(value: Any) -> bool:
    """Whether a value is a finite number above 0."""
    return is_real(value) and value > 0


def count(text: str) -> int:
    """An option that is 1, 2, 3, ..."""
    return _option(int, text, lambda number: number >= 1, "a whole number, 1 or more")


def port(text: str) -> int:
    """An option that is a TCP port."""
    return _option(int, text, lambda number: 1 <= number <= 65535, "a port from 1 to 65535")


def positive(text: str) -> float:
    """An option that is a number above 0."""
    return _option(float, text, is_positive, "a number above 0")


def non_negative(text: str) -> float:
    """An option that is a number, 0 or more."""
    return _option(float, text, lambda n: is_real(n) and n >= 0, "a number, 0 or more")


def _option(
    kind: Callable[[str], Number], text: str, holds: Callable[[Number], bool], said: str
) -> Number:
    """The number of an option's text; ArgumentTypeError, which argparse reports, for another."""
    try:
        number = kind(text)
    except ValueError:
        number = None
    if number is None or not holds(number):
        raise ArgumentTypeError(f"{text!r}: must be {said}")
    return number
