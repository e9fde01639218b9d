"""Whether a model may take the champion's place."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skelift.errors import InputError

# The first that both models have decides; lower is better in all of them.
HEADLINES = ("p_mpjpe_mm", "label_free")


@dataclass(frozen=True)
class Verdict:
    """What the gate says."""

    better: bool  # the model may be released
    metric: str  # the score that decided
    score: float  # the model's
    champion: float | None  # the champion's on the same images; None where there is no champion
    reason: str  # the same in a line for people

    def numbers(self) -> dict[str, float]:
        """The verdict as metrics."""
        numbers = {self.metric: self.score, "better": float(self.better)}
        if self.champion is not None:
            numbers[f"champion_{self.metric}"] = self.champion
        return numbers


def headline(metrics: Mapping[str, Any]) -> tuple[str, float]:
    """Name and value of the score that decides: P-MPJPE, or the label-free one without 3D truth.

    InputError where ``metrics``, what ``skelift evaluate`` writes, has neither.
    """
    scores = metrics["rows"][metrics["model"]]["overall"]
    for name in HEADLINES:
        if name in scores:
            return name, float(scores[name])
    raise InputError(
        f"metrics.json: none of {', '.join(HEADLINES)} in row {metrics['model']}; recreate "
        "it with `skelift evaluate`"
    )


def is_better(
    metrics: Mapping[str, Any], champion: Mapping[str, Any] | None, threshold: float
) -> Verdict:
    """Compare a model with the champion, both scored on the same images.

    Args:
        metrics: the model's ``metrics.json``.
        champion: the champion's; None if there is none, and any model is better then.
        threshold: share of the champion's score by which the model's has to be lower; 0 asks for
            strictly lower.

    Raises:
        InputError: a threshold outside [0, 1), or scores of different data sets.
    """
    check_threshold(threshold)
    name, score = headline(metrics)
    if champion is None:
        return Verdict(True, name, score, None, f"gate: {name} {score:.4g}; there is no champion")
    if champion["data"] != metrics["data"]:
        raise InputError("gate: the champion was scored on another data set; score both on one")
    other, theirs = headline(champion)
    assert other == name  # the same images have the same truth
    wanted = theirs * (1 - threshold)
    better = score < wanted
    words = "better than" if better else "not better than"
    reason = (
        f"gate: {name} {score:.4g} is {words} the champion's {theirs:.4g} less "
        f"{100 * threshold:g} % ({wanted:.4g})"
    )
    return Verdict(better, name, score, theirs, reason)


def check_threshold(threshold: float) -> None:
    """InputError for a threshold outside [0, 1)."""
    if not 0 <= threshold < 1:
        raise InputError(f"gate_threshold={threshold}: a share, from 0 to below 1")
