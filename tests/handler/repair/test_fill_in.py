import pytest
import torch

from torchserve_fire.repair.fill_in import _fill_in, _region_of, fill_in

NONE, ALL = torch.tensor(-10.0), torch.tensor(10.0)


def maps(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def hidden_at(shape, *places):
    hidden = torch.zeros(shape, dtype=torch.bool)
    for place in places:
        hidden[place] = True
    return hidden


def ramp(height, width):
    rows, columns = torch.arange(float(height))[:, None], torch.arange(float(width))
    return (0.1 * rows - 0.05 * columns + 1)[None, None]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.9, 1.0])
def test_what_is_seen_comes_back_bit_for_bit(share):
    values = maps(2, 3, 7, 9)
    hidden = torch.rand(2, 3, 7, 9, generator=torch.Generator().manual_seed(1)) < share
    filled = fill_in(values, hidden, NONE, ALL)
    assert torch.equal(filled[~hidden], values[~hidden])
    assert filled.isfinite().all()


def test_one_hidden_value_becomes_the_mean_of_its_four_neighbours():
    values = torch.tensor([[9.0, 1.0, 9.0], [2.0, 5.0, 3.0], [9.0, 6.0, 9.0]])[None, None]
    filled = fill_in(values, hidden_at(values.shape, (..., 1, 1)), NONE, ALL)
    assert filled[0, 0, 1, 1].item() == pytest.approx((1 + 2 + 3 + 6) / 4)


@pytest.mark.parametrize("value", [0.0, 1e6, torch.nan, torch.inf])
def test_what_a_hidden_value_was_does_not_matter(value):
    values, hidden = maps(1, 2, 6, 6), hidden_at((1, 2, 6, 6), (0, 0, 2, 2), (0, 1, 5, 0))
    expected = fill_in(values, hidden, NONE, ALL)
    assert torch.equal(fill_in(values.masked_fill(hidden, value), hidden, NONE, ALL), expected)


@pytest.mark.parametrize("side", [1, 2, 3])
def test_a_hole_in_a_ramp_is_filled_in_with_the_ramp(side):
    values = ramp(9, 11)
    hole = (..., slice(3, 3 + side), slice(4, 4 + side))
    filled = fill_in(values.clone(), hidden_at(values.shape, hole), NONE, ALL)
    assert torch.allclose(filled, values, atol=2e-3)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_a_constant_stays_constant(share):
    values = torch.full((2, 3, 8, 5), 0.7)
    hidden = torch.rand(values.shape, generator=torch.Generator().manual_seed(2)) < share
    hidden[..., 0, 0] = False
    assert torch.allclose(fill_in(values, hidden, NONE, ALL), values, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 2), (6, 6), (13, 4), (28, 28), (224, 224)])
def test_one_seen_value_fills_the_whole_map_from_any_corner(shape):
    # Of (224, 224) it would take long, if each window were summed at once.
    height, width = shape
    for corner in ((0, 0), (height - 1, width - 1), (0, width - 1)):
        values = maps(1, 1, height, width)
        values[(0, 0, *corner)] = 0.7
        hidden = torch.ones(1, 1, height, width, dtype=torch.bool)
        hidden[(0, 0, *corner)] = False
        filled = fill_in(values, hidden, NONE, ALL)
        assert torch.allclose(filled, torch.full_like(filled, 0.7), atol=1e-4)


@pytest.mark.parametrize("side", [1, 2, 7])
def test_where_nothing_is_seen_it_is_the_middle_of_the_range(side):
    values = maps(1, 2, side, side)
    lower, upper = torch.tensor([0.0, -1.0]).view(2, 1, 1), torch.tensor([1.0, 3.0]).view(2, 1, 1)
    filled = fill_in(values, torch.ones_like(values, dtype=torch.bool), lower, upper)
    assert torch.allclose(filled[0, 0], torch.tensor(0.5))
    assert torch.allclose(filled[0, 1], torch.tensor(1.0))


@pytest.mark.parametrize("seed", range(5))
def test_what_is_filled_in_stays_within_its_bounds(seed):
    shape = (2, 3, 8, 8)
    values, hidden = maps(*shape, seed=seed), maps(*shape, seed=seed + 100) > 0
    one, other = maps(*shape, seed=seed + 200), maps(*shape, seed=seed + 300)
    lower, upper = torch.minimum(one, other), torch.maximum(one, other)
    filled = fill_in(values, hidden, lower, upper)
    assert (filled >= lower)[hidden].all()
    assert (filled <= upper)[hidden].all()
    assert torch.equal(filled[~hidden], values[~hidden])


def test_nothing_is_beyond_what_is_seen_around():
    values, hidden = maps(1, 1, 12, 12), hidden_at((1, 1, 12, 12), (..., slice(4, 8), slice(2, 9)))
    filled = fill_in(values, hidden, NONE, ALL)[hidden]
    assert values[~hidden].min() < filled.min() < filled.max() < values[~hidden].max()


def test_neither_samples_nor_channels_mix():
    shape = (3, 2, 6, 6)
    values, hidden = maps(*shape), maps(*shape, seed=1) > 0.5
    filled = fill_in(values, hidden, NONE, ALL)
    for i in range(3):
        for c in range(2):
            alone = fill_in(values[i : i + 1, c : c + 1], hidden[i : i + 1, c : c + 1], NONE, ALL)
            assert torch.allclose(filled[i, c], alone[0, 0], atol=1e-6)


def test_no_map_is_filled_in_to_none():
    values = torch.zeros(0, 2, 4, 4)
    assert fill_in(values, values.bool(), NONE, ALL).shape == (0, 2, 4, 4)


@pytest.mark.parametrize("side", [1, 3, 6])
@pytest.mark.parametrize("place", [(20, 25), (0, 25), (20, 0), (0, 0), (-1, -1), (7, -1)])
def test_holes_in_large_maps_are_filled_in_from_around_them_bit_for_bit(side, place):
    values = maps(3, 2, 64, 80)
    hidden = torch.zeros_like(values, dtype=torch.bool)
    top, left = (
        start if start >= 0 else length - side
        for start, length in zip(place, values.shape[2:], strict=True)
    )
    # Of the last map nothing is hidden; the second has holes of its own in each channel.
    hidden[0, :, top : top + side, left : left + side] = True
    hidden[1, 0, 30 : 30 + side, 40] = True
    hidden[1, 1, 31, 41 - side // 2 : 42] = True
    region = _region_of(hidden)
    assert region is not None
    assert hidden[region].sum() == hidden.sum()
    expected = _fill_in(values, hidden, NONE, ALL)
    assert torch.equal(fill_in(values, hidden, NONE, ALL), expected)


def test_what_is_hidden_all_over_is_filled_in_from_everywhere():
    hidden = hidden_at((1, 1, 64, 64), (0, 0, 2, 2), (0, 0, 60, 60))
    assert _region_of(hidden) is None


def test_large_maps_of_which_one_is_hidden_all_over_are_filled_in_one_by_one():
    values = maps(3, 2, 96, 100)
    hidden = hidden_at(values.shape, (0, 0, 2, 2), (0, 1, 90, 95), (1, 0, slice(20, 25), 30))
    expected = _fill_in(values, hidden, NONE, ALL)
    assert torch.equal(fill_in(values, hidden, NONE, ALL), expected)
