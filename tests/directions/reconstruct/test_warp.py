import pytest
import torch

from tests.directions.reconstruct.moved_nets import TARGET, LeaningNet, subject
from torchserve_fire_build.reconstruct.reconstruction import reconstruction_of
from torchserve_fire_build.reconstruct.warp import FURTHEST, Warp, search_warp


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def found(drive, target, scale=1.0):
    of = subject(LeaningNet(drive))
    search = search_warp(of, target, seeded(), scale)
    search.advance(40)
    return reconstruction_of("warp", of, target, search).success


def test_a_warp_that_leads_to_the_target_is_found():
    assert found(400.0, TARGET) == 1
    # Neither another class nor a benign model has one.
    assert found(400.0, 0) == 0
    assert found(0.0, TARGET) == 0


@pytest.mark.parametrize("size", [(32, 32), (24, 40)])
@pytest.mark.parametrize("furthest", [FURTHEST, 2 * FURTHEST])
def test_no_place_moves_further_than_the_bound(size, furthest):
    height, width = size
    of = subject(LeaningNet())
    inputs = torch.zeros(1, 2, height, width)
    # Values that say where they were: what is seen elsewhere has moved there.
    inputs[0, 0] = torch.arange(float(height))[:, None]
    inputs[0, 1] = torch.arange(float(width))
    warp = Warp(Sized(of, inputs), seeded(), furthest)
    for _ in range(30):
        with torch.enable_grad():
            stamped = warp.stamp(inputs)
            # Everything down and to the right, as far as it goes.
            warp.step(stamped.sum())
    moved = (stamped - inputs)[0].detach()
    for along, side in zip(moved, size, strict=True):
        # The interpolation overshoots a little between the points of the grid.
        assert float(along.abs().max()) <= 1.1 * furthest * side
        assert float(along[1:-1, 1:-1].mean()) < -0.5 * furthest * side


class Sized:
    """A subject with inputs of another size."""

    def __init__(self, of, inputs):
        self.device, self.inputs = of.device, inputs


def test_a_warp_of_images_of_one_row_or_column_is_possible():
    for size in ((1, 8), (8, 1), (1, 1)):
        inputs = torch.rand(2, 1, *size, generator=seeded())
        warp = Warp(Sized(subject(LeaningNet()), inputs), seeded(), FURTHEST)
        assert warp.stamp(inputs).shape == inputs.shape
        assert bool(warp.stamp(inputs).isfinite().all())


def test_no_images_can_be_warped():
    of = subject(LeaningNet())
    assert Warp(of, seeded(), FURTHEST).stamp(of.inputs[:0]).shape == (0, 1, 8, 8)
