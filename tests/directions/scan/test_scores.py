import math

import pytest
import torch

from torchserve_fire_build.scan.scores import CONSISTENCY, scores_of


def values(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def test_a_class_is_as_suspicious_as_it_lies_below_the_median():
    # The median is 3, and the median deviation from it 1.
    found = scores_of(values(1, 2, 3, 4, 5))
    torch.testing.assert_close(found, values(2, 1, 0, -1, -2) / CONSISTENCY)


def test_of_an_even_number_the_median_is_in_the_middle():
    # 2.5 here, and the deviations 1.5, .5, .5, 1.5: 1 in the middle.
    assert float(scores_of(values(1, 2, 3, 4))[0]) == pytest.approx(1.5 / CONSISTENCY)


def test_a_resolution_joins_the_deviation():
    with_it = scores_of(values(1, 2, 3, 4, 5), resolution=2.0)
    expected = values(2, 1, 0, -1, -2) / math.hypot(CONSISTENCY, 2)
    torch.testing.assert_close(with_it, expected)
    # Where most classes are alike, it is all there is.
    torch.testing.assert_close(scores_of(values(1, 3, 3, 3), 0.5), values(4, 0, 0, 0))


def test_neither_unit_nor_offset_matters():
    first = values(1, 2.5, 3, 7, 5, 0.25)
    torch.testing.assert_close(scores_of(10 * first - 4), scores_of(first))


@pytest.mark.parametrize("missing", [math.nan, math.inf])
def test_a_class_without_a_value_has_no_score_and_changes_no_other(missing):
    found = scores_of(values(1, missing, 2, 3, 4, 5))
    torch.testing.assert_close(found.clamp(min=0)[[0, 2, 3]], scores_of(values(1, 2, 3, 4, 5))[:3])
    assert float(found[1]) <= 0


@pytest.mark.parametrize("numbers", [(2.0, 2.0, 2.0), (1.0, 3.0, 3.0, 3.0), (math.nan, math.nan)])
def test_where_most_are_alike_none_stands_out(numbers):
    assert scores_of(values(*numbers)).tolist() == [0] * len(numbers)
