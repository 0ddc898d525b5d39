import pytest
import torch

from tests.directions.screening.made_features import made, seeded
from torchserve_fire_build.screening.compare_groups import Group, compare_groups, holm
from torchserve_fire_build.screening.features import Features


def group(p):
    return Group((0,), torch.arange(2), 10, p, torch.zeros(1))


def test_a_group_that_lies_elsewhere_is_found_at_the_layer_where_it_does():
    generator = seeded(0)
    clean, pictures = made([0, 1] * 30, generator), made([1] * 10, generator)
    pictures.layers["layer1"][:, -1] += 3
    (found,) = compare_groups(clean, pictures)
    assert (found.classes, found.clean) == ((1,), 30)
    assert sorted(found.samples.tolist()) == [*range(10)]
    assert found.p == 1 / 10_000
    assert found.by_layer[1] > 7 > found.by_layer[0]


def test_the_p_value_of_a_few_is_the_share_of_choices_that_are_as_good():
    generator = seeded(1)
    clean, pictures = made([0] * 7, generator), made([0] * 3, generator, shift=50)
    (found,) = compare_groups(clean, pictures)
    # Of the 120 choices of three, the pictures' own is the best.
    assert found.p == pytest.approx(1 / 120, rel=0.3)


def test_clean_groups_have_small_p_values_as_seldom_as_they_say():
    values = []
    for seed in range(40):
        generator = seeded(seed)
        clean, pictures = made([0, 1] * 20, generator), made([0] * 5 + [1] * 5, generator)
        values += [found.p for found in compare_groups(clean, pictures, seed)]
    assert len(values) == 80
    below = torch.tensor(values) <= 0.2
    assert float(below.double().mean()) == pytest.approx(0.2, abs=0.1)


def test_pictures_that_a_model_mistakes_differ_less_than_triggered_ones():
    generator = seeded(0)
    clean = made([0, 1, 2] * 30, generator)
    mistaken, triggered = made([0] * 15, generator), made([0] * 15, generator, shift=2.5)
    for features in mistaken.layers.values():
        # On the way to class 1, farther than the trigger moves.
        features[:, 0] -= 2.5
        features[:, 1] += 2.5
    (of_mistaken,) = compare_groups(clean, mistaken)
    (of_triggered,) = compare_groups(clean, triggered)
    assert of_triggered.p == 1 / 10_000
    assert of_mistaken.p > 0.01


def test_pictures_of_classes_with_too_few_of_them_are_tested_together():
    generator = seeded(0)
    clean = made([0, 1, 2] * 20, generator)
    far = made([0, 0, 0, 1, 2], generator, shift=8)
    found = compare_groups(clean, far)
    assert [each.classes for each in found] == [(0,), (1, 2)]
    assert [len(each.samples) for each in found] == [3, 2]
    assert all(holm(found))


def test_a_picture_by_itself_is_no_group():
    generator = seeded(0)
    assert compare_groups(made([0, 1] * 20, generator), made([0], generator, shift=50)) == []


def test_a_class_without_clean_samples_is_not_tested():
    generator = seeded(0)
    clean = made([0] * 20 + [1] * 4, generator)
    assert compare_groups(clean, made([1] * 10, generator)) == []


def test_layers_that_never_vary_say_nothing():
    generator = seeded(0)
    clean, pictures = made([0] * 20, generator), made([0] * 10, generator, shift=5)
    still = [
        Features({**of.layers, "still": torch.ones(len(of), 4)}, of.predicted)
        for of in (clean, pictures)
    ]
    (found,) = compare_groups(*still)
    assert found.p == 1 / 10_000
    assert found.by_layer[-1] == 0


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([0.01], [True]),
        ([0.011], [False]),
        ([0.004, 0.01], [True, True]),
        ([0.01, 0.006], [False, False]),
        ([0.5, 0.003, 0.0045], [False, True, True]),
        ([], []),
    ],
)
def test_several_groups_share_the_level(values, found):
    assert holm([group(p) for p in values]) == found
