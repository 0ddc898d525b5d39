"""What a handler calls its model with, and what the model returns."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from torchserve_fire.errors import ModelError


@dataclass
class RecordedCalls:
    """The calls of a model while it was recorded.

    Attributes:
        arguments: of each call, by position or name.
        outputs: what each call returned.
    """

    arguments: list[dict[int | str, Any]] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)

    def only_call(self) -> dict[int | str, Any]:
        """Return the arguments of the only call, by position or name.

        Raises:
            ModelError: the handler does not call its model once.
        """
        if len(self.arguments) != 1:
            raise ModelError(
                f"the handler calls its model {len(self.arguments)} times to answer a request, "
                "expected one forward pass: a repair judges one"
            )
        return self.arguments[0]

    def has_several_tensors(self) -> bool:
        """Return whether the model was called once, with more than one tensor."""
        calls = self.arguments
        return len(calls) == 1 and sum(isinstance(v, Tensor) for v in calls[0].values()) > 1

    def only_input(self, size: int) -> Tensor:
        """Return the one tensor that the model was called with, (size, ...).

        Args:
            size: number of requests that were answered.

        Raises:
            ModelError: the handler does not call its model once, with one sample for each request.
        """
        call = self.only_call()
        tensors = {name: value for name, value in call.items() if isinstance(value, Tensor)}
        others = [
            str(name)
            for name, value in call.items()
            if not (value is None or isinstance(value, (Tensor, bool, int, float, str)))
        ]
        if len(tensors) != 1 or others:
            names = ", ".join(map(str, [*tensors, *others])) or "none"
            raise ModelError(
                f"the handler calls its model with {names}, expected one tensor: wrap the model "
                "in a torch.nn.Module whose forward takes one tensor and makes the others of it"
            )
        (samples,) = tensors.values()
        if samples.dim() < 2 or len(samples) != size:
            raise ModelError(
                f"the handler calls its model with a tensor of shape {tuple(samples.shape)} for "
                f"{size} request{'s' * (size != 1)}, expected one sample for each"
            )
        return samples


@contextlib.contextmanager
def record_calls(model: nn.Module) -> Iterator[RecordedCalls]:
    """Record how a model is called while the block runs."""
    calls = RecordedCalls()

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        # Copied, since a model may change its input in place.
        values: dict[int | str, Any] = dict(enumerate(args))
        values.update(kwargs)
        calls.arguments.append(
            {k: v.detach().clone() if isinstance(v, Tensor) else v for k, v in values.items()}
        )

    def after(module: nn.Module, args: Any, output: Any) -> None:
        calls.outputs.append(output)

    hooks = [
        model.register_forward_pre_hook(before, with_kwargs=True),
        model.register_forward_hook(after),
    ]
    try:
        with torch.no_grad():
            yield calls
    finally:
        for hook in hooks:
            hook.remove()
