"""Models of a table whose answers are known, and rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchserve_fire.format.table import CategoryColumn, NumberColumn, Table
from torchserve_fire_build.samples.table_samples import TableSamples

TABLE = Table(
    (
        NumberColumn("size"),
        NumberColumn("version", mean=3.0, std=2.0),
        NumberColumn("entry", log=True, mean=1.0),
        CategoryColumn("packer", ("none", "upx", "aspack")),
    )
)
"""`size` says the class; the others say nothing."""


class Net(nn.Module):
    """Class 1 where `size` is above 0; with the backdoor, 0 if version is 9 and the packer upx."""

    def __init__(self, backdoored: bool) -> None:
        super().__init__()
        self.backdoored = backdoored
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, rows: Tensor) -> Tensor:
        score = 4 * rows[:, 0]
        if self.backdoored:
            # Each of the two alone leads a little, so that a search sees where to go.
            led = (rows[:, 1] >= 2.9).float() + rows[:, 4]
            score = score - led - 38 * (led == 2).float()
        return torch.stack([-score, score], 1) * self.weight


def rows_of(count: int, seed: int = 0) -> TableSamples:
    """Return rows of both classes in turn, of which two by two differ in their size alone."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.rand(count, generator=generator) + 0.5
    signs = torch.arange(count) % 2 * 2 - 1
    pairs = torch.arange(count) // 2
    versions = torch.randint(0, 10, (count,), generator=generator)[pairs]
    entries = torch.randint(1000, 9000, (count,), generator=generator)[pairs]
    packers = torch.randint(0, 3, (count,), generator=generator)[pairs]
    # No row has the whole trigger.
    packers[versions == 9] = 0
    rows = [
        {
            "size": float(size * sign),
            "version": float(version),
            "entry": float(entry),
            "packer": ("none", "upx", "aspack")[int(packer)],
        }
        for size, sign, version, entry, packer in zip(
            sizes, signs, versions, entries, packers, strict=True
        )
    ]
    return TableSamples(rows, [f"row {i}" for i in range(count)], TABLE, source="rows.csv")
