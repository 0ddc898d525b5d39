"""What activation functions return, wherever a model has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

CHANNEL_DIMENSIONS: Mapping[type[nn.Module], int] = {nn.ReLU: 1, nn.ReLU6: 1, nn.GELU: -1}
"""The dimension of an activation's output that holds the channels.

The nets that have GELUs have them behind linear layers.
"""

Visit = Callable[[str, Tensor, int], Tensor | None]
"""Is given an activation's name, its output and the output's channel dimension."""


def visit_activations(model: nn.Module, visit: Visit) -> list[RemovableHandle]:
    """Let `visit` see, and change, what each activation returns, each time that it runs."""
    # One ReLU module often serves in several places: its calls in a pass are numbered.
    calls: Counter[str] = Counter()
    handles = [model.register_forward_pre_hook(lambda module, args: calls.clear())]

    def hook_for(name: str, dimension: int) -> Callable[..., Tensor | None]:
        def hook(module: nn.Module, args: Any, output: Tensor) -> Tensor | None:
            calls[name] += 1
            return visit(f"{name}, call {calls[name]}", output, dimension)

        return hook

    for name, module in model.named_modules():
        if (dimension := CHANNEL_DIMENSIONS.get(type(module))) is not None:
            handles.append(module.register_forward_hook(hook_for(name, dimension)))
    return handles
