"""The same network with new weights."""

from __future__ import annotations

import copy

import torch
from torch import nn


def fresh_network(model: nn.Module, seed: int) -> nn.Module:
    """Return a copy of a network, on the CPU, with weights as before any training.

    Layers draw their weights as when they are made. Other parameters, such as the position
    embedding of a transformer, are drawn from a normal distribution with the standard deviation of
    their present values.

    Args:
        model: the network; it is not changed.
        seed: of the weights.
    """
    network = copy.deepcopy(model).cpu()
    # Layers draw their weights only from the global generator.
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
