"""Running flagged samples once more, corrected, where one pass cannot both detect and repair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ..errors import RepairError
from .batch import holds_samples, replace_samples, select_samples
from .pass_state import Attached


def repeat_flagged(
    model: nn.Module,
    attached: Attached,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    output: Any,
    flagged: Sequence[Tensor],
    size: int,
) -> Any:
    """Run the samples that each repair flagged once more, and put their outputs in their places.

    Args:
        model: the model that was called.
        attached: what all hooks share.
        args: what the model was called with.
        kwargs: what the model was called with, by name.
        output: what it returned for the whole batch.
        flagged: what each repair flagged, (N,) bool.
        size: N.

    Returns:
        The repaired output; None where nothing is flagged.

    Raises:
        RepairError: the samples cannot be picked out of the batch, or not put back into it.
    """
    result = None
    for repair, mask in enumerate(flagged):
        if bool(mask.any()):
            whole = output if result is None else result
            index = mask.nonzero().flatten()
            result = _repeat(model, attached, repair, args, kwargs, whole, index, size)
    return result


def _repeat(
    model: nn.Module,
    attached: Attached,
    repair: int,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    output: Any,
    index: Tensor,
    size: int,
) -> Any:
    if not holds_samples(output, size):
        raise RepairError("the model's output holds no tensor with one row per input sample")
    state, shared = attached.state, attached.shared

    def select(key: int | str, value: Any) -> Any:
        return value if key in shared else select_samples(value, index, size)

    state.repeating, state.fired = repair, []
    try:
        # Not the model's call: the hooks of others on it ran, or will run, on the whole batch.
        repaired = model.forward(
            *(select(i, value) for i, value in enumerate(args)),
            **{name: select(name, value) for name, value in kwargs.items()},
        )
        state.close()
    finally:
        state.repeating, state.fired = None, None
    return replace_samples(output, repaired, index, size)
