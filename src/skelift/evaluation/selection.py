"""Does a score that needs no labels find the better model?"""

from collections.abc import Mapping, Sequence
from typing import Any

from scipy.stats import spearmanr

LABEL_FREE = ("label_free", "silhouette_misfit", "proportion_spread")
TRUTH = "p_mpjpe_mm"
COURSE = (TRUTH, "error_2d_px", "error_2d_swapped_px")  # the truth that a snapshot is scored by


def rank_correlations(snapshots: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Spearman's rank correlation of each label-free score with P-MPJPE.

    Args:
        snapshots: scores of models in the course of their trainings: ``model`` (which training),
            ``p_mpjpe_mm`` and those of ``LABEL_FREE``.

    Returns:
        Label-free score -> ``{"all": over all snapshots, TRAINING: over those of one training}``;
        1 where both order the models alike. Trainings with fewer than three snapshots have none.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {"all": list(snapshots)}
    for snapshot in snapshots:
        groups.setdefault(snapshot["model"], []).append(snapshot)
    return {
        score: {
            name: float(spearmanr([s[score] for s in some], [s[TRUTH] for s in some]).statistic)
            for name, some in groups.items()
            if len(some) > 2
        }
        for score in LABEL_FREE
    }
