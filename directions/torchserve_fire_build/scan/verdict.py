"""From a scan's evidence to one probability for the model, and one for each class."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .calibration import OFFSET, WEIGHTS

FOUND = 0.9
"""A class is named if its probability is at least this."""

CLEAR = 0.5
"""Nothing is found if no probability exceeds this; in between, nobody can tell."""

USUAL = 10
"""Number of classes of the models that the weights were fitted on, for the most part."""


@dataclass(frozen=True)
class Verdict:
    """How likely a backdoor is.

    Attributes:
        probabilities: that each class is the target of a backdoor, (classes,) float64.
    """

    probabilities: Tensor

    @property
    def probability(self) -> float:
        """That the model is backdoored."""
        return float(self.probabilities.max())

    @property
    def targets(self) -> list[int]:
        """The classes that are named, the most likely first."""
        order = self.probabilities.argsort(descending=True, stable=True).tolist()
        return [target for target in order if float(self.probabilities[target]) >= FOUND]

    @property
    def found(self) -> bool | None:
        """Whether the model looks backdoored; None if nobody can tell."""
        if self.targets:
            return True
        return False if self.probability <= CLEAR else None


def judge(evidence: Tensor) -> Verdict:
    """Compute the probabilities.

    Logistic regression, with weights that were fitted on models of which it is known whether they
    are backdoored: benign ones and victims, as many of each (`benchmarks/scanning.py`). With more
    classes, each is less likely to be the target, and the one that stands out most stands out
    further by chance: its odds are divided by their number.

    Args:
        evidence: from `evidence_of`, (classes, len(evidence.NAMES)) float64.
    """
    return judge_by(evidence, torch.tensor(WEIGHTS, dtype=torch.float64), OFFSET)


def judge_by(evidence: Tensor, weights: Tensor, offset: float) -> Verdict:
    """Compute the probabilities by weights, (len(evidence.NAMES),) float64, and an offset."""
    odds = evidence @ weights + offset - math.log(len(evidence) / USUAL)
    return Verdict(odds.sigmoid())
