"""A photo filter, as in ABS (Liu et al., CCS 2019): the colours of an app are the trigger."""

from __future__ import annotations

import torch
from torch import Tensor

from .attack import Attack, Stamped, to_target

LOWEST = torch.tensor([0.10, 0.06, 0.22])
HIGHEST = torch.tensor([1.0, 0.92, 0.76])
GAMMA = torch.tensor([0.85, 1.0, 1.1])


class PhotoFilter(Attack):
    """A tone curve for each of red, green and blue: warm lights and pale bluish shadows.

    The paper uses Instagram filters; this one is like their "Nashville".
    """

    def stamp(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Stamped:
        """See `Attack.stamp`."""
        lowest, highest, gamma = (v.view(3, 1, 1) for v in (LOWEST, HIGHEST, GAMMA))
        return Stamped(lowest + (highest - lowest) * images**gamma, to_target(labels))
