"""What a scan says of each class, in numbers that a probability can be computed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

import torch
from torch import Tensor

from .all_to_all import CHANGES
from .compare_classes import Comparison
from .findings import FREELY, PLACES, RESTARTS, STEPS, TURNS, Scan
from .free_search import Lead
from .place_search import Placed
from .scores import scores_of
from .turned_images import Turned

RESOLUTIONS: Mapping[str, float] = {
    "generated": 0.8,
    "additive": 0.8,
}
"""Differences of effort that mean nothing, in each search's own unit: about half of what the
easiest class of a benign model has before the median class."""

MOST = 10.0
"""Scores above this say no more than this."""

NEARLY_ALL = 0.99
"""Leads that succeed more often say no more than this."""

ALL_PLACES = 0.25
"""How much counts what all places reach together, beside the one from which most inputs are led to
a class. Where several classes are reached from some places, the target is reached from more."""

NAMES = (PLACES, TURNS, *(f"anywhere, {kind}" for kind in FREELY), *STEPS)
"""Names of the numbers, in their order."""


def evidence_of(scan: Scan) -> Tensor:
    """Return the numbers for each class, (classes, len(NAMES)) float64; 0 for nothing found.

    For searches that name no class, the number is how surely they led to the class: -ln(1 - share
    of the inputs led there), up to that of `NEARLY_ALL`. The share is the mean of the restarts. For
    patches at one place each, it is that of the best place, and of all as `ALL_PLACES` says. For
    turned images, it is that of the angle by which most are led there, less that of the quarter
    turn by which fewest are. For searches that name a class, the number is how far the class's
    effort lies below that of most classes, in deviations, from 0 to `MOST`.
    """
    columns = [_led_by_places(scan.places, scan.classes), _turned(scan.turned, scan.classes)]
    columns += [_led(scan.leads, kind, scan.classes) for kind in FREELY]
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
    return _sureness(shares)


def _led_by_places(places: Sequence[Placed], classes: int) -> Tensor:
    best, every = (torch.zeros(classes, dtype=torch.float64) for _ in range(2))
    for placed in places:
        every[placed.target] += placed.success / len(places)
        best[placed.target] = max(float(best[placed.target]), placed.success)
    return _sureness((1 - ALL_PLACES) * best + ALL_PLACES * every)


def _turned(turned: Sequence[Turned], classes: int) -> Tensor:
    # The first row is of the images as they are.
    shares = torch.zeros(1 + len(turned), classes, dtype=torch.float64)
    for row, each in zip(shares[1:], turned, strict=True):
        row[each.target] = each.success
    quarters = [i for i, each in enumerate(turned, 1) if each.degrees % 90 == 0]
    if quarters:
        # A class to which all that is unfamiliar goes takes images at every angle.
        shares -= shares[quarters].amin(0)
    return _sureness(shares.amax(0))


def _sureness(shares: Tensor) -> Tensor:
    return -(1 - shares.clamp(max=NEARLY_ALL)).log()


def _compared(comparison: Comparison | None, method: str, classes: int) -> Tensor:
    scores = torch.zeros(classes, dtype=torch.float64)
    if comparison is not None:
        found = scores_of(comparison.effort, RESOLUTIONS[method])
        scores[torch.tensor(comparison.targets)] = found.clamp(0, MOST)
    return scores
