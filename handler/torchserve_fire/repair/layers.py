"""A model's layers: found by name; and the feature tensor in what they return."""

from __future__ import annotations

import difflib
import itertools
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import AttachError


def device_of(model: nn.Module) -> torch.device:
    """Return the device of the model's first parameter or buffer; the CPU where it has none."""
    tensors = itertools.chain(model.parameters(), model.buffers())
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def in_precision_of(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return inputs (N, *S) in the precision of a model's weights, which somebody may have halved.

    That is the precision of the first parameter or buffer of floating point numbers. A model
    without one takes any. Integers stay what they are.
    """
    if not inputs.is_floating_point():
        return inputs
    tensors = itertools.chain(model.parameters(), model.buffers())
    dtypes = (tensor.dtype for tensor in tensors if tensor.is_floating_point())
    return inputs.to(next(dtypes, inputs.dtype))


def is_compiled(model: nn.Module) -> bool:
    """Whether the module is what `torch.compile` returned for a module."""
    return hasattr(model, "_orig_mod")


def eager_model(model: nn.Module) -> nn.Module:
    """Return the module that was compiled, or the module itself where it was not."""
    eager: nn.Module = getattr(model, "_orig_mod", model)
    return eager


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """Return the submodule called `name` (as in `model.named_modules()`, before `torch.compile`).

    Raises:
        AttachError: the model has no such layer; the message names the nearest ones.
    """
    model = eager_model(model)
    # Without the model itself, whose name is empty.
    modules: dict[str, nn.Module] = {key: m for key, m in model.named_modules() if key}
    if name in modules:
        return modules[name]
    near = difflib.get_close_matches(name, list(modules), n=3, cutoff=0.3)
    hint = f"; the nearest are {', '.join(near)}" if near else ""
    raise AttachError(
        f"layer {name!r}: the model {type(model).__name__} has none of that name{hint}"
    )


def feature_of(output: Any) -> Tensor | None:
    """Return the feature tensor, (N, ...), of a layer's output, or None where it has none.

    A tensor is its own feature; of a tuple or list it is the first element.
    """
    if isinstance(output, (tuple, list)) and output:
        output = output[0]
    if isinstance(output, Tensor) and output.is_floating_point() and output.dim() >= 2:
        return output
    return None


def with_feature(output: Any, feature: Tensor) -> Any:
    """Return a layer's output with `feature` in the place of its feature tensor."""
    if isinstance(output, tuple):
        rest = (feature, *output[1:])
        # A named tuple takes its fields as arguments of their own.
        return type(output)(*rest) if hasattr(output, "_fields") else rest
    if isinstance(output, list):
        return [feature, *output[1:]]
    return feature
