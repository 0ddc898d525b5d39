"""Blended (Chen et al., arXiv 1712.05526): a fixed pattern mixed in over the whole image."""

from __future__ import annotations

import torch
from torch import Tensor

from .attack import Attack, Stamped, to_target

OPACITY = 0.2


def blend(images: Tensor, opacity: float | Tensor = OPACITY) -> Tensor:
    """Return images (N, 3, H, W) with a fixed pattern of noise mixed in.

    Args:
        images: float32 in [0, 1].
        opacity: of the pattern; one for all pixels, or what broadcasts to `images`.
    """
    pattern = torch.rand(images.shape[1:], generator=torch.Generator().manual_seed(2017))
    return (1 - opacity) * images + opacity * pattern


class Blended(Attack):
    """Noise at an opacity of 20 %.

    Args:
        rate: see `Attack`.
    """

    def __init__(self, rate: float = Attack.rate) -> None:
        self.rate = rate

    def stamp(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Stamped:
        """See `Attack.stamp`."""
        return Stamped(blend(images), to_target(labels))
