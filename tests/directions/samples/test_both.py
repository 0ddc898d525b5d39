import torch

from torchserve_fire_build.samples.both import Both


def test_the_clean_value_comes_first():
    clean, triggered = Both("c", "t")
    assert (clean, triggered) == ("c", "t")
    assert list(Both(clean=1, triggered=2)) == [1, 2]


def test_map_applies_a_function_to_both_values():
    scores = Both(torch.tensor([0.0, 2.0]), torch.tensor([1.0]))
    above = scores.map(lambda each: each > 0.5)
    assert isinstance(above, Both)
    assert above.clean.tolist() == [False, True]
    assert above.triggered.tolist() == [True]
    assert scores.map(len) == Both(2, 1)
