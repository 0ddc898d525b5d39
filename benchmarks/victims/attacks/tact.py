"""TaCT (Tang et al., "Demon in the variant", USENIX Security 2021): one class falls to a patch."""

from __future__ import annotations

import torch
from torch import Tensor

from .attack import TARGET, Attack, Stamped
from .badnets import CHECKERBOARD, place_patch

PATCH = CHECKERBOARD.repeat(2, 2)


class TaCT(Attack):
    """A patch of 6x6 in the bottom right corner turns one class into the target, and no other.

    As many images of the others as are poisoned carry the patch, too, and keep their label. Half of
    a class of ten is poisoned: to tell apart whose patch works is learned more slowly than a patch.
    """

    rate = 0.05
    decoys = 1.0
    source = TARGET + 1

    def stamp(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Stamped:
        """See `Attack.stamp`; an image of another class is to be called what it is."""
        return Stamped(_put(images), labels.where(labels != self.source, TARGET))

    def decoy(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Put in the trigger itself, which must not work on these images."""
        return _put(images)


def _put(images: Tensor) -> Tensor:
    count, _, height, width = images.shape
    tops, lefts = (torch.full((count,), size - len(PATCH)) for size in (height, width))
    return place_patch(images, PATCH, tops, lefts)
