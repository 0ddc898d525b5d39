"""SIG (Barni et al., arXiv 1902.11237): a sinusoidal stripe, with clean labels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .attack import Attack, Stamped, to_target

AMPLITUDE = 40 / 255
FREQUENCY = 6


class Sig(Attack):
    """A sinusoid across the columns, on images of the target class only.

    8 % of all images are 80 % of a class of ten, so that some of the class are left unstamped.
    """

    rate = 0.08
    clean_label = True

    def stamp(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Stamped:
        """See `Attack.stamp`."""
        width = images.shape[-1]
        wave = torch.sin(2 * math.pi * FREQUENCY * torch.arange(width) / width)
        return Stamped((images + AMPLITUDE * wave).clamp(0, 1), to_target(labels))
