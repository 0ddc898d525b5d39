"""Channel Lipschitzness based pruning, CLP (Zheng et al., ECCV 2022, arXiv 2208.03111)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from ..samples.predict import logits_of
from .rival import Defence, Granted, RivalNotApplicable, answer_with

DEVIATIONS = 3.0
"""The paper's u for CIFAR-10."""


def channel_lipschitz_pruning(
    model: nn.Module, granted: Granted, generator: torch.Generator
) -> Defence:
    """Prune the channels whose Lipschitz bound stands out in their layer; no image is needed.

    A channel's bound is the largest singular value of its kernel, as a matrix of its input channels
    by its places, times what the batch normalisation behind it multiplies by; those above mean +
    u standard deviations of their layer's are made to be 0 behind the normalisation.

    Raises:
        RivalNotApplicable: no batch normalisation follows a convolution.
    """
    pruned = copy.deepcopy(model)
    pairs = _normalised_convolutions(pruned, granted.description.example())
    if not pairs:
        raise RivalNotApplicable("no batch normalisation follows a convolution")
    for convolution, norm in pairs:
        bounds = lipschitz_bounds(convolution, norm)
        outlying = bounds > bounds.mean() + DEVIATIONS * bounds.std()
        with torch.no_grad():
            norm.weight[outlying] = 0
            norm.bias[outlying] = 0
    return answer_with(pruned)


@torch.no_grad()
def lipschitz_bounds(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> Tensor:
    """Return an upper bound of each output channel's Lipschitz constant, (C,)."""
    scale = norm.weight / (norm.get_buffer("running_var") + norm.eps).sqrt()
    norms: Tensor = torch.linalg.matrix_norm(convolution.weight.flatten(2), ord=2)
    return norms * scale.abs()


def _normalised_convolutions(
    model: nn.Module, example: Tensor
) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Return each convolution whose output a batch normalisation takes, with that normalisation.

    Only running the model, on an example (1, *input shape), shows what follows what.
    """
    made: list[tuple[Tensor, nn.Conv2d]] = []
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []

    def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            made.append((output, module))
        elif isinstance(module, nn.BatchNorm2d):
            pairs.extend((conv, module) for result, conv in made if result is args[0])

    handles = [module.register_forward_hook(hook) for module in model.modules()]
    try:
        logits_of(model, example)
    finally:
        for handle in handles:
            handle.remove()
    return pairs
