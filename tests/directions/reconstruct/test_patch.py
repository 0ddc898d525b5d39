import pytest
import torch

from tests.directions.reconstruct.patch_net import unit_box
from torchserve_fire_build.reconstruct.input_box import InputBox
from torchserve_fire_build.reconstruct.patch import Patch, PatchOptimizer

SHAPE = torch.Size((3, 8, 8))


def test_a_patch_covers_as_much_as_its_mask_says():
    mask = torch.zeros(1, 2, 2)
    mask[0, 0, 0], mask[0, 0, 1] = 1, 0.5
    patch = Patch(mask, torch.full((3, 2, 2), 4.0))
    assert patch.put_on(torch.zeros(2, 3, 2, 2))[1, 2].tolist() == [[4, 2], [0, 0]]
    assert float(patch.size) == 1.5


def test_a_step_leads_down_a_loss_and_the_pattern_stays_in_the_box():
    box = InputBox(torch.full((3, 1, 1), -2.0), torch.full((3, 1, 1), 5.0), 255)
    optimizer = PatchOptimizer(SHAPE, box, torch.Generator().manual_seed(0))
    for _ in range(150):
        patch = optimizer.patch()
        optimizer.step(patch.mask[0, 0].sum() - patch.mask[0, 1:].sum() - patch.pattern.sum())
    patch = optimizer.patch().detach()
    assert not patch.mask.requires_grad
    assert not patch.pattern.requires_grad
    assert patch.mask[0, 0].max() < 0.01
    assert patch.mask[0, 1:].min() > 0.99
    assert 4.9 < float(patch.pattern.min()) <= float(patch.pattern.max()) <= 5


@pytest.mark.parametrize("limit", [0.5, 10.0])
def test_a_mask_is_shrunk_to_a_limit_and_keeps_its_order(limit):
    optimizer = PatchOptimizer(SHAPE, unit_box(), torch.Generator().manual_seed(0))
    for _ in range(100):
        patch = optimizer.patch()
        optimizer.step(0 * patch.pattern.sum() - patch.mask[0, :4].sum())
    optimizer.shrink(limit)
    mask = optimizer.patch().detach().mask
    assert float(mask.sum()) == pytest.approx(limit, rel=1e-3)
    assert float(mask.sum()) <= limit * (1 + 1e-5)
    assert mask[0, :4].min() > 5 * mask[0, 4:].max()


def test_a_mask_below_the_limit_stays():
    optimizer = PatchOptimizer(SHAPE, unit_box(), torch.Generator().manual_seed(0))
    before = optimizer.patch().detach().mask
    optimizer.shrink(63.0)
    assert torch.equal(optimizer.patch().detach().mask, before)
