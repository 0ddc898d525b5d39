"""Which classes are searched one by one, where there are too many to search all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch

from .free_search import Lead
from .place_search import Placed

ALL = 12
"""If there are no more classes than this, all are searched."""

SUSPECTS = 6
"""Most suspicious classes that are searched beside classes that are drawn at random. The rest of
`ALL` are the latter: they show how hard it is to lead inputs to a usual class."""


def shortlist(
    classes: int,
    places: Sequence[Placed],
    leads: Sequence[Lead],
    ranked: Sequence[int],
    generator: torch.Generator,
) -> list[int]:
    """Return the classes to search one by one, the suspects first.

    Args:
        classes: number of classes.
        places: where patches led, each at its place.
        leads: where searches led that named no class.
        ranked: the classes, the most suspicious first.
        generator: draws the usual classes.

    Returns:
        At most `ALL` classes.
    """
    if classes <= ALL:
        return list(range(classes))
    votes: defaultdict[int, float] = defaultdict(float)
    for placed in places:
        votes[placed.target] += placed.success
    for lead in leads:
        votes[lead.target] += lead.success
    # A search always ends at some class, even if it led nothing there.
    led = sorted((t for t in votes if votes[t] > 0), key=lambda target: -votes[target])
    # Half of the suspects' places are for those whom no lead names.
    suspects = list(dict.fromkeys([*led[: SUSPECTS // 2], *ranked]))[:SUSPECTS]
    usual = [target for target in range(classes) if target not in suspects]
    drawn = torch.randperm(len(usual), generator=generator)[: ALL - len(suspects)]
    return [*suspects, *(usual[i] for i in drawn.tolist())]
