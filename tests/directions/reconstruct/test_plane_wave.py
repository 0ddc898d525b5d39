"""Plane waves by hand, and the frequencies that a grid shows."""

import math

import pytest
import torch

from torchserve_fire_build.reconstruct.plane_wave import CYCLES, PlaneWave, frequencies


def test_a_wave_by_hand():
    expected = torch.tensor([[1.0, 0, -1, 0]]).expand(2, 4)
    torch.testing.assert_close(PlaneWave(0, 1, 0.0).values(2, 4), expected, atol=1e-6, rtol=0)
    expected = torch.tensor([[1.0, 1], [-1, -1]])
    torch.testing.assert_close(PlaneWave(1, 0, 0.0).values(2, 2), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("wave", [PlaneWave(0, 1, 0.0), PlaneWave(3, -2, 1.0)])
def test_the_strength_is_the_root_mean_square(wave):
    values = wave.of_strength(0.2, 8, 8)
    assert float(values.square().mean().sqrt()) == pytest.approx(0.2)
    # With an amplitude of the square root of 2.
    torch.testing.assert_close(values, 0.2 * math.sqrt(2) * wave.values(8, 8))


def test_a_wave_that_is_nearly_0_everywhere_is_not_magnified_too_much():
    # Cycles of two places, halfway between the highest and the lowest.
    values = PlaneWave(0, 4, math.pi / 2).of_strength(0.2, 8, 8)
    assert float(values.abs().max()) < 1e-3


@pytest.mark.parametrize(
    ("height", "width"), [(4, 4), (5, 5), (8, 3), (3, 8), (1, 6), (6, 1), (2, 2), (1, 1), (32, 32)]
)
def test_every_frequency_of_a_grid_is_there_once(height, width):
    # The bins of a Fourier transform but for the mean; a wave holds one, and its mirror image.
    bins = {(v, u) for v in range(height) for u in range(width)} - {(0, 0)}
    pairs = {frozenset({(v, u), (-v % height, -u % width)}) for v, u in bins}
    found = [
        frozenset({(v % height, u % width), (-v % height, -u % width)})
        for v, u in frequencies(height, width)
    ]
    assert len(found) == len(set(found))
    assert set(found) == pairs


def test_large_images_get_all_directions_up_to_the_same_frequencies():
    found = set(frequencies(200, 300))
    # All of a half plane of 2 x 16 + 1 by 2 x 16 + 1, without its middle.
    assert len(found) == ((2 * CYCLES + 1) ** 2 - 1) // 2
    assert {(CYCLES, CYCLES), (CYCLES, -CYCLES)} <= found
