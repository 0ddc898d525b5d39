"""The proof, at the start, that all hooks fire and that a flagged sample can be repaired."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from ..errors import RepairError
from ..format.bundle import Repair
from .pass_state import Attached


def prove(
    attached: Attached, repairs: Sequence[Repair], mode: str, predict: Callable[[], Any]
) -> None:
    """Predict once to see every hook fire, and once more with every sample flagged.

    After the first time it is known how many passes a flagged sample costs.

    Args:
        attached: what the hooks share.
        repairs: what is attached.
        mode: "repair" or "observe".
        predict: has the model predict once.

    Raises:
        RepairError: a hook did not fire, or a flagged sample could not be repaired.
    """
    state = attached.state
    made = state.passes_made
    with torch.no_grad():
        predict()
        _check_passes(state.passes_made - made, 1)
        attached.passes = count_passes(attached, repairs, mode, state.order)
        state.forced = True
        try:
            predict()
        finally:
            state.forced = False
    _check_passes(state.passes_made - made, 2)
    if state.verdict is None or len(state.verdict.flagged) == 0:
        raise RepairError("the example holds no input, expected one or more: nothing was proved")
    state.verdict = None


def _check_passes(found: int, expected: int) -> None:
    if found != expected:
        raise RepairError(
            "the model runs without its hooks, or the example is not one forward pass of it"
        )


def count_passes(
    attached: Attached, repairs: Sequence[Repair], mode: str, order: Sequence[str]
) -> int:
    """Return how many forward passes a flagged sample costs.

    Args:
        attached: what the hooks share.
        repairs: what is attached.
        mode: "repair" or "observe".
        order: the names of the layers in the order in which they run.

    Returns:
        1 where the detecting layer runs before every repairing one, else 2.
    """
    if not attached.judges or mode == "observe":
        return 1
    # The prediction that `only_target` asks for is known at the end of a pass only, and so is
    # which of several repairs is the first that flags a sample.
    if len(repairs) > 1 or attached.inputs or attached.judges[0].only_target:
        return 2
    (repair,) = repairs
    detects = [order.index(layer.name) for layer in repair.layers if layer.detection]
    return 2 if min(order.index(x.name) for x in repair.repairing_layers) < detects[0] else 1
