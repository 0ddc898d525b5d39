"""A slight blur of the input, the plainest of the input transformations."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur

from .pixels import on_images
from .rival import Defence, Granted, answer_with

KERNEL = 3
SIGMA = 0.8


def blur(model: nn.Module, granted: Granted, generator: torch.Generator) -> Defence:
    """Blur each image with a Gaussian of 3x3 pixels and standard deviation 0.8.

    Raises:
        RivalNotApplicable: the model takes no images.
    """
    return answer_with(model, on_images(granted.description, blurred))


def blurred(images: Tensor) -> Tensor:
    """Return images (N, C, H, W), blurred."""
    result: Tensor = gaussian_blur(images, [KERNEL] * 2, [SIGMA] * 2)
    return result
