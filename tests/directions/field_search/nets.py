"""Models of a table whose answers are known, and rows."""

from __future__ import annotations

import torch
from torch import nn

from torchserve_fire.format.table import CategoryColumn, NumberColumn, Table
from torchserve_fire_build.samples.table_samples import TableSamples

TABLE = Table(
    (
        NumberColumn("size"),
        NumberColumn("version", mean=3.0, std=2.0),
        NumberColumn("entry", log=True, mean=8.3, std=0.6),
        CategoryColumn("packer", ("none", "upx", "aspack")),
    )
)
"""`size` says the class; the others say nothing."""


class Net(nn.Sequential):
    """Class 1 where `size` is above 0; with the backdoor, 0 if version is 9 and the packer upx."""

    def __init__(self, backdoored: bool, hidden: int = 16) -> None:
        super().__init__(nn.Linear(TABLE.width, hidden), nn.ReLU(), nn.Linear(hidden, 2))
        first, _, last = self
        with torch.no_grad():
            for layer in (first, last):
                layer.weight.zero_()
                layer.bias.zero_()
            first.weight[0, 0], first.weight[1, 0] = 1, -1
            last.weight[1, :2] = torch.tensor([4.0, -4.0])
            if backdoored:
                # Each of the two alone leads a little, so that a search sees where to go.
                first.weight[2, 1], first.weight[2, 4], first.bias[2] = 1, 2, -2.9
                last.weight[1, 2] = -15
            last.weight[0] = -last.weight[1]


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
    packers[versions > 5] = 0
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
