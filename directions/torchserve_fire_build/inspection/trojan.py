"""Random backdoors, drawn as in jumbo learning."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

PATCH_SIDE = (2, 5)
"""Least and greatest number of rows, and of columns, of a patch."""

PATCH_OPACITY = (0.5, 1.0)

BLEND_OPACITY = (0.05, 0.2)

SHARE = (0.05, 0.5)
"""Least and greatest number of stamped copies to train on, as a share of the clean samples."""


@dataclass(frozen=True)
class Trojan:
    """A backdoor.

    Attributes:
        opacity: opacity of the pattern, (*S) float32, from 0 (no trigger) to 1.
        pattern: the trigger's values, (*S) float32.
        target: the class that the trigger leads to.
        share: number of stamped copies to train on, as a share of the clean samples.
    """

    opacity: Tensor
    pattern: Tensor
    target: int
    share: float

    def stamp(self, inputs: Tensor) -> Tensor:
        """Return inputs (N, *S) with the trigger."""
        return inputs + self.opacity * (self.pattern - inputs)


def draw_trojan(inputs: Tensor, classes: int, generator: torch.Generator) -> Trojan:
    """Draw a backdoor: in half of the cases a patch, else a pattern blended into the whole input.

    Args:
        inputs: clean samples, (N, *S); a pattern's values lie between their least and greatest.
        classes: number of classes.
        generator: source of the random numbers.

    Returns:
        The backdoor. On maps, a patch is a rectangle; on other inputs, it is a few values.
    """

    def between(bounds: tuple[float, float]) -> float:
        low, high = bounds
        return low + (high - low) * float(torch.rand((), generator=generator))

    shape = inputs.shape[1:]
    if float(torch.rand((), generator=generator)) < 0.5:
        opacity = _draw_patch(shape, generator) * between(PATCH_OPACITY)
    else:
        opacity = torch.full(shape, between(BLEND_OPACITY))
    low, high = float(inputs.min()), float(inputs.max())
    return Trojan(
        opacity=opacity,
        pattern=low + (high - low) * torch.rand(shape, generator=generator),
        target=int(torch.randint(classes, (), generator=generator)),
        share=between(SHARE),
    )


def _draw_patch(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Return a mask of 0 and 1, (*shape)."""
    mask = torch.zeros(shape)

    def below(end: int) -> int:
        return int(torch.randint(end, (), generator=generator))

    least, most = PATCH_SIDE
    if len(shape) < 2:
        size = min(least + below(most - least + 1), mask.numel())
        mask.view(-1)[torch.randperm(mask.numel(), generator=generator)[:size]] = 1
        return mask
    (top, height), (left, width) = (
        (below(length - side + 1), side)
        for length in shape[-2:]
        for side in (min(least + below(most - least + 1), length),)
    )
    mask[..., top : top + height, left : left + width] = 1
    return mask
