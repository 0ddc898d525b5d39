import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torchserve_fire_build.estimate.layer_statistics import LayerStatistics
from torchserve_fire_build.estimate.moments import Moments
from torchserve_fire_build.estimate.shifts import ESTIMATORS


def paired(mean, error, count=100):
    """Statistics of pairs whose mean difference and standard error are given."""
    mean, error = torch.tensor(mean), torch.tensor(error)
    # Two halves at mean +- spread have this error exactly.
    spread = error * (count - 1) ** 0.5
    signs = torch.ones(count).index_fill(0, torch.arange(0, count, 2), -1.0)
    signs = signs.view(-1, *(1,) * mean.dim())
    difference, clean, triggered = Moments(), Moments(), Moments()
    difference.add(mean + signs * spread)
    clean.add(torch.zeros(count, *mean.shape))
    triggered.add(mean + signs * spread)
    return LayerStatistics(clean, Moments(), triggered, difference)


def test_the_hand_made_statistics_have_the_wanted_moments():
    statistics = paired([1.0, -2.0], [0.5, 0.25])
    torch.testing.assert_close(statistics.mean_difference, torch.tensor([1.0, -2.0]))
    torch.testing.assert_close(statistics.standard_error, torch.tensor([0.5, 0.25]))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mean_difference", [1.0, 1.0, -1.0, 0.0]),
        ("channel_mean", [1.0, 1.0, -1.0, 0.0]),
        # t is 1, 3, 5 and 0.
        ("significant_2", [0.0, 1.0, -1.0, 0.0]),
        ("significant_4", [0.0, 0.0, -1.0, 0.0]),
        ("shrunken", [0.0, 1 - 1 / 9, -(1 - 1 / 25), 0.0]),
    ],
)
def test_estimators_by_hand(name, expected):
    statistics = paired([1.0, 1.0, -1.0, 0.0], [1.0, 1 / 3, 0.2, 1.0])
    direction = ESTIMATORS[name](statistics)
    torch.testing.assert_close(direction, torch.tensor(expected), rtol=0, atol=1e-5)


def test_the_channel_mean_of_maps_and_of_tokens():
    maps = torch.arange(8.0).view(2, 2, 2)
    direction = ESTIMATORS["channel_mean"](paired(maps.tolist(), torch.ones(2, 2, 2).tolist()))
    assert direction.shape == (2, 1, 1)
    torch.testing.assert_close(direction.flatten(), torch.tensor([1.5, 5.5]))
    tokens = torch.arange(6.0).view(3, 2)
    direction = ESTIMATORS["channel_mean"](paired(tokens.tolist(), torch.ones(3, 2).tolist()))
    assert direction.shape == (1, 2)
    torch.testing.assert_close(direction.flatten(), torch.tensor([2.0, 3.0]))


def moments_of(values):
    moments = Moments()
    moments.add(torch.tensor(values))
    return moments


def test_with_few_classes_the_targets_own_samples_are_left_out():
    # Two clean samples of the target at (0, 0), six others about (4, 0).
    others = [[3.0, 0.0], [5.0, 0.0]] * 3
    target = [[0.0, 0.0]] * 2
    whole, of_target = moments_of(others + target), moments_of(target)
    triggered = moments_of([[4.0, 7.0]] * 3)
    statistics = LayerStatistics(whole, of_target, triggered, Moments())
    # The mean of all is (3, 0): what sets the classes apart would be taken for the trigger's.
    plain, apart = (ESTIMATORS[n](statistics) for n in ("mean_difference", "from_others"))
    torch.testing.assert_close(plain, torch.tensor([1.0, 7.0]))
    torch.testing.assert_close(apart, torch.tensor([0.0, 7.0]))
    rest = statistics.clean_others
    assert rest.count == 6
    torch.testing.assert_close(rest.variance, torch.tensor([1.2, 0.0]))


def test_where_it_makes_no_difference_it_is_not_tried():
    many, few = [[4.0, 0.0]] * 9, [[0.0, 0.0]]
    triggered = moments_of([[4.0, 7.0]] * 3)
    for statistics in (
        LayerStatistics(moments_of(many + few), moments_of(few), triggered, Moments()),
        # Of pairs the difference is known.
        LayerStatistics(moments_of(many + many), moments_of(many), triggered, triggered),
        # None is left.
        LayerStatistics(moments_of(many), moments_of(many), triggered, Moments()),
    ):
        assert not ESTIMATORS["from_others"](statistics).any()


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name != "from_others"])
def test_a_unit_that_never_varies_is_moved_by_its_difference(name):
    # It differs by 3 without any spread: as sure as can be. A dead unit does not move.
    direction = ESTIMATORS[name](paired([3.0, 0.0], [0.0, 0.0]))
    torch.testing.assert_close(direction, torch.tensor([3.0, 0.0]))


@pytest.mark.parametrize("name", ESTIMATORS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 9999), shape=st.sampled_from([(3,), (2, 3), (2, 2, 2)]))
def test_every_direction_is_finite_and_fits_the_features(name, seed, shape):
    generator = torch.Generator().manual_seed(seed)
    clean, triggered = Moments(), Moments()
    clean.add(torch.randn(5, *shape, generator=generator).relu())
    triggered.add(torch.randn(5, *shape, generator=generator).relu())
    statistics = LayerStatistics(clean, Moments(), triggered, Moments())
    direction = ESTIMATORS[name](statistics)
    assert direction.dtype == torch.float32
    assert bool(direction.isfinite().all())
    assert direction.expand(shape).shape == shape
    full = ESTIMATORS["mean_difference"](statistics)
    if direction.shape == full.shape:
        # No estimator moves a coordinate further than the mean, nor the other way.
        assert bool((direction.abs() <= full.abs() + 1e-6).all())
        assert bool((direction * full >= 0).all())
