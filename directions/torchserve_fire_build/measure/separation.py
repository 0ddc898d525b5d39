"""Whether scores tell triggered samples from clean ones, or seem to by luck."""

from __future__ import annotations

from torch import Tensor

MIN_AUC = 0.75

MIN_DEVIATIONS = 3.5
"""By which the AUC must exceed that of scores that tell nothing: many are tried."""

SURE_AUC = 0.97
"""Enough however few the samples are."""


def area_under_curve(clean: Tensor, triggered: Tensor) -> float | None:
    """Return the AUC: the share of pairs in which the triggered sample's score is the higher one.

    Args:
        clean: scores of clean samples, (N,).
        triggered: scores of triggered samples, (M,).

    Returns:
        From 0 to 1, an equal pair counting half; None without samples of both kinds.
    """
    if len(clean) == 0 or len(triggered) == 0:
        return None
    # By hand: scikit-learn's roc_auc_score takes a second to load, and refuses NaN.
    higher = (triggered[:, None] > clean[None]).float()
    return float((higher + 0.5 * (triggered[:, None] == clean[None])).mean())


def separates(clean: Tensor, triggered: Tensor) -> bool:
    """Compare scores by their AUC, the Mann-Whitney statistic over the number of pairs.

    Args:
        clean: scores of clean samples, (N,).
        triggered: scores of triggered samples, (M,).

    Returns:
        Whether triggered scores are higher than clean ones, beyond what luck explains.
    """
    n, m = len(clean), len(triggered)
    auc = area_under_curve(clean, triggered)
    if auc is None:
        return False
    deviation = float(((n + m + 1) / (12 * n * m)) ** 0.5)
    return auc >= min(SURE_AUC, max(MIN_AUC, 0.5 + MIN_DEVIATIONS * deviation))
