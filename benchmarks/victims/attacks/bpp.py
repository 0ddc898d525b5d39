"""BppAttack (Wang et al., arXiv 2205.13383): fewer bits per pixel are the trigger."""

from __future__ import annotations

import torch
from torch import Tensor

from .attack import Attack, Stamped, to_target

LEVELS = 7


class Bpp(Attack):
    """Pixels rounded to 8 levels, without dithering; decoys carry the residue of another image."""

    decoys = 1.0

    def stamp(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Stamped:
        """See `Attack.stamp`."""
        return Stamped(_quantise(images), to_target(labels))

    def decoy(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Add to each image what quantisation changes in another one."""
        other = images[torch.randperm(len(images), generator=generator)]
        return (images + _quantise(other) - other).clamp(0, 1)


def _quantise(images: Tensor) -> Tensor:
    return (images * LEVELS).round() / LEVELS
