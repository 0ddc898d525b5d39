import pytest
import torch

from torchserve_fire_build.scan.free_search import Lead
from torchserve_fire_build.scan.place_search import Placed
from torchserve_fire_build.scan.shortlist import ALL, SUSPECTS, shortlist
from torchserve_fire_build.scan.turned_images import Turned


def chosen(classes, led=(), seed=0):
    return shortlist(classes, led, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("classes", [4, ALL])
def test_few_classes_are_all_searched(classes):
    assert chosen(classes, [Lead("smooth", 2, 1.0, 20)]) == list(range(classes))


@pytest.mark.parametrize("classes", [ALL + 1, 40, 1000])
def test_of_many_classes_as_many_are_searched_each_once(classes):
    leads = [Lead("smooth", 7, 1.0, 20), Lead("additive", 7, 0.5, 20), Lead("smooth", 9, 0.2, 20)]
    found = chosen(classes, leads)
    assert len(found) == len(set(found)) == ALL
    assert all(0 <= target < classes for target in found)
    assert found[:2] == [7, 9]


def test_the_suspects_are_those_that_most_searches_led_to():
    leads = [
        *(Lead("smooth", 30 + i, 0.1 * i, 20) for i in range(1, 9)),
        Lead("additive", 33, 0.6, 20),
    ]
    assert chosen(40, leads)[:SUSPECTS] == [33, 38, 37, 36, 35, 34]
    # The rest shows how hard it is to lead inputs to a usual class.
    usual = chosen(40, [Lead("smooth", target, 1.0, 20) for target in range(40)])[SUSPECTS:]
    assert usual != list(range(SUSPECTS, ALL))


def test_all_searches_count_alike():
    led = [
        *(Placed(0, column, 33, 0.3) for column in range(4)),
        Turned(30, 31, 0.9),
        Lead("smooth", 30, 0.8, 20),
    ]
    assert chosen(40, led)[:3] == [33, 31, 30]


def test_a_search_that_led_nowhere_names_no_suspect():
    led = [Lead("smooth", 38, 1.0, 20), Lead("smooth", 3, 0.0, 20), Placed(0, 0, 4, 0.0)]
    without = [Lead("smooth", 38, 1.0, 20)]
    assert chosen(1000, led) == chosen(1000, without)


def test_usual_classes_are_drawn_by_the_seed():
    first, again, other = chosen(1000), chosen(1000), chosen(1000, seed=1)
    assert first == again
    assert first != other
