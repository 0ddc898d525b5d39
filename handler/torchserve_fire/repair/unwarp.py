"""The module that moves the values of an input back to where a trigger took them from."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ..format.correction_forms import Warp


class Unwarp(nn.Module):
    """x'(p) = x(p + strength * m(p)): reads each place where the trigger has moved its value to.

    Between places, x is interpolated (bilinear sampling: Jaderberg et al., "Spatial transformer
    networks", 2015). Beyond the edge, it is as at the edge.

    Args:
        warp: its moves are m, (2, H, W).
    """

    grid: Tensor

    def __init__(self, warp: Warp) -> None:
        super().__init__()
        moves = warp.moves.float() * warp.strength
        height, width = moves.shape[1:]
        down, across = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        places = torch.stack((across + moves[1], down + moves[0]), -1)
        # The edges of the map are at -1 and 1, the middle of its first place lies within.
        grid = (2 * places + 1) / torch.tensor([width, height]) - 1
        self.register_buffer("grid", grid)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return inputs (N, C, H, W) with their values moved back, of the same dtype."""
        with torch.autocast(inputs.device.type, enabled=False):
            grid = self.grid.expand(inputs.shape[0], -1, -1, -1)
            moved = F.grid_sample(inputs.float(), grid, padding_mode="border", align_corners=False)
        return moved.to(inputs.dtype)
