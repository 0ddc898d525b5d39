from torchserve_fire_build.measure.by_target import by_target, of_target


def test_of_one_target_it_stands_as_it_is():
    assert by_target({2: {"a": 1}}) == {"a": 1}
    assert of_target({"a": 1}, 2) == {"a": 1}


def test_of_several_each_has_its_own():
    values = {"folds": 4, **by_target({2: {"a": 1}, 0: {"a": 3}})}
    assert of_target(values, 2) == {"folds": 4, "a": 1}
    assert of_target(values, 0) == {"folds": 4, "a": 3}
    assert of_target(values, 1) == {"folds": 4}
