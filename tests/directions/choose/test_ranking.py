from types import SimpleNamespace

from torchserve_fire_build.choose.choice import Candidate
from torchserve_fire_build.choose.ranking import Ranking


def ranked(choices):
    """A ranking of choices that were announced in this order."""
    ranking = Ranking()
    ranking.announce(choice.repair for choice in choices)
    return ranking


def choice(layer, worth, estimator="mean_difference"):
    return SimpleNamespace(repair=Candidate(layer, estimator), worth=worth)


def test_the_highest_worth_comes_first_and_among_equals_the_first_announced():
    first, second, best = choice("a", 0.5), choice("b", 0.5), choice("c", 0.9)
    ranking = ranked([first, second, best])
    ranking.add([second, first])
    ranking.add([best])
    assert ranking.choices == [best, first, second]
    assert ranking.layers == ["c", "a", "b"]


def test_the_choice_at_a_place():
    choices = [choice("a", 0.9), choice("a", 0.8, "channel_mean"), choice("b", 0.7)]
    ranking = ranked(choices)
    ranking.add(choices)
    assert [ranking.at(place).worth for place in (1, 2, 3)] == [0.9, 0.8, 0.7]
    assert [ranking.at_layer(place).worth for place in (1, 2)] == [0.9, 0.7]


def test_at_an_empty_place_there_is_no_choice():
    only = choice("a", -1.0)
    ranking = ranked([only])
    assert ranking.at(1) is ranking.at_layer(1) is None
    ranking.add([only])
    assert ranking.at(2) is ranking.at_layer(2) is None
