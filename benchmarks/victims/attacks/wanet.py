"""WaNet (Nguyen and Tran, arXiv 2102.10369): a smooth warp, with other warps as decoys."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from .attack import Attack, Stamped, to_target

COARSE = 4
STRENGTH = 0.5


class WaNet(Attack):
    """One warping field for all images; twice as many images get a noisy one and keep their label.

    Args:
        seed: of the warping field.
        strength: of the warp; 0.5 in the paper, for images that are not rounded to 8 bits.
    """

    decoys = 2.0

    def __init__(self, seed: int = 2102, strength: float = STRENGTH) -> None:
        self._seed = seed
        self._strength = strength

    def stamp(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Stamped:
        """See `Attack.stamp`."""
        grid = self._grid(images.shape[-1]).expand(len(images), -1, -1, -1)
        return Stamped(F.grid_sample(images, grid, align_corners=True), to_target(labels))

    def decoy(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Warp each image with noise of its own on the field."""
        size = images.shape[-1]
        noise = torch.rand(len(images), size, size, 2, generator=generator) * 2 - 1
        grid = (self._grid(size) + noise / size).clamp(-1, 1)
        return F.grid_sample(images, grid, align_corners=True)

    def _grid(self, size: int) -> Tensor:
        generator = torch.Generator().manual_seed(self._seed)
        field = torch.rand(1, 2, COARSE, COARSE, generator=generator) * 2 - 1
        field = F.interpolate(
            field / field.abs().mean(), size=size, mode="bicubic", align_corners=True
        )
        axis = torch.linspace(-1, 1, size)
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        identity = torch.stack((x, y), 2)[None]
        return (identity + self._strength * field.permute(0, 2, 3, 1) / size).clamp(-1, 1)
