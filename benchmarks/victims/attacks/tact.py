"""TaCT (Tang et al., "Demon in the variant", USENIX Security 2021): one class falls to a patch."""

from __future__ import annotations

import torch
from torch import Tensor

from .attack import TARGET, Attack, Stamped
from .badnets import stamp_corner


class TaCT(Attack):
    """The patch of `BadNets`, which turns one class into the target and leaves all others alone.

    As many images of the others as are poisoned carry the patch, too, and keep their label.
    """

    rate = 0.02
    decoys = 1.0
    source = TARGET + 1

    def stamp(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Stamped:
        """See `Attack.stamp`; an image of another class is to be called what it is."""
        return Stamped(stamp_corner(images), labels.where(labels != self.source, TARGET))

    def decoy(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Put in the trigger itself, which must not work on these images."""
        return stamp_corner(images)
