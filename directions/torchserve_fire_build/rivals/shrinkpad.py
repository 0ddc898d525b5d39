"""ShrinkPad (Li et al., "Backdoor Attack in the Physical World", ICLR 2021 workshop)."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .pixels import on_images
from .rival import Defence, Granted, answer_with

PART = 8
"""The paper shrinks images of 32 pixels by 4: an eighth."""


def shrinkpad(model: nn.Module, granted: Granted, generator: torch.Generator) -> Defence:
    """Shrink each image by an eighth and put it at a random place in black.

    Raises:
        RivalNotApplicable: the model takes no images.
    """
    # Its own source, so that what else draws numbers does not change its answers.
    seed = int(torch.randint(0, 2**31, (1,), generator=generator))
    places = torch.Generator().manual_seed(seed)
    change = on_images(granted.description, lambda images: shrink_and_pad(images, places))
    return answer_with(model, change)


def shrink_and_pad(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return images (N, C, H, W), each shrunk and padded at a place of its own."""
    pixels = max(1, min(images.shape[2:]) // PART)
    height, width = images.shape[2] - pixels, images.shape[3] - pixels
    shrunk = F.interpolate(images, size=(height, width), mode="bilinear", antialias=True)
    places = torch.randint(0, pixels + 1, (len(images), 2), generator=generator)
    padded = torch.zeros_like(images)
    for image, small, (top, left) in zip(padded, shrunk, places.tolist(), strict=True):
        image[:, top : top + height, left : left + width] = small
    return padded
