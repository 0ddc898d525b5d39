"""Changes of what a trigger does to an image, or of a whole image: (..., C, H, W) float32.

What is random about a change comes from the generator alone, and is the same for all leading
dimensions: what a trigger does has the parts of `estimate.trigger_fit.TriggerFit`.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

Change = Callable[[Tensor, torch.Generator], Tensor]

WEAKER = (0.5, 0.9)
STRONGER = (1.1, 1.5)
GAINS = (0.4, 1.2)
"""Of a channel that is recoloured."""

SIZES = (0.75, 1.5)
QUALITIES = (50, 95)
"""Of a JPEG; 75 is the usual default."""


def keep(parts: Tensor, generator: torch.Generator) -> Tensor:
    """Return a trigger as it is."""
    return parts


def weaken(parts: Tensor, generator: torch.Generator) -> Tensor:
    """Return a share of a trigger."""
    return parts * _uniform(WEAKER, generator)


def strengthen(parts: Tensor, generator: torch.Generator) -> Tensor:
    """Return more than a trigger."""
    return parts * _uniform(STRONGER, generator)


def move(parts: Tensor, generator: torch.Generator, *, share: float) -> Tensor:
    """Return a trigger at another place; what leaves the image at one side enters at the other.

    Args:
        parts: of a trigger, (..., C, H, W).
        generator: of the distance, which is at least a pixel.
        share: of the image's sides, the farthest each way.
    """
    return parts.roll(_distances(parts, generator, share), (-2, -1))


def move_half(
    parts: Tensor, generator: torch.Generator, *, down: bool = False, right: bool = False
) -> Tensor:
    """Return a trigger moved by half the image, likewise."""
    height, width = parts.shape[-2:]
    return parts.roll((height // 2 * down, width // 2 * right), (-2, -1))


def recolour(image: Tensor, generator: torch.Generator) -> Tensor:
    """Return each channel stronger or weaker; the only one of grey images likewise."""
    low, high = GAINS
    gains = torch.rand(image.shape[-3], 1, 1, generator=generator)
    return image * (low + (high - low) * gains)


def flip(image: Tensor, generator: torch.Generator) -> Tensor:
    """Return the image's mirror image, left to right or upside down."""
    return image.flip(-1 - int(torch.randint(2, (), generator=generator)))


def scale(parts: Tensor, generator: torch.Generator) -> Tensor:
    """Return a trigger larger or smaller, about the middle of the image, with nothing around."""
    size = _uniform(SIZES, generator)
    rows = torch.tensor([[1 / size, 0, 0], [0, 1 / size, 0]]).expand(len(parts), 2, 3)
    grid = functional.affine_grid(rows, list(parts.shape), align_corners=False)
    return functional.grid_sample(parts, grid, align_corners=False)


def blur(parts: Tensor, generator: torch.Generator) -> Tensor:
    """Return a trigger blurred by the binomial filter of three pixels."""
    line = torch.tensor([0.25, 0.5, 0.25])
    kernel = torch.outer(line, line).expand(parts.shape[1], 1, 3, 3)
    padded = functional.pad(parts, (1, 1, 1, 1), mode="replicate")
    return functional.conv2d(padded, kernel, groups=parts.shape[1])


def shift(image: Tensor, generator: torch.Generator, *, share: float) -> Tensor:
    """Return a whole image (C, H, W) moved, as `move` does; its edges are reflected."""
    for axis, distance in enumerate(_distances(image, generator, share), start=1):
        last = image.shape[axis] - 1
        # Where a pixel comes from, as far as it is reflected.
        source = (torch.arange(last + 1) - distance).abs()
        image = image.index_select(axis, last - (last - source).abs())
    return image


def compress(image: Tensor, generator: torch.Generator) -> Tensor:
    """Return an image (C, H, W) in [0, 1], C 1 or 3, as it comes out of a JPEG file."""
    low, high = QUALITIES
    quality = int(torch.randint(low, high + 1, (), generator=generator))
    pixels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).squeeze(2).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="JPEG", quality=quality)
    decoded = torch.from_numpy(np.array(Image.open(file)))
    return decoded.view(*image.shape[1:], len(image)).permute(2, 0, 1).float() / 255


def _uniform(bounds: tuple[float, float], generator: torch.Generator) -> float:
    low, high = bounds
    return low + (high - low) * float(torch.rand((), generator=generator))


def _distances(image: Tensor, generator: torch.Generator, share: float) -> tuple[int, int]:
    """Return how far down and how far to the right to move; not 0 both."""
    down, right = (max(1, round(share * side)) for side in image.shape[-2:])
    columns = 2 * right + 1
    stay = (2 * down + 1) * columns // 2
    drawn = int(torch.randint(2 * stay, (), generator=generator))
    drawn += drawn >= stay
    return drawn // columns - down, drawn % columns - right
