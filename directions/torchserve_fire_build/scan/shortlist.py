"""Which classes are searched one by one, where there are too many to search all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch

from .free_search import Lead
from .place_search import Placed
from .turned_images import Turned

ALL = 12
"""If there are no more classes than this, all are searched."""

SUSPECTS = 6
"""The most suspicious classes, at most, that are searched beside classes that are drawn at random.
The rest of `ALL` are the latter: they show how hard it is to lead inputs to a usual class."""


def shortlist(
    classes: int, led: Sequence[Placed | Turned | Lead], generator: torch.Generator
) -> list[int]:
    """Return the classes to search one by one, the suspects first.

    Args:
        classes: number of classes.
        led: where searches led that named no class.
        generator: draws the usual classes.

    Returns:
        At most `ALL` classes.
    """
    if classes <= ALL:
        return list(range(classes))
    votes: defaultdict[int, float] = defaultdict(float)
    for found in led:
        votes[found.target] += found.success
    # A search always ends at some class, even if it led nothing there.
    suspects = sorted((t for t in votes if votes[t] > 0), key=lambda target: -votes[target])
    suspects = suspects[:SUSPECTS]
    usual = [target for target in range(classes) if target not in suspects]
    drawn = torch.randperm(len(usual), generator=generator)[: ALL - len(suspects)]
    return [*suspects, *(usual[i] for i in drawn.tolist())]
