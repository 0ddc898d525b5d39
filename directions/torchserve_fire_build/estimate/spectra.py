"""Spectra of inputs, some at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

FLOOR = 1e-3
"""Share of their mean power that is added at every frequency: the power at high ones is known
badly, and rounding adds to it."""

AT_ONCE_BYTES = 4 << 20
"""Of inputs whose spectra are computed at once; these take several times as much."""


def spectra(inputs: Tensor, mean: Tensor) -> Iterator[Tensor]:
    """Yield the spectra of inputs less a mean, in parts (n, C, H, W // 2 + 1).

    Args:
        inputs: (N, C, H, W) float32.
        mean: what is subtracted from each, of a shape that broadcasts.
    """
    for part in torch.split(inputs, max(1, AT_ONCE_BYTES // inputs[:1].nbytes)):
        yield torch.fft.rfft2(part - mean)
