import pytest
import torch

from torchserve_fire_build.measure.anomaly_index import MIN_CLASSES, anomaly_index, by_chance


def test_the_index_is_the_distance_from_the_median_in_mads():
    # Median 4, absolute deviations 4, 1, 0, 1, 2: their median is 1.
    values = torch.tensor([0.0, 3, 4, 5, 6])
    expected = torch.tensor([4.0, 1, 0, -1, -2]).double() / 1.4826
    assert torch.allclose(anomaly_index(values, suspicious="low"), expected)
    assert torch.allclose(anomaly_index(values, suspicious="high"), -expected)


def test_the_median_of_an_even_number_lies_between_two():
    index = anomaly_index(torch.tensor([1.0, 2, 4, 5]), suspicious="low")
    assert index.dtype == torch.float64
    assert torch.allclose(index, torch.tensor([2.0, 1, -1, -2]).double() / 1.5 / 1.4826)


@pytest.mark.parametrize("classes", range(1, MIN_CLASSES))
def test_with_few_classes_none_can_stand_out(classes):
    assert anomaly_index(torch.arange(classes).float(), suspicious="low") is None


def test_tiny_differences_are_no_anomaly():
    values = torch.tensor([1.0, 1, 1, 1, 1, 1 - 1e-6])
    assert anomaly_index(values, suspicious="low").abs().max() < 0.01
    assert anomaly_index(torch.ones(6), suspicious="low").tolist() == [0] * 6


def test_differences_below_the_resolution_are_no_anomaly():
    values = torch.tensor([1.0, 1.01, 0.99, 1, 1, 0.9])
    assert anomaly_index(values, suspicious="low")[5] > 5
    index = anomaly_index(values, suspicious="low", resolution=0.1)
    assert float(index[5]) == pytest.approx(0.1 / 0.1 / 1.4826)


def test_one_class_that_differs_from_equal_ones_stands_out():
    index = anomaly_index(torch.tensor([1.0, 1, 1, 1, 1, 0.5]), suspicious="low")
    assert index.argmax() == 5
    assert 2 < index[5] < 1000


def test_values_of_0_have_no_index():
    assert anomaly_index(torch.tensor([0.0, 0, 0, 0, 1]), suspicious="high") is None


def test_the_unit_does_not_matter():
    values = torch.rand(10, generator=torch.Generator().manual_seed(0)).double()
    one, thousand = (anomaly_index(f * values, suspicious="low") for f in (1, 1000))
    assert torch.allclose(one, thousand)


def test_how_often_an_index_occurs_by_chance():
    chances = [by_chance(index, 10) for index in (-5.0, 0, 2, 4, 8, 1e9)]
    assert chances == sorted(chances, reverse=True)
    assert chances[0] == 1
    assert chances[-1] == 0
    # The more classes, the oftener one of them is 2 MADs off.
    assert by_chance(2.0, 10) < by_chance(2.0, 100)
    # For many classes the MAD is known well, and it is as for normal values.
    one = 1 - torch.distributions.Normal(0, 1).cdf(torch.tensor(3.0)).item()
    assert abs(by_chance(3.0, 1000) - (1 - (1 - one) ** 1000)) < 0.12
