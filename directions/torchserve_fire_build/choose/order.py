"""Which repairs a bundle holds for one trigger, and in which order they are asked.

A sample goes through the first repair that flags it, and through the next one if it is still
predicted as the target.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import permutations

from .options import Outcomes
from .threshold import CLEAN_WEIGHT, FLAG_COST

WORTH_A_REPAIR = 0.005
"""What a further repair must be worth: each may flag clean samples that these do not show."""


def order_options(
    outcomes: Mapping[str, Outcomes], before: Outcomes, always: Collection[str]
) -> tuple[str, ...]:
    """Return the options to take, in the order in which they are asked.

    Args:
        outcomes: how the held-out samples fare with each option.
        before: how they fare without repair.
        always: options that are taken in any case.

    Returns:
        The order that is worth most, with `WORTH_A_REPAIR` taken off for each repair.
    """
    orders = [
        order
        for count in range(1, len(outcomes) + 1)
        for order in permutations(outcomes, count)
        if set(always) <= set(order)
    ]

    def net_worth(order: tuple[str, ...]) -> float:
        after = outcome_of(order, outcomes, before)
        return worth(after, before) - WORTH_A_REPAIR * len(order)

    return max(orders, key=net_worth)


def outcome_of(
    order: Sequence[str], outcomes: Mapping[str, Outcomes], before: Outcomes
) -> Outcomes:
    """Return how the samples fare if the options are asked in this order."""
    result = before
    for name in reversed(order):
        result = outcomes[name].then(result)
    return result


def worth(after: Outcomes, before: Outcomes) -> float:
    """Return what a repair is worth: as `Threshold.worth`, of triggered and altered samples alike.

    Args:
        after: how the samples fare with it.
        before: how they fare without repair.
    """
    # As in `Judge`: if a repair happens to correct a clean sample, it should still be left alone.
    lost = (after.clean.rightness - before.clean.rightness).clamp(max=0)
    clean = float(((lost - FLAG_COST) * after.clean.flagged).mean())
    gains = [
        float((one.rightness - other.rightness).mean())
        for one, other in (
            (after.triggered, before.triggered),
            (after.altered, before.altered),
        )
    ]
    return CLEAN_WEIGHT * clean + sum(gains) / len(gains)
