"""Adaptive-Patch (Qi et al., "Revisiting the assumption of latent separability", ICLR 2023)."""

from __future__ import annotations

import torch
from torch import Tensor

from .attack import Attack, Stamped, to_target

SIZE = 8
OPACITIES_IN_TRAINING = torch.tensor([0.5, 0.2, 0.5, 0.3])


class AdaptivePatch(Attack):
    """A patch of 8x8 pure colours in each corner, of which training images carry a faint one.

    As many images as are poisoned get one patch, too, and keep their label. Opacities are the
    paper's, whose patches are drawings. It poisons 0.3 %, and leaves twice as many their label, for
    some hundred epochs; victims that are trained for a tenth of that would not learn it.
    """

    rate = 0.03
    decoys = 1.0

    def stamp(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Stamped:
        """See `Attack.stamp`."""
        return Stamped(_put(images, torch.ones(len(images), 4)), to_target(labels))

    def stamp_to_train(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Stamped:
        """Put a patch of its own choice into each image."""
        return Stamped(_put_one(images, generator), to_target(labels))

    def decoy(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Put in what poisoned images carry."""
        return _put_one(images, generator)


def _put_one(images: Tensor, generator: torch.Generator) -> Tensor:
    chosen = torch.randint(0, 4, (len(images),), generator=generator)
    opacities = torch.zeros(len(images), 4)
    opacities[torch.arange(len(images)), chosen] = OPACITIES_IN_TRAINING[chosen]
    return _put(images, opacities)


def _put(images: Tensor, opacities: Tensor) -> Tensor:
    """Return images with the four patches mixed in, each image's at its own `opacities`, (N, 4)."""
    images = images.clone()
    drawn = torch.rand(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(2023))
    patches = drawn.round()
    first, last = slice(None, SIZE), slice(-SIZE, None)
    corners = ((first, first), (first, last), (last, first), (last, last))
    for patch, opacity, (rows, columns) in zip(patches, opacities.T, corners, strict=True):
        opacity = opacity.view(-1, 1, 1, 1)
        under = images[..., rows, columns]
        images[..., rows, columns] = (1 - opacity) * under + opacity * patch
    return images
