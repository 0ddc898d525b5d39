import pytest
import torch

from torchserve_fire_build.scan.free_search import Lead
from torchserve_fire_build.scan.place_search import Placed
from torchserve_fire_build.scan.shortlist import ALL, SUSPECTS, shortlist


def chosen(classes, leads=(), ranked=None, seed=0, places=()):
    ranked = list(range(classes)) if ranked is None else ranked
    return shortlist(classes, places, leads, ranked, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("classes", [4, ALL])
def test_few_classes_are_all_searched(classes):
    assert chosen(classes, [Lead("smooth", 2, 1.0, 20)]) == list(range(classes))


@pytest.mark.parametrize("classes", [ALL + 1, 40, 1000])
def test_of_many_classes_as_many_are_searched_each_once(classes):
    leads = [Lead("smooth", 7, 1.0, 20), Lead("additive", 7, 0.5, 20), Lead("smooth", 9, 0.2, 20)]
    found = chosen(classes, leads, [7, *range(classes)])
    assert len(found) == len(set(found)) == ALL
    assert all(0 <= target < classes for target in found)


def test_half_of_the_suspects_are_those_that_most_searches_led_to():
    leads = [
        Lead("smooth", 30, 0.5, 20),
        Lead("additive", 30, 0.5, 20),
        Lead("smooth", 31, 0.9, 20),
        Lead("smooth", 32, 0.2, 20),
        Lead("smooth", 33, 0.1, 20),
    ]
    suspects = chosen(40, leads, [20, 21, 22, 23, *range(20)])[:SUSPECTS]
    assert suspects == [30, 31, 32, 20, 21, 22]


def test_places_count_as_other_searches_do():
    places = [Placed(0, column, 33, 0.3) for column in range(4)]
    found = chosen(40, [Lead("smooth", 30, 1.0, 20)], places=places)
    assert found[:2] == [33, 30]


def test_places_that_no_search_takes_are_for_the_ranked():
    assert chosen(40, ranked=list(range(39, -1, -1)))[:SUSPECTS] == list(range(39, 33, -1))
    # Nor does a search take one that ended at a class to which it led nothing.
    leads = [Lead("smooth", 38, 1.0, 20), Lead("smooth", 3, 0.0, 20)]
    led = chosen(40, leads, list(range(39, -1, -1)), places=[Placed(0, 0, 4, 0.0)])
    assert led[:SUSPECTS] == [38, 39, 37, 36, 35, 34]


def test_usual_classes_are_drawn_by_the_seed():
    first, again, other = chosen(1000), chosen(1000), chosen(1000, seed=1)
    assert first == again
    assert first[:SUSPECTS] == other[:SUSPECTS] == list(range(SUSPECTS))
    assert first != other
