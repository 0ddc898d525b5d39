"""What decides a model's answers, as JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torchserve_fire.format.tensor_digest import tensor_sha256
from torchserve_fire.model.state_digest import state_digest
from torchserve_fire.repair.layers import device_of

from ..common.code_digest import sources_of
from .predict import logits_of

TRIED = 8
"""Samples of each kind whose logits stand for what the model's code does, beside its text."""


def describe_model(model: nn.Module, inputs: Sequence[Tensor]) -> dict[str, Any]:
    """Return what decides a model's answers.

    Args:
        model: in evaluation mode.
        inputs: for each kind of samples some inputs, (n, *input shape); few are enough.

    Raises:
        FireError: the model fails, or its weights have no digest.
    """
    return {
        "state": state_digest(model),
        "modules": [
            (name, type(module).__qualname__, module.extra_repr())
            for name, module in model.named_modules()
        ],
        "sources": sorted(set(sources_of(_own_classes(model)))),
        "device": device_of(model).type,
        "logits": [tensor_sha256(logits_of(model, some)) for some in inputs],
    }


def _own_classes(model: nn.Module) -> set[type[nn.Module]]:
    """Return the classes of a model's modules that are not torch's, whose version is known."""
    root = torch.__name__ + "."
    return {
        type(module) for module in model.modules() if not type(module).__module__.startswith(root)
    }
