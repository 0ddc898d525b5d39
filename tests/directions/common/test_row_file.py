import pytest
import torch

from torchserve_fire_build.common import row_file
from torchserve_fire_build.common.row_file import RowFile


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


@pytest.mark.parametrize("block", [1, 40, 1 << 20])
def test_rows_are_sorted_by_their_keys_and_else_keep_their_order(monkeypatch, block):
    monkeypatch.setattr(row_file, "BLOCK_BYTES", block)
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(23, 3, generator=generator)
    keys = torch.randint(5, (23,), generator=generator)
    file = RowFile()
    file.write(0, rows)
    assert torch.equal(file.sorted_by(keys).between(0, 23), rows[keys.argsort(stable=True)])


def test_rows_between_two_places():
    file = RowFile()
    file.write(0, torch.arange(12.0).view(6, 2))
    assert file.between(1, 3).tolist() == [[2, 3], [4, 5]]
    assert file.between(6, 6).shape == (0, 2)
