import pytest
import torch

from tests.directions.screening.made_features import made, seeded
from torchserve_fire_build.screening.chances import MIN_CLEAN, find_chances
from torchserve_fire_build.screening.features import Features


def test_clean_pictures_have_small_chances_as_seldom_as_they_say():
    small = []
    for seed in range(10):
        generator = seeded(seed)
        clean, pictures = made([0, 1] * 50, generator), made([0, 1] * 100, generator)
        small.append(find_chances(clean, pictures).chances <= 0.1)
    assert float(torch.cat(small).double().mean()) == pytest.approx(0.1, abs=0.03)


def test_a_picture_that_lies_far_has_the_least_chance_there_is():
    generator = seeded(0)
    clean = made([0, 1] * 50, generator, layers=3)
    picture = made([1], generator, layers=3)
    picture.layers["layer2"][0, -1] += 20
    found = find_chances(clean, picture)
    assert found.chances.tolist() == [1 / 101]
    assert found.farthest.tolist() == [2]
    assert float(found.distances[0]) > 5
    assert found.compared == 100


def test_a_picture_of_another_class_than_it_is_called_lies_far():
    generator = seeded(0)
    clean, picture = made([0, 1] * 50, generator), made([0], generator)
    called_otherwise = Features(picture.layers, torch.tensor([1]))
    assert find_chances(clean, called_otherwise).chances.tolist() == [1 / 101]


def test_a_class_with_few_clean_samples_is_not_judged_and_judges_none():
    generator = seeded(0)
    few = MIN_CLEAN - 1
    clean = made([0] * 20 + [1] * few, generator)
    found = find_chances(clean, made([0, 1, 3], generator))
    assert found.judged.tolist() == [True, False, False]
    assert found.compared == 20
    assert not find_chances(clean, made([1], generator)).judged.any()


def test_layers_that_never_vary_say_nothing():
    generator = seeded(0)
    clean, pictures = made([0] * 20, generator), made([0] * 5, generator)
    still = {"still": torch.ones(20, 4)}, {"still": torch.ones(5, 4)}
    with_still = [
        Features({**of.layers, **more}, of.predicted)
        for of, more in zip((clean, pictures), still, strict=True)
    ]
    found = find_chances(*with_still)
    assert found.chances.tolist() == find_chances(clean, pictures).chances.tolist()
