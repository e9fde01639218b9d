"""The search space, and its trials as overrides of the configuration.

Trials on a cluster run in parallel, without exchanging results. They take the points of a scrambled
Halton sequence, which cover the space evenly at any number: trial n of a seed is the same point on
every machine. Trial 0 is the unchanged configuration, so the winner is never worse.
"""

from collections.abc import Mapping
from typing import Any

from skelift.config import Config, RangeConfig, SweepConfig, vary
from skelift.config.read import shown
from skelift.errors import InputError

Values = dict[str, Any]
SEARCHED = ("loss.", "train.", "model.")


def check_sweep(config: Config) -> None:
    """InputError, in one line, unless every trial of ``config.sweep`` can be composed."""
    sweep = config.sweep
    if config.variants:
        raise InputError("variants: a sweep trains one model; drop them with ~variants")
    if not sweep.space:
        raise InputError("sweep.space: empty; choose sweep=images or name keys and ranges")
    for key, values in sweep.space.items():
        _check_range(key, values)
    for corner in (0.0, 1.0 - 1e-9):
        apply(config, {key: _at(values, corner) for key, values in sweep.space.items()})


def trial_values(sweep: SweepConfig, number: int) -> Values:
    """Values of trial ``number``: a function of the space, ``sweep.seed`` and the number alone."""
    from scipy.stats.qmc import Halton

    if number == 0:
        return {}
    point = Halton(len(sweep.space), scramble=True, rng=sweep.seed).random(number)[-1]
    return {
        key: _at(values, float(x))
        for (key, values), x in zip(sweep.space.items(), point, strict=True)
    }


def apply(config: Config, values: Mapping[str, Any]) -> Config:
    """The configuration with the values of a trial in it; InputError if they do not fit."""
    return vary(config, overrides(values))


def overrides(values: Mapping[str, Any]) -> list[str]:
    """Values as the command line takes them: ``loss.flow=0.5``."""
    return [f"{key}={shown(value)}" for key, value in values.items()]


def bounds(values: RangeConfig) -> tuple[float, float]:
    """Ends of a checked range without choices; whole numbers of an ``integer`` one."""
    assert values.low is not None
    assert values.high is not None
    return (int(values.low), int(values.high)) if values.integer else (values.low, values.high)


def _check_range(key: str, values: RangeConfig) -> None:
    if not key.startswith(SEARCHED) or key == "model.units":
        raise InputError(
            f"sweep.space: {key} is not searched, since the flow and the data set are the same for "
            "all trials; name keys of loss, train or model (model.units excepted)"
        )
    low, high = values.low, values.high
    if values.choices:
        if low is not None or high is not None:
            raise InputError(f"sweep.space.{key}: has choices and a range; keep one")
    elif low is None or high is None or not low < high or (values.log and low <= 0):
        raise InputError(
            f"sweep.space.{key}: low={low}, high={high}; give choices, or low < high (above 0 with "
            "log)"
        )


def _at(values: RangeConfig, x: float) -> Any:
    """The value at x in [0, 1)."""
    if values.choices:
        return values.choices[int(x * len(values.choices))]
    low, high = bounds(values)
    if values.integer:
        return low + int(x * (high - low + 1))
    at = low * (high / low) ** x if values.log else low + x * (high - low)
    return float(f"{at:.6g}")  # prints, and reads back, as the same number
