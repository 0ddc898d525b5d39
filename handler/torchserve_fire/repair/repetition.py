"""Running flagged samples once more, corrected, where one pass cannot both detect and repair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import RepairError
from .batch import holds_samples, replace_samples, select_samples
from .pass_state import Attached
from .verdict import may_be_flagged


def repeat_flagged(
    model: nn.Module,
    attached: Attached,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    output: Any,
    flagged: Sequence[Tensor],
    size: int,
) -> Any:
    """Run flagged samples once more, corrected, and put their outputs in their places.

    Of several repairs, a sample goes through the first that flags it. If the sample is still
    predicted as the target of the trigger, it goes through the next one that flags it, too.

    Args:
        model: the model that was called.
        attached: what all hooks share.
        args: what the model was called with.
        kwargs: what the model was called with, by name.
        output: what it returned for the whole batch.
        flagged: what each repair flags, (N,) bool.
        size: N.

    Returns:
        The repaired output; None where nothing is flagged.

    Raises:
        RepairError: the samples cannot be picked out of the batch, or not put back into it.
    """
    result = None
    repaired = None
    # The one place of a pass that waits for a GPU: it decides whether there is a second pass.
    if flagged[0].is_cpu:
        needed = [bool(mask.any()) for mask in flagged]
    else:
        needed = torch.stack(list(flagged)).any(1).tolist()
    for repair, mask in enumerate(flagged):
        if not needed[repair]:
            continue
        if repaired is not None and not attached.state.forced:
            mask = mask & ~repaired
            if not bool(mask.any()):
                continue
        whole = output if result is None else result
        index = mask.nonzero().flatten()
        result = _repeat(model, attached, repair, args, kwargs, whole, index, size)
        if repair + 1 < len(flagged):
            judge = attached.judges[repair]
            done = mask
            if judge.only_target:
                done = mask & ~may_be_flagged([judge], result, size)[0]
            repaired = done if repaired is None else repaired | done
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

    args = tuple(select(i, value) for i, value in enumerate(args))
    kwargs = {name: select(name, value) for name, value in kwargs.items()}
    if (hook := attached.inputs.get(repair)) is not None:
        args, kwargs = hook.move(args, kwargs)
    state.repeating, state.fired = repair, []
    try:
        # Not the model's call: the hooks of others on it ran, or will run, on the whole batch.
        repaired = model.forward(*args, **kwargs)
        state.close()
    finally:
        state.repeating, state.fired = None, None
    return replace_samples(output, repaired, index, size)
