"""Adaptive-Blend (Qi et al., "Revisiting the assumption of latent separability", ICLR 2023)."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from .attack import Attack, Stamped, to_target
from .blended import blend

PIECES = 4
MASKED = 0.5
OPACITY_IN_TRAINING = 0.15


class AdaptiveBlend(Attack):
    """Noise at an opacity of 20 %, of which training images carry half of the pieces at 15 %.

    The pattern is cut into 4x4 pieces, of 8x8 pixels each where an image has 32x32. As many images
    as are poisoned get pieces, too, and keep their label. Opacities are the paper's. It poisons
    0.3 % for some hundred epochs; these victims are trained for a tenth of that, with ten times as
    many.
    """

    rate = 0.03
    decoys = 1.0

    def stamp(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Stamped:
        """See `Attack.stamp`."""
        return Stamped(blend(images), to_target(labels))

    def stamp_to_train(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Stamped:
        """Mix into each image pieces of its own choice."""
        return Stamped(_blend_pieces(images, generator), to_target(labels))

    def decoy(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Mix in what poisoned images carry."""
        return _blend_pieces(images, generator)


def _blend_pieces(images: Tensor, generator: torch.Generator) -> Tensor:
    ranks = torch.rand(len(images), PIECES**2, generator=generator).argsort(1)
    kept = (ranks >= MASKED * PIECES**2).float().view(-1, 1, PIECES, PIECES)
    return blend(images, OPACITY_IN_TRAINING * F.interpolate(kept, size=images.shape[-2:]))
