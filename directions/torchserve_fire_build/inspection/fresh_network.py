"""The same network with new weights."""

from __future__ import annotations

import copy

import torch
from torch import nn


def fresh_network(model: nn.Module, seed: int) -> nn.Module:
    """Return a copy of a network, on the CPU, with weights as before any training.

    Layers draw theirs as when they are made. Parameters of modules that cannot do so, such as the
    position embedding of a transformer, are drawn from a normal distribution as wide as their
    values are now.

    Args:
        model: is left as it is.
        seed: of the weights.
    """
    network = copy.deepcopy(model).cpu()
    # Layers draw their weights from the global generator only.
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for module in network.modules():
            for name in ("reset_parameters", "_reset_parameters"):
                reset = getattr(module, name, None)
                if callable(reset):
                    reset()
                    break
            else:
                for parameter in module.parameters(recurse=False):
                    parameter.normal_(0, float(parameter.std(correction=0)))
    return network.requires_grad_()
