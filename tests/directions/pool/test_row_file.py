import pytest
import torch

from torchserve_fire_build.pool import row_file
from torchserve_fire_build.pool.row_file import RowFile


@pytest.mark.parametrize("block", [1, 40, 1 << 20])
def test_rows_come_back_as_they_were_in_blocks_of_any_size(monkeypatch, block):
    monkeypatch.setattr(row_file, "BLOCK_BYTES", block)
    rows = torch.randn(23, 3, generator=torch.Generator().manual_seed(0))
    file = RowFile()
    # In any order, as workers return them.
    for start, end in ((10, 23), (0, 10), (10, 10)):
        file.write(start, rows[start:end])
    assert len(file) == 23
    for which in (torch.ones(23).bool(), torch.zeros(23).bool(), torch.arange(23) % 3 == 1):
        assert torch.equal(file[which], rows[which])
