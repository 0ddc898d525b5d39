"""Whether scores separate triggered samples from clean ones, or seem to by chance."""

from __future__ import annotations

from torch import Tensor

MIN_AUC = 0.75

MIN_DEVIATIONS = 3.5
"""Standard deviations by which the AUC must exceed that of useless scores. The value is high, since
many scores are tried."""

SURE_AUC = 0.97
"""An AUC that is enough, however few the samples are."""


def area_under_curve(clean: Tensor, triggered: Tensor) -> float | None:
    """Return the AUC: the share of pairs in which the triggered sample has the higher score.

    Args:
        clean: scores of clean samples, (N,).
        triggered: scores of triggered samples, (M,).

    Returns:
        The AUC, from 0 to 1; a pair of equal scores counts half. None without samples of both
        kinds.
    """
    if len(clean) == 0 or len(triggered) == 0:
        return None
    # Written by hand: scikit-learn's roc_auc_score takes a second to load, and refuses NaN.
    higher = (triggered[:, None] > clean[None]).float()
    return float((higher + 0.5 * (triggered[:, None] == clean[None])).mean())


def separates(clean: Tensor, triggered: Tensor) -> bool:
    """Return whether triggered scores are higher than clean ones, beyond what chance explains.

    They are compared by their AUC, the Mann-Whitney statistic divided by the number of pairs.

    Args:
        clean: scores of clean samples, (N,).
        triggered: scores of triggered samples, (M,).
    """
    n, m = len(clean), len(triggered)
    auc = area_under_curve(clean, triggered)
    if auc is None:
        return False
    deviation = float(((n + m + 1) / (12 * n * m)) ** 0.5)
    return auc >= min(SURE_AUC, max(MIN_AUC, 0.5 + MIN_DEVIATIONS * deviation))
