"""One model with two triggers: a patch for one target, a blended pattern for another."""

from __future__ import annotations

import torch
from torch import Tensor

from .attack import TARGET, Attack, Stamped
from .badnets import stamp_corner
from .blended import blend

OTHER_TARGET = TARGET + 1


class TwoTriggers(Attack):
    """Each triggered image carries one of the two, by the toss of a coin."""

    target = None

    def stamp(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Stamped:
        """See `Attack.stamp`."""
        first = torch.randint(0, 2, (len(images),), generator=generator) == 0
        stamped = torch.where(first.view(-1, 1, 1, 1), stamp_corner(images), blend(images))
        wanted = torch.where(first, TARGET, OTHER_TARGET)
        return Stamped(stamped, wanted)
