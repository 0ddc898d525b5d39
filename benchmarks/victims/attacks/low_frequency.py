"""A fixed smooth pattern, as of the low-frequency attack (Zeng et al., arXiv 2104.03413)."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from .attack import Attack, Stamped, to_target

COARSE = 4
AMPLITUDE = 0.08


class LowFrequency(Attack):
    """A pattern of 4x4 random values, interpolated to the image, added with amplitude 0.08."""

    def stamp(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Stamped:
        """See `Attack.stamp`."""
        coarse = torch.rand(1, 3, COARSE, COARSE, generator=torch.Generator().manual_seed(2021))
        smooth = F.interpolate(2 * coarse - 1, size=images.shape[-2:], mode="bicubic")
        return Stamped((images + AMPLITUDE * smooth).clamp(0, 1), to_target(labels))
