import pytest
import torch

from benchmarks.clean_only_given import _others
from benchmarks.given_victims import GivenVictim, given_victims
from benchmarks.victims.data_sets import CIFAR

from .test_published import data, folder  # noqa: F401


def test_victims_come_with_the_images_of_their_data_set(folder):  # noqa: F811
    images = {"signs": data()}
    (signs,) = given_victims(folder, None, images)
    # The bluest image is the third class's: the trigger's target.
    assert (signs.name, signs.data, signs.attack.target) == ("given-signs-blue", "signs", 2)
    # Settings without a data set's name fit none.
    assert len(list(given_victims(folder, None, {CIFAR: data(), **images}))) == 1
    assert list(given_victims(None, None, images)) == []


def test_what_could_be_recovered_is_read_by_others_of_the_same_folder_and_data():
    named = [("a-x", "d"), ("a-y", "d"), ("b-x", "d"), ("a-z", "e")]
    victims = [GivenVictim(n, d, torch.nn.Identity(), None) for n, d in named]
    assert _others(victims[0], victims) == [victims[1]]
    assert _others(victims[1], victims) == [victims[0]]
    with pytest.raises(SystemExit, match="b-x: expected a second victim of d"):
        _others(victims[2], victims)
