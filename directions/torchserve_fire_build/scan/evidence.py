"""What a scan says of each class, in numbers that a probability can be computed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

import torch
from torch import Tensor

from .all_to_all import CHANGES
from .compare_classes import Comparison
from .findings import RESTARTS, STEPS, Scan
from .free_search import KINDS, Lead
from .scores import scores_of

RESOLUTIONS: Mapping[str, float] = {
    "neural-cleanse": 0.15,
    "generated": 0.8,
    "additive": 0.8,
    "sinusoidal": 2.0,
}
"""Differences of effort that mean nothing, in each search's own unit: about half of what the
easiest class of a benign model has before the median class."""

MOST = 10.0
"""Scores above this say no more than this."""

NEARLY_ALL = 0.99
"""Leads that succeed more often say no more than this."""

NAMES = (*(f"anywhere, {kind}" for kind in KINDS), *STEPS)
"""Names of the numbers, in their order."""


def evidence_of(scan: Scan) -> Tensor:
    """Return the numbers for each class, (classes, len(NAMES)) float64; 0 for nothing found.

    For searches that name no class, the number is how surely their restarts led to the class:
    -ln(1 - share of the inputs led there), up to that of `NEARLY_ALL`. For searches that name a
    class, it is how far the class's effort lies below that of most classes, in deviations, from 0
    to `MOST`.
    """
    columns = [_led(scan.leads, kind, scan.classes) for kind in KINDS]
    compared = {comparison.method: comparison for comparison in scan.comparisons}
    columns += [_compared(compared.get(method), method, scan.classes) for method in STEPS]
    return torch.stack(columns, 1)


def followed_by(scan: Scan) -> float | None:
    """Return how surely each class is led to another one; None if that was not searched for.

    It is the mean of the restarts' shares of inputs that follow, of the kind that reached most.
    """
    shares = [
        [found.followed for found in scan.all_to_all if found.kind == kind] for kind in CHANGES
    ]
    return max((fmean(of_kind) for of_kind in shares if of_kind), default=None)


def _led(leads: Sequence[Lead], kind: str, classes: int) -> Tensor:
    shares = torch.zeros(classes, dtype=torch.float64)
    for lead in leads:
        if lead.kind == kind:
            shares[lead.target] += lead.success / RESTARTS
    return -(1 - shares.clamp(max=NEARLY_ALL)).log()


def _compared(comparison: Comparison | None, method: str, classes: int) -> Tensor:
    scores = torch.zeros(classes, dtype=torch.float64)
    if comparison is not None:
        found = scores_of(comparison.effort, RESOLUTIONS[method])
        scores[torch.tensor(comparison.targets)] = found.clamp(0, MOST)
    return scores
