from torchserve_fire_build.measure.by_target import by_target, of_target


def test_the_values_of_one_target_stand_directly():
    assert by_target({2: {"a": 1}}) == {"a": 1}
    assert of_target({"a": 1}, 2) == {"a": 1}


def test_the_values_of_several_targets_stand_under_each():
    values = {"folds": 4, **by_target({2: {"a": 1}, 0: {"a": 3}})}
    assert of_target(values, 2) == {"folds": 4, "a": 1}
    assert of_target(values, 0) == {"folds": 4, "a": 3}
    assert of_target(values, 1) == {"folds": 4}
