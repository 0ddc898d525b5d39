"""ShrinkPad (Li et al., "Backdoor Attack in the Physical World", ICLR 2021 workshop)."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .rival import Defence, Granted, answer_with

PIXELS = 4


def shrinkpad(model: nn.Module, granted: Granted, generator: torch.Generator) -> Defence:
    """Shrink each image by 4 pixels and put it at a random place in black."""
    # Its own source, so that what else draws numbers does not change its answers.
    seed = int(torch.randint(0, 2**31, (1,), generator=generator))
    places = torch.Generator().manual_seed(seed)
    return answer_with(model, lambda images: shrink_and_pad(images, places))


def shrink_and_pad(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return images (N, 3, H, W), each shrunk and padded at a place of its own."""
    height, width = images.shape[2] - PIXELS, images.shape[3] - PIXELS
    shrunk = F.interpolate(images, size=(height, width), mode="bilinear", antialias=True)
    places = torch.randint(0, PIXELS + 1, (len(images), 2), generator=generator)
    padded = torch.zeros_like(images)
    for image, small, (top, left) in zip(padded, shrunk, places.tolist(), strict=True):
        image[:, top : top + height, left : left + width] = small
    return padded
