"""A contact sheet: many small pictures of samples, each with a line above it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..common.figure import FAINT, INK, new_figure, to_png
from ..samples.samples import Samples

MOST_SHOWN, SHOWN_IN_ROW = 100, 10
CELL, TOP = 0.9, 0.4


def can_be_displayed(samples: Samples) -> bool:
    """Whether samples have the shape of grey or coloured images."""
    shape = samples.description.shape
    return len(shape) == 3 and shape[0] in (1, 3)


def contact_sheet(
    samples: Samples, indices: Sequence[int], captions: Sequence[str], title: str
) -> bytes:
    """Draw samples in rows of ten, as PNG.

    Args:
        samples: of shape (1 or 3, H, W).
        indices: which to draw, in this order; `MOST_SHOWN` at most, and the title says so.
        captions: a line or two for each of them.
        title: a line above all.
    """
    shown = list(indices[:MOST_SHOWN])
    if len(shown) < len(indices):
        title += f", of which {len(shown)} are shown"
    rows = -(-len(shown) // SHOWN_IN_ROW)
    size = (CELL * SHOWN_IN_ROW, TOP + CELL * rows)
    figure = new_figure(*size)
    top = 1 - 0.12 / size[1]
    figure.text(0.01, top, title, fontsize=11, color=INK, weight="bold", va="top")
    axes: Any = figure.add_axes((0, 0, 1, CELL * rows / size[1]))
    axes.set_axis_off()
    two = any("\n" in caption for caption in captions)
    head, size_of_text = (0.28, 5.5) if two else (0.2, 7)
    for i, (pixels, above) in enumerate(zip(displayed(samples, shown), captions, strict=False)):
        row, column = divmod(i, SHOWN_IN_ROW)
        axes.imshow(
            pixels,
            cmap="gray",
            vmin=0,
            vmax=1,
            extent=(column + head / 2, column + 1 - head / 2, row + 1.0, row + head),
        )
        place = (column + 0.5, row + head / 2)
        axes.text(*place, above, fontsize=size_of_text, color=FAINT, ha="center", va="center")
    axes.set_xlim(0, SHOWN_IN_ROW)
    axes.set_ylim(rows, 0)
    return to_png(figure)


def displayed(samples: Samples, indices: Sequence[int]) -> list[npt.NDArray[np.float32]]:
    """Return samples as they were before normalisation, (H, W) or (H, W, 3) in [0, 1].

    Args:
        samples: of shape (1 or 3, H, W).
        indices: which of them.
    """
    description = samples.description
    inputs = samples.load(indices)
    if description.mean:
        mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (description.mean, description.std))
        inputs = inputs * std + mean
    else:
        # The scale of tensors that are not images is unknown.
        low, high = inputs.amin(), inputs.amax()
        inputs = (inputs - low) / (high - low).clamp(min=1e-12)
    pixels = inputs.clamp(0, 1).permute(0, 2, 3, 1)
    return [(image[..., 0] if image.shape[2] == 1 else image).numpy() for image in pixels]
