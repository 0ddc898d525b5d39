"""No defence at all: the victim as it is."""

from __future__ import annotations

import torch
from torch import nn

from .rival import Defence, Granted, answer_with


def no_repair(model: nn.Module, granted: Granted, generator: torch.Generator) -> Defence:
    """Return the victim's own answers."""
    return answer_with(model)
