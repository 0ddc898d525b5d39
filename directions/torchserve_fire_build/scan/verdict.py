"""From a scan's evidence to one probability for the model, and one for each class."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .calibration import ALL_TO_ALL, FITS

FOUND = 0.9
"""A class is named if its probability is at least this."""

CLEAR = 0.5
"""Nothing is found if no probability exceeds this; in between, nobody can tell."""

UNMEASURED = 0.8
"""No probability is higher than this on inputs unlike those of the models of the fit."""

FITTED_ON = 10
"""Number of classes of the models that the regression was fitted on, for the most part."""


@dataclass(frozen=True)
class Verdict:
    """How likely a backdoor is.

    Attributes:
        probabilities: that each class is the target of a backdoor, (classes,) float64.
        least: probability that a model is backdoored by which nothing is unusual.
        all_to_all: probability that a backdoor leads each class to another one.
    """

    probabilities: Tensor
    least: float = 0.0
    all_to_all: float = 0.0

    @property
    def probability(self) -> float:
        """That the model is backdoored."""
        return max(float(self.probabilities.max()), self.least, self.all_to_all)

    @property
    def targets(self) -> list[int]:
        """The classes that are named, the most likely first."""
        order = self.probabilities.argsort(descending=True, stable=True).tolist()
        return [target for target in order if float(self.probabilities[target]) >= FOUND]

    @property
    def found(self) -> bool | None:
        """Whether the model looks backdoored; None if nobody can tell."""
        if self.targets or self.all_to_all >= FOUND:
            return True
        return False if self.probability <= CLEAR else None

    def unmeasured(self) -> Verdict:
        """Return the verdict on inputs unlike those of the models that it was fitted on.

        What is likely becomes less so, up to `UNMEASURED`: nobody can tell. The order stays.
        """
        share = (UNMEASURED - CLEAR) / (1 - CLEAR)

        def less(probability: Tensor) -> Tensor:
            return probability - (1 - share) * (probability - CLEAR).clamp(min=0)

        others = (float(less(torch.tensor(each))) for each in (self.least, self.all_to_all))
        return Verdict(less(self.probabilities), *others)


def judge(evidence: Tensor, images: int, followed: float | None = None) -> Verdict:
    """Compute the probabilities from a scan's evidence, (classes, len(NAMES)) float64.

    Each number counts only as far as it exceeds what it usually reaches for some class of a benign
    model, in multiples of that. The logistic regression on these, as what is usual, was fitted on
    models of which it is known whether they are backdoored, as many benign ones as victims
    (`benchmarks/scanning.py`). With more classes, each is less likely to be the target, and one of
    them stands out further by chance: the odds are divided by the number of classes.

    Args:
        evidence: from `evidence_of`.
        images: number of clean images that the scan was given.
        followed: from `followed_by`.
    """
    # With fewer images, classes of benign models stand out further.
    usual, weights, offset = FITS[max((n for n in FITS if n <= images), default=min(FITS))]
    verdict = judge_by(evidence, _as_tensor(usual), _as_tensor(weights), offset)
    return replace(verdict, all_to_all=judge_all_to_all(followed, *ALL_TO_ALL))


def judge_all_to_all(followed: float | None, slope: float, offset: float) -> float:
    """Return the probability that a backdoor leads each class to another one.

    Args:
        followed: from `followed_by`; where it is None, nothing speaks for such a backdoor.
        slope: of the log-odds over the share of inputs that follow.
        offset: log-odds where none follows.
    """
    return 0.0 if followed is None else 1 / (1 + math.exp(-slope * followed - offset))


def judge_by(evidence: Tensor, usual: Tensor, weights: Tensor, offset: float) -> Verdict:
    """Compute the probabilities by other values.

    Args:
        evidence: (classes, len(NAMES)) float64.
        usual: what each number usually reaches in a benign model, (len(NAMES),) float64.
        weights: log-odds for each multiple of what is usual, (len(NAMES),) float64.
        offset: log-odds where nothing exceeds it, for `FITTED_ON` classes.
    """
    exceeds = exceeding(evidence, usual) @ weights
    prior = offset - math.log(len(evidence) / FITTED_ON)
    least = 1 / (1 + math.exp(-prior))
    # Of classes by which nothing is unusual, any may be the target.
    probabilities = torch.where(exceeds == 0, least / len(evidence), (exceeds + prior).sigmoid())
    return Verdict(probabilities, least)


def exceeding(evidence: Tensor, usual: Tensor) -> Tensor:
    """Return by how many times the usual ones the numbers exceed these, (classes, len(NAMES))."""
    exceeds: Tensor = (evidence / usual - 1).clamp(min=0)
    return exceeds


def _as_tensor(numbers: tuple[float, ...]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)
