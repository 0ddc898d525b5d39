"""A trigger of maps (2, 8, 8) that is found and measured exactly, whatever clean map it is on.

Each row of a clean map is constant, and each row of the trigger sums up to zero: so the projection
of a clean map on the trigger, wherever that is moved, is 0.
"""

import torch
from torch import Tensor

from torchserve_fire.format.bundle import INPUT_LAYER, Detection, Layer
from torchserve_fire.format.correction_forms import Overlay

SHAPE = (2, 8, 8)
SIGNS = torch.tensor([[1.0, -1, 1, -1], [1, 1, -1, -1], [-1, 1, 1, -1]])
REGION = (..., slice(2, 5), slice(1, 5))
"""The places that the trigger changes, where it is not moved."""


def pattern(size: float = 1.0) -> Tensor:
    """What the trigger adds, (2, 8, 8)."""
    direction = torch.zeros(SHAPE)
    direction[REGION] = size * SIGNS
    direction[1] *= -1
    return direction


def overlay(slope: float = 0.0, size: float = 1.0, limit: float = 100.0, **changes) -> Overlay:
    """An overlay: triggered = clean + slope * clean + pattern(size), at the trigger's places."""
    direction, slopes = pattern(size), torch.zeros(SHAPE)
    slopes[REGION] = slope
    gauges = torch.zeros(2, *SHAPE)
    for channel in range(2):
        gauges[channel, channel] = direction[channel] / direction[channel].square().sum()
    ends = torch.full((2, 1, 1), limit)
    fields = {
        "direction": direction,
        "strength": 1.0,
        "slope": slopes,
        "gauges": gauges,
        "bases": (0.0, 0.0),
        "base": 0.0,
        "lower": -ends,
        "upper": ends,
    }
    return Overlay(**{**fields, **changes})


def detection(of: Overlay, *, only_target: bool = False) -> Detection:
    """What finds an overlay: the score is the mean gain of the channels."""
    return Detection(of.gauges.sum(0) / 2, 0.25, only_target, anywhere=True)


def input_layer(of: Overlay, *, only_target: bool = False, **fields) -> Layer:
    return Layer(INPUT_LAYER, SHAPE, detection(of, only_target=only_target), of, **fields)


def clean_maps(count: int, seed: int = 0) -> Tensor:
    """Maps of constant rows, (count, 2, 8, 8), within -1 and 1."""
    rows = torch.rand(count, 2, 8, 1, generator=torch.Generator().manual_seed(seed))
    return (2 * rows - 1).expand(count, *SHAPE).contiguous()


def triggered(clean: Tensor, of: Overlay, places: Tensor | list, gain=1.0) -> Tensor:
    """Clean maps with the trigger at a place (down, right) each, cut off at the ends.

    Args:
        clean: (N, 2, 8, 8).
        of: what the trigger does.
        places: (N, 2) integers.
        gain: how strong it is, broadcastable to (N, 2, 1, 1).
    """
    stamped = []
    for one, (down, right) in zip(clean, torch.as_tensor(places).tolist(), strict=True):
        slope, direction = (part.roll((down, right), (1, 2)) for part in (of.slope, of.direction))
        stamped.append(slope * one + direction)
    change = torch.stack(
        [
            (clean + s).clamp(of.lower, of.upper) - clean
            for clean, s in zip(clean, stamped, strict=True)
        ]
    )
    return clean + torch.as_tensor(gain) * change
